"""The grounds: a person, a judge and a budget, on which methods of tuning can be told apart (docs/grounds.md).

share of the headroom = (log-odds of the method - of the base) / (of the base that is asked - of the base)

The base model generates the images that are rated, at bare prompts. The person is a `noisy_rater` by the log-odds of
the small style network. The judge is the large one, whose log-odds gave no label, on concepts that nobody rated. The
base model scores 0; the base model that is asked for the style in its prompt scores 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from thumbtune.errors import UsageError
from thumbtune.evaluation.scorers.style_scorers import CLIP as JUDGE_CLIP
from thumbtune.evaluation.scorers.style_scorers import style_scorer_name
from thumbtune.experiments import demo
from thumbtune.experiments.noisy_rater import CLIP as RATER_CLIP
from thumbtune.models.protocol import Sampler

SOFT_3D, FLAT, LINE_ART = "soft 3d", "flat", "line art"
FIRST_SEED = 40  # no setting was chosen on seeds from here on
PER_PROMPT = 8
# low guidance keeps the variety that a rater needs to choose from
POOL = Sampler(steps=10, guidance=1.5)
# of before the present defaults of beta auto
PLAIN = ("train.timestep_bias=1", "train.liked_share=0.8", "train.disliked_timesteps=[0,1]", "objective.gain_scale=1")
BUDGET = (
    *("train.steps=120", "train.batch=16", "train.lr=1e-3", "train.warmup=10", "train.cooldown=20"),
    *("train.prompt_dropout=0.1", "train.timestep_bias=1", "lora.rank=16", "lora.alpha=16"),
)
# all of the rated concepts are trained on, as the judged ones are others; a cell is too short for checkpoints between
REST = (
    *("train.micro_batch=16", "train.validation_share=0", "train.checkpoint_every=1000"),
    *("evaluate.steps=8", "evaluate.guidance=3", "evaluate.per_prompt=3"),
    *PLAIN,
)
# fmt: off
NATURE = frozenset({
    "red apple", "strawberry", "watermelon", "pear", "mushroom", "tulip", "evergreen tree", "cat face", "bear", "frog",
    "penguin", "octopus", "butterfly", "banana", "pineapple", "carrot", "cactus", "sunflower", "four leaf clover",
    "dog face", "panda", "fox", "owl", "fish", "spouting whale",
})  # the plants, fruit and animals among the rated and the unrated concepts
# fmt: on


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A person and a budget.

    wanted:   concept -> the style that the person wants for it
    styles:   all that `wanted` returns
    tau:      the person's noise, see `noisy_rater`; None: no noise
    flipped:  the share of labels that are turned into their opposite
    wants:    what every page and every run tells of the person, before how they label (`person_of`)
    """

    name: str
    title: str
    wants: str
    wanted: Callable[[str], str]
    styles: tuple[str, ...]
    tau: float | None = 2.0
    flipped: float = 0.0

    @property
    def scorers(self) -> tuple[str, ...]:
        """Return the judge's scorers, for the recipes of its runs."""
        return tuple(map(style_scorer_name, self.styles))

    def facts(self) -> dict[str, Any]:
        """Return what tells this ground from another one, as rows store it."""
        pool = {"steps": POOL.steps, "guidance": POOL.guidance}
        concepts = [concept for group in demo.concepts().values() for concept in group]
        return {
            "name": self.name,
            "styles": list(self.styles),
            "tau": self.tau,
            "flipped": self.flipped,
            "pool": pool,
            "wanted": {style: [one for one in concepts if self.wanted(one) == style] for style in self.styles},
            "rater_clip": RATER_CLIP,
            "judge_clip": JUDGE_CLIP,
        }


def _conditional(concept: str) -> str:
    return SOFT_3D if concept in NATURE else FLAT


GROUNDS = {
    ground.name: ground
    for ground in (
        Ground(
            name="soft-3d",
            title="soft 3d, noisy",
            wants="it wants the style soft 3d, by the log-odds of the small style network",
            wanted=lambda concept: SOFT_3D,
            styles=(SOFT_3D,),
        ),
        Ground(
            name="conditional",
            title="conditional: nature soft 3d, all else flat",
            wants="it wants plants, fruit and animals in the style soft 3d and all else in the style flat, by the "
            "log-odds of the small style network",
            wanted=_conditional,
            styles=(SOFT_3D, FLAT),
        ),
        Ground(
            name="line-art-wrong",
            title="line art with wrong labels",
            wants="it wants the style line art, by the log-odds of the small style network",
            wanted=lambda concept: LINE_ART,
            styles=(LINE_ART,),
            tau=None,
            flipped=0.2,
        ),
    )
}


def get_ground(name: str) -> Ground:
    """Return the ground of this name.

    Raises:
        UsageError: there is no such ground; the sentence lists all.
    """
    if name not in GROUNDS:
        raise UsageError(f"There is no ground {name!r}; give one of {', '.join(GROUNDS)}.", code="ground-unknown")
    return GROUNDS[name]

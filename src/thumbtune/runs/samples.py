"""Sample images of a training: the same prompts and seeds every N steps, so that the eye sees what changes.

samples/prompts.txt             a prompt a line
samples/step-000050/0.png       the image of the first prompt after 50 steps; step-000000 is of the base

SIGUSR2 asks for samples of the next step too, also where `sample_every` is 0.
"""

from collections.abc import Mapping
from pathlib import Path

from thumbtune.clips import Clip, write_clip
from thumbtune.errors import note, reason
from thumbtune.files import write_png, write_text
from thumbtune.memory import give_back
from thumbtune.models.protocol import PipelineModel
from thumbtune.objective.prompt_prefix import prefixed
from thumbtune.runs import build
from thumbtune.runs.setup import Setup
from thumbtune.training.trainer import Training

FOLDER, PROMPTS = "samples", "prompts.txt"
MAX_SAMPLES = 4


def prompts_of(setup: Setup) -> list[str]:
    """Return the prompts of the samples: the first of the evaluation; if it has none yet, of the training."""
    prompts = setup.prompts or sorted(set(setup.split.train["prompt"]))
    return [prompt for prompt in prompts if prompt.strip()][:MAX_SAMPLES]


def folder_of(run: Path, step: int) -> Path:
    """Return the folder of a step's samples, whether or not it exists."""
    return run / FOLDER / f"step-{step:06d}"


class Samples:
    """Draw samples of a model in training. Drawing changes no weight and no random number of the training."""

    def __init__(self, setup: Setup, model: PipelineModel, training: Training, run: Path) -> None:
        self.model, self.training, self.run = model, training, run
        self.every, self.last = setup.recipe.train.sample_every, setup.settings.steps
        self.sampler, self.prefix = build.sampler_of(setup.recipe), setup.prefix
        self.prompts = prompts_of(setup)

    def is_due(self, step: int) -> bool:
        """Return whether samples of a step are wanted: of the base, every N steps, and of the last step."""
        return bool(self.every) and (step % self.every == 0 or step == self.last)

    def draw(self, step: int) -> Mapping[str, Path]:
        """Write the samples of the present weights, with the EMA if there is one; return the files by prompt.

        If that fails, as for want of memory, a note tells it, and no more samples are drawn: training goes on.
        Where processes share the passes of the network, all call it, and the first one draws.
        """
        lockstep = self.training.lockstep
        files = self._tried(step)
        if lockstep.is_shared and lockstep.anywhere(not self.every):
            self.every = 0
        return files

    def _tried(self, step: int) -> Mapping[str, Path]:
        try:
            with self.training.ema.in_place(), self.training.lockstep.shared():
                return self._drawn(step) if self.training.accelerator.is_main_process else {}
        except Exception as error:
            if self.training.lockstep.is_torn:  # the other processes wait inside a pass
                raise
            self.every = 0
            note(
                f"The samples of step {step} could not be drawn ({reason(error)}), so none are drawn from here on; "
                "training goes on."
            )
            return {}
        finally:
            self.model.rest()
            give_back()

    def _drawn(self, step: int) -> Mapping[str, Path]:
        folder, files = folder_of(self.run, step), {}
        write_text(self.run / FOLDER / PROMPTS, "".join(" ".join(one.split()) + "\n" for one in self.prompts))
        for seed, prompt in enumerate(self.prompts):
            asked = prompt if self.prefix is None else prefixed(prompt, self.prefix)
            image = self.model.generate([asked], [seed], self.sampler)[0]
            is_clip = isinstance(image, Clip)
            file = folder / f"{seed}{'.webp' if is_clip else '.png'}"
            (write_clip if is_clip else write_png)(file, image)  # type: ignore[arg-type]
            files[prompt] = file
        return files

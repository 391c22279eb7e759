"""An objective and a utility of the user's own: the page that explains them, run; and what is wrong with them, said."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from refusals import refused

from thumbtune.errors import UsageError
from thumbtune.objective import validation
from thumbtune.objective.kto import KTO, Judged
from thumbtune.objective.saturation import gain_of
from thumbtune.objective.utility import loss_averse
from thumbtune.runs import objectives, plan
from thumbtune.runs.recipe import read_recipe

Call = Callable[..., tuple[int, str, str]]
PAGE = (Path(__file__).parents[2] / "docs" / "own-objective.md").read_text()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page's files, as if one stood in it."""
    code, floor = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(code.splitlines()) <= 20 and len(floor.splitlines()) <= 30
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_file.py").write_text(code)
    (tmp_path / "floor.py").write_text(floor)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("option", re.findall(r"thumbtune train --set (\S+)", PAGE))
def test_the_page_trains(call: Call, here: Path, settings: list[str], option: str) -> None:
    code, _, err = call("train", "--out", here / "run", *settings, "--set", option)
    assert code == 0, err
    assert (here / "run" / "own" / "my_file.py").read_text() == (here / "my_file.py").read_text()
    (here / "my_file.py").write_text((here / "my_file.py").read_text() + "\n")
    code, _, err = call("train", "--out", here / "run", "--resume")
    assert code == 1 and "my_file.py has changed" in err


def test_an_own_objective_gets_the_values_of_the_recipe(here: Path) -> None:
    hinge = objectives.objective_of(read_recipe(None, ["objective.name=my_file.py:Hinge", "objective.beta=7"]))
    assert hinge.beta == 7  # type: ignore[attr-defined]
    kto = objectives.objective_of(read_recipe(None, ["objective.utility=my_file:cautious"]))
    assert kto.utility(torch.tensor([-2.0, 2.0])).tolist() == [-2.0, 1.0]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "setting", ["objective.anchor=5", "objective.utility=loss-averse", "objective.disliked_weight=0"]
)
def test_an_option_that_an_own_objective_has_no_field_for_is_refused(here: Path, setting: str) -> None:
    option = setting.partition("=")[0]
    with refused("option-unused", UsageError, naming=["my_file:Hinge", option]):
        objectives.objective_of(read_recipe(None, ["objective.name=my_file:Hinge", setting]))


def test_the_plan_names_a_utility_for_an_objective_that_has_one(here: Path) -> None:
    for name, is_told in (("my_file:Hinge", False), ("kto", True), ("bco", False), ("dpo", False), ("sft", False)):
        recipe = read_recipe(None, [f"objective.name={name}"])
        setup: Any = SimpleNamespace(recipe=recipe, objective=objectives.objective_of(recipe))
        words = plan.objective_options(setup)
        assert any(word.startswith("utility") for word in words) == is_told
        assert (words == []) == (name == "sft") and ("beta auto" in words) == (name != "sft")


def test_an_own_objective_of_likes_alone_has_no_beta_and_no_share_of_likes(here: Path) -> None:
    (here / "mine.py").write_text("""
from dataclasses import dataclass
from typing import Any

@dataclass
class Mine:
    utility: Any = None
    needs: frozenset = frozenset({"liked"})

    def __call__(self, judged):
        return judged.policy_error
""")
    for setting in ("objective.beta=5", "train.liked_share=0.5"):
        with refused("option-unused", UsageError, naming=["mine:Mine", setting.partition("=")[0]]):
            objectives.objective_of(read_recipe(None, ["objective.name=mine:Mine", setting]))
    made: Any = objectives.objective_of(
        read_recipe(None, ["objective.name=mine:Mine", "objective.utility=loss-averse"])
    )
    assert made.utility is loss_averse


def test_the_page_s_floor_stops_the_push_against_a_disliked_image_by_hand(here: Path) -> None:
    """Errors of 0.5 by the reference and a floor of 0.4: disliked log-ratios count as no less than -0.2."""
    error = torch.tensor([0.6, 0.9, 0.9, 0.7], requires_grad=True)
    case = Judged(
        policy_error=error,
        reference_error=torch.full((4,), 0.5),
        liked=torch.tensor([False, False, True, False]),
        weight=torch.ones(4),
        reference_point=torch.tensor(0.1),
    )
    floored: Any = objectives.objective_of(read_recipe(None, ["objective.name=floor:Floored"]))
    kto: Any = replace(floored, beta=2.0, floor=0.4)
    # log-ratios -0.1, -0.4, -0.4, -0.2; disliked gains 2 (0.1 + 0.1), 2 (0.2 + 0.1) twice, liked -2 (0.4 + 0.1)
    gains = torch.tensor([0.4, 0.6, -1.0, 0.6])
    torch.testing.assert_close(kto.gain(case), gains)
    loss = kto(case)
    torch.testing.assert_close(loss, 1 - gains.sigmoid())
    (slope,) = torch.autograd.grad(loss.sum(), error)
    by_hand = 2 * gains.sigmoid() * (1 - gains.sigmoid()) * torch.tensor([-1.0, 0.0, 1.0, -1.0])
    torch.testing.assert_close(slope, by_hand)
    graded = replace(case, grade=torch.tensor([0.0, 0.0, 1.0, 0.0]))
    torch.testing.assert_close(kto(graded), loss)
    half = replace(case, grade=torch.full((4,), 0.5))
    # the loss if the image is liked has no floor: for the second image it is 1 - sigmoid(2 (-0.4 - 0.1))
    ups = 1 - (2 * torch.tensor([-0.2, -0.5, -0.5, -0.3])).sigmoid()
    downs = 1 - (-2 * torch.tensor([-0.2, -0.3, -0.3, -0.3])).sigmoid()
    torch.testing.assert_close(kto(half), (ups + downs) / 2)
    torch.testing.assert_close(replace(kto, floor=1e9)(case), KTO(beta=2.0)(case))


@pytest.mark.slow
def test_the_page_s_floor_trains(call: Call, here: Path, settings: list[str]) -> None:
    code, _, err = call("train", "--out", here / "run", *settings, "--set", "objective.name=floor:Floored")
    assert code == 0, err


HEAD = "@dataclass\nclass Mine:\n    needs: tuple = ('liked', 'disliked')\n    def __call__(self, judged):\n        "
MINE = HEAD + "return "
NEEDS = MINE.replace("tuple = ('liked', 'disliked')", "object = {}") + "judged.policy_error"
MARKS = MINE + "judged.policy_error\n    prompt_prefixes: tuple = ('good',)"


def with_member(line: str) -> str:
    return f"{MINE}judged.policy_error\n    {line}"


@pytest.mark.parametrize(
    ("option", "code", "why"),
    [
        ("name=nowhere:Mine", "", "there is no file nowhere.py here"),
        ("name=bad:Mine", "import nothing_at_all", "bad.py does not run (ModuleNotFoundError"),
        ("name=bad:Mine", "Other = 1", "bad.py has no 'Mine'"),
        ("name=bad:mine", "def mine(judged):\n    return 0", "is not a dataclass"),
        ("name=bad:Mine", "@dataclass\nclass Mine:\n    size: int", "cannot be made"),
        ("name=bad:Mine", "@dataclass\nclass Mine:\n    beta: float = 1.0", "lacks `needs` or `__call__`"),
        (
            "name=bad:Mine",
            MINE + "judged.policy_error.mean()",
            "a loss of shape [] for 1 like and 1 dislike; return",
        ),
        ("name=bad:Mine", MINE + "judged.policy_error[:2]", "a loss of shape [2] for 3 likes and 2 dislikes; return"),
        ("name=bad:Mine", MINE + "0.5", "a float, which is no tensor, for 1 like and 1 dislike"),
        (
            "name=bad:Mine",
            MINE + "judged.policy_error.log() - torch.inf",
            "a loss that is not finite for ",
        ),
        ("name=bad:Mine", MINE + "judged.policy_error.detach()", "a loss without a gradient for "),
        ("name=bad:Mine", MINE + "judged.policy_error * 0", "never has a gradient, so nothing would be learnt"),
        ("name=bad:Mine", MINE + "judged.log_ratio.abs().sqrt()", "has no finite gradient for 1 like and 1 dislike"),
        ("name=bad:Mine", MINE + "judged.thumbs", "fails on 1 like and 1 dislike ("),
        (
            "name=bad:Mine",
            MINE + "judged.policy_error + torch.ones(2)",
            "a loss of shape [2] for 1 like and 0 dislikes",
        ),
        ("name=bad:Mine", MINE + "judged.policy_error[judged.partner]", "a loss of shape [1, 2]"),
        (
            "name=bad:Mine",
            MINE + "judged.policy_error\n    def gain(self, judged):\n        return 1",
            "a `gain` that is",
        ),
        ("name=bad:Mine", with_member("prompt_prefix: tuple = ('good', 'bad')"), "rename it: `prompt_prefixes`"),
        ("name=bad:Mine", with_member("utilty: object = None"), "rename it: `utility`"),
        ("name=bad:Mine", with_member("def anchor(self): return 0"), "has the anchor <bound method"),
        ("name=bad:Mine", with_member("gain: float = 1.0"), "has the gain 1.0; make it a function"),
        ("name=bad:Mine", with_member("contrasts: str = 'no'"), "has the contrasts 'no'; make it True, False or None"),
        (
            "name=bad:Mine",
            with_member("def log_ratio(self, judged): return judged.log_ratio"),
            "has a `log_ratio` that fails on two errors, the reference's first (",
        ),
        (
            "name=bad:Mine",
            with_member("def log_ratio(self, reference, policy): return 0"),
            "has a `log_ratio` that returns no tensor of shape [b]; return one value for each image, or rename it",
        ),
        ("name=bad:Mine", MARKS, "has the prompt_prefixes ('good',); give two texts"),
        ("name=bad:Mine", NEEDS.format("('likes',)"), "has the needs ('likes',); give a frozenset"),
        (
            "name=bad:Mine",
            NEEDS.format("'liked'"),
            "has the needs 'liked'; give a frozenset",
        ),
        (
            "name=bad:Mine",
            NEEDS.format("()"),
            "has the needs (); give a frozenset",
        ),
        ("name=bad:Mine", NEEDS.format("('liked', 'pair')"), "it learns from: liked, disliked and pairs."),
        ("utility=bad:mine", "def mine(gain):\n    return gain.sum()", "one finite value per gain"),
        ("utility=bad:mine", "def mine(gain):\n    return gain.log()", "one finite value per gain"),
        ("utility=bad:mine", "def mine(gain):\n    return gain + torch.ones(3)", "fails on a tensor of gains"),
        (
            "utility=bad:mine",
            "def mine(gain):\n    return torch.tensor(gain.numpy())",
            "fails on a tensor of gains (Can't",
        ),
        ("utility=bad:mine", "def mine(gain):\n    return gain.detach()", "has no slope at any gain"),
        ("utility=bad:mine", "def mine(gain):\n    return gain * 0", "has no slope at any gain"),
        ("utility=bad:mine", "def mine(gain):\n    return -gain", "falls where the gain exceeds -3, which"),
        (
            "utility=bad:mine",
            "def mine(gain):\n    return 1 - (gain - 1) ** 2",
            "falls where the gain exceeds 1, which",
        ),
        (
            "utility=bad:mine",
            "def mine(gain):\n    return gain.sign() * gain.abs().sqrt()",
            "has no finite slope at a gain of 0",
        ),
    ],
)
def test_what_is_wrong_with_it_is_one_sentence_at_once(
    call: Call, here: Path, settings: list[str], option: str, code: str, why: str
) -> None:
    (here / "bad.py").write_text("import torch\nfrom dataclasses import dataclass\n" + code)
    exit_code, _, err = call("train", "--out", here / "run", *settings, "--set", f"objective.{option}")
    assert exit_code == 2 and why in err and "Traceback" not in err and err.count("\n") == 1
    assert not (here / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "code", "said"),
    [
        ("name=late:Mine", "raise IndexError('no such row')", "late:Mine failed on a batch of "),
        ("name=late:Mine", "return judged.policy_error[:2]", "a loss of shape [2] for a batch of "),
        (
            "name=late:Mine",
            "return judged.policy_error.detach()",
            "a loss without a gradient for a batch of ",
        ),
        ("utility=late:mine", "raise IndexError('no such row')", "late:mine failed on a batch of "),
    ],
)
def test_what_goes_wrong_in_training_alone_is_a_sentence_that_names_it(
    call: Call, here: Path, settings: list[str], option: str, code: str, said: str
) -> None:
    """A batch of 4 is of no size that is tried before."""
    settings = [*settings, "--set", "train.micro_batch=4"]
    late = f"if len(judged.liked) == 4:\n            {code}\n        return judged.log_ratio * -judged.sign"
    if option.startswith("utility"):
        late = f"return judged\ndef mine(gain):\n    if gain.shape[0] == 4:\n        {code}\n    return gain"
    (here / "late.py").write_text("import torch\nfrom dataclasses import dataclass\n" + HEAD + late)
    exit_code, _, err = call("train", "--out", here / "run", *settings, "--set", f"objective.{option}")
    assert exit_code == 1 and said in err and "Traceback" not in err


def test_names_of_what_is_a_user_s_and_of_what_is_not(here: Path) -> None:
    kto = objectives.objective_of(read_recipe(None, ["objective.utility=my_file:cautious"]))
    hinge = objectives.objective_of(read_recipe(None, ["objective.name=my_file:Hinge"]))
    assert [validation.own_name(one) for one in (kto, hinge, KTO())] == ["my_file:cautious", "my_file:Hinge", None]


def test_a_part_without_an_image_asks_a_user_s_objective_nothing(here: Path) -> None:
    hinge = objectives.objective_of(read_recipe(None, ["objective.name=my_file:Hinge"]))
    none = torch.zeros(0)
    empty = Judged(
        policy_error=none, reference_error=none, liked=none.bool(), weight=none, reference_point=torch.tensor(0.0)
    )
    assert validation.loss_of(hinge, empty).shape == (0,)


def test_the_page_names_all_that_an_objective_may_see_and_say() -> None:
    seen = {name for name, kind in vars(Judged).items() if not name.startswith("_") and callable(kind)}
    seen |= {name for name, kind in vars(Judged).items() if isinstance(kind, property)} | {"partner", "grade"}
    for name in {*seen, "beta", "gain", "anchor", "prompt_prefixes", "needs"}:
        assert re.search(rf"`{name}\b", PAGE), name
    assert all(f"`{kind}`" in PAGE for kind in validation.KINDS)


def test_a_gain_of_one_s_own_is_the_one_that_is_looked_at_and_else_the_plain_one(here: Path) -> None:
    code = (
        here / "my_file.py"
    ).read_text() + "\n\nclass Bent(Hinge):\n    def gain(self, judged):\n        return 7 * judged.sign\n"
    (here / "my_file.py").write_text(code)
    plain, bent = (
        objectives.objective_of(read_recipe(None, [f"objective.name=my_file:{name}", "objective.beta=10"]))
        for name in ("Hinge", "Bent")
    )
    judged = Judged(
        policy_error=torch.tensor([0.1, 0.3]),
        reference_error=torch.tensor([0.2, 0.1]),
        liked=torch.tensor([True, False]),
        weight=torch.ones(2),
        reference_point=torch.tensor(0.05),
    )
    # 10 * (0.1 - 0.05) and -10 * (-0.2 - 0.05)
    torch.testing.assert_close(gain_of(plain, judged), torch.tensor([0.5, 2.5]))
    torch.testing.assert_close(gain_of(bent, judged), torch.tensor([7.0, -7.0]))

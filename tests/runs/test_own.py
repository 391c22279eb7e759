"""An objective and a utility of the user's own: the page that explains them, run; and what is wrong with them, said."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from thumbtune.errors import UsageError
from thumbtune.objective import validation as trial
from thumbtune.objective.kto import KTO, Judged
from thumbtune.objective.saturation import gain_of
from thumbtune.objective.utility import loss_averse
from thumbtune.runs import build
from thumbtune.runs import recipe as config

Call = Callable[..., tuple[int, str, str]]
PAGE = (Path(__file__).parents[2] / "docs" / "own-objective.md").read_text()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page's file, as if one stood in it."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(code.splitlines()) <= 20
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_file.py").write_text(code)
    return tmp_path


@pytest.mark.parametrize("option", re.findall(r"thumbtune train --set (\S+)", PAGE))
def test_the_page_trains(call: Call, here: Path, settings: list[str], option: str) -> None:
    code, _, err = call("train", "--out", here / "run", *settings, "--set", option)
    assert code == 0, err
    assert (here / "run" / "own" / "my_file.py").read_text() == (here / "my_file.py").read_text()
    (here / "my_file.py").write_text((here / "my_file.py").read_text() + "\n")
    code, _, err = call("train", "--out", here / "run", "--resume")
    assert code == 1 and "my_file.py has changed" in err


def test_an_own_objective_gets_the_values_of_the_recipe(here: Path) -> None:
    hinge = build.objective_of(config.read(None, ["objective.name=my_file.py:Hinge", "objective.beta=7"]))
    assert hinge.beta == 7  # type: ignore[attr-defined]
    kto = build.objective_of(config.read(None, ["objective.utility=my_file:cautious"]))
    assert kto.utility(torch.tensor([-2.0, 2.0])).tolist() == [-2.0, 1.0]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "setting", ["objective.anchor=5", "objective.utility=loss-averse", "objective.disliked_weight=0"]
)
def test_an_option_that_an_own_objective_has_no_field_for_is_refused(here: Path, setting: str) -> None:
    option = setting.partition("=")[0]
    with pytest.raises(UsageError, match=rf"my_file:Hinge has no use for {option}; leave it out, or give the class"):
        build.objective_of(config.read(None, ["objective.name=my_file:Hinge", setting]))


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
        with pytest.raises(UsageError, match=f"has no use for {setting.partition('=')[0]}; leave it out"):
            build.objective_of(config.read(None, ["objective.name=mine:Mine", setting]))
    made: Any = build.objective_of(config.read(None, ["objective.name=mine:Mine", "objective.utility=loss-averse"]))
    assert made.utility is loss_averse


HEAD = "@dataclass\nclass Mine:\n    needs: tuple = ('liked', 'disliked')\n    def __call__(self, judged):\n        "
MINE = HEAD + "return "
NEEDS = MINE.replace("tuple = ('liked', 'disliked')", "object = {}") + "judged.policy_error"
MARKS = MINE + "judged.policy_error\n    marks: tuple = ('good',)"


@pytest.mark.parametrize(
    ("option", "code", "why"),
    [
        ("name=nowhere:Mine", "", "there is no file nowhere.py here"),
        ("name=bad:Mine", "import nothing_at_all", "bad.py does not run (ModuleNotFoundError"),
        ("name=bad:Mine", "Other = 1", "bad.py has no 'Mine'"),
        ("name=bad:mine", "def mine(judged):\n    return 0", "is no dataclass"),
        ("name=bad:Mine", "@dataclass\nclass Mine:\n    size: int", "cannot be made"),
        ("name=bad:Mine", "@dataclass\nclass Mine:\n    beta: float = 1.0", "lacks `needs` or `__call__`"),
        ("name=bad:Mine", MINE + "judged.policy_error.mean()", "1 dislike, a loss of shape []; it must give one fini"),
        ("name=bad:Mine", MINE + "judged.policy_error[:2]", "for 3 likes and 2 dislikes, a loss of shape [2]; it"),
        ("name=bad:Mine", MINE + "0.5", "for 1 like and 1 dislike, a float and no tensor"),
        (
            "name=bad:Mine",
            MINE + "judged.policy_error.log() - torch.inf",
            "a loss that is not finite; it must give one",
        ),
        ("name=bad:Mine", MINE + "judged.policy_error.detach()", "a loss without a gradient; it must give one finite"),
        ("name=bad:Mine", MINE + "judged.policy_error * 0", "never has a gradient, so that nothing would be learnt"),
        ("name=bad:Mine", MINE + "judged.log_ratio.abs().sqrt()", "has no finite gradient for 1 like and 1 dislike"),
        ("name=bad:Mine", MINE + "judged.thumbs", "fails on 1 like and 1 dislike ("),
        (
            "name=bad:Mine",
            MINE + "judged.policy_error + torch.ones(2)",
            "for 1 like and 0 dislikes, a loss of shape [2]",
        ),
        ("name=bad:Mine", MINE + "judged.policy_error[judged.partner]", "a loss of shape [1, 2]"),
        (
            "name=bad:Mine",
            MINE + "judged.policy_error\n    def gain(self, judged):\n        return 1",
            "a `gain` that is",
        ),
        ("name=bad:Mine", MARKS, "has the marks ('good',), but should have two words"),
        ("name=bad:Mine", NEEDS.format("('likes',)"), "has the needs ('likes',), but should say what likes it learns"),
        (
            "name=bad:Mine",
            NEEDS.format("'liked'"),
            "has the needs 'liked', but should say what likes it learns from: a",
        ),
        (
            "name=bad:Mine",
            NEEDS.format("()"),
            "has the needs (), but should say what likes it learns from: a frozenset",
        ),
        ("name=bad:Mine", NEEDS.format("('liked', 'pair')"), "a frozenset of liked, disliked and pairs."),
        ("utility=bad:mine", "def mine(gain):\n    return gain.sum()", "one finite value for each gain"),
        ("utility=bad:mine", "def mine(gain):\n    return gain.log()", "one finite value for each gain"),
        ("utility=bad:mine", "def mine(gain):\n    return gain + torch.ones(3)", "fails on a tensor of gains"),
        (
            "utility=bad:mine",
            "def mine(gain):\n    return torch.tensor(gain.numpy())",
            "fails on a tensor of gains (Can't",
        ),
        ("utility=bad:mine", "def mine(gain):\n    return gain.detach()", "has no slope at any gain"),
        ("utility=bad:mine", "def mine(gain):\n    return gain * 0", "has no slope at any gain"),
        ("utility=bad:mine", "def mine(gain):\n    return -gain", "falls where a gain grows beyond -3, which"),
        (
            "utility=bad:mine",
            "def mine(gain):\n    return 1 - (gain - 1) ** 2",
            "falls where a gain grows beyond 1, which",
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


@pytest.mark.parametrize(
    ("option", "code", "said"),
    [
        ("name=late:Mine", "raise IndexError('no such row')", "late:Mine failed on a batch of "),
        ("name=late:Mine", "return judged.policy_error[:2]", "a loss of shape [2]; mend it, and start a new run."),
        ("name=late:Mine", "return judged.policy_error.detach()", "a loss without a gradient; mend it, and start"),
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
    kto = build.objective_of(config.read(None, ["objective.utility=my_file:cautious"]))
    hinge = build.objective_of(config.read(None, ["objective.name=my_file:Hinge"]))
    assert [trial.named(one) for one in (kto, hinge, KTO())] == ["my_file:cautious", "my_file:Hinge", None]


def test_a_part_without_an_image_asks_a_user_s_objective_nothing(here: Path) -> None:
    hinge = build.objective_of(config.read(None, ["objective.name=my_file:Hinge"]))
    none = torch.zeros(0)
    empty = Judged(
        policy_error=none, reference_error=none, liked=none.bool(), weight=none, reference_point=torch.tensor(0.0)
    )
    assert trial.loss_of(hinge, empty).shape == (0,)


def test_the_page_names_all_that_an_objective_may_see_and_say() -> None:
    seen = {name for name, kind in vars(Judged).items() if not name.startswith("_") and callable(kind)}
    seen |= {name for name, kind in vars(Judged).items() if isinstance(kind, property)} | {"partner", "grade"}
    for name in {*seen, "beta", "gain", "anchor", "marks", "needs"}:
        assert re.search(rf"`{name}\b", PAGE), name
    assert all(f"`{kind}`" in PAGE for kind in trial.KINDS)


def test_a_gain_of_one_s_own_is_the_one_that_is_looked_at_and_else_the_plain_one(here: Path) -> None:
    code = (
        here / "my_file.py"
    ).read_text() + "\n\nclass Bent(Hinge):\n    def gain(self, judged):\n        return 7 * judged.sign\n"
    (here / "my_file.py").write_text(code)
    plain, bent = (
        build.objective_of(config.read(None, [f"objective.name=my_file:{name}", "objective.beta=10"]))
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

"""An objective and a utility of the user's own: the page that explains them, run; and what is wrong with them, said."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from thumbtune import build, config
from thumbtune.errors import UsageError
from thumbtune.utility import loss_averse

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


MINE = "@dataclass\nclass Mine:\n    needs: tuple = ()\n    def __call__(self, judged):\n        return "


@pytest.mark.parametrize(
    ("option", "code", "why"),
    [
        ("name=nowhere:Mine", "", "there is no file nowhere.py here"),
        ("name=bad:Mine", "import nothing_at_all", "bad.py does not run (ModuleNotFoundError"),
        ("name=bad:Mine", "Other = 1", "bad.py has no 'Mine'"),
        ("name=bad:mine", "def mine(judged):\n    return 0", "is no dataclass"),
        ("name=bad:Mine", "@dataclass\nclass Mine:\n    size: int", "cannot be made"),
        ("name=bad:Mine", "@dataclass\nclass Mine:\n    beta: float = 1.0", "lacks `needs` or `__call__`"),
        ("name=bad:Mine", MINE + "judged.policy_error.mean()", "one finite loss for each image"),
        ("name=bad:Mine", MINE + "judged.thumbs", "fails on a like and a dislike"),
        ("utility=bad:mine", "def mine(gain):\n    return gain.sum()", "one finite value for each gain"),
        ("utility=bad:mine", "def mine(gain):\n    return gain.log()", "one finite value for each gain"),
        ("utility=bad:mine", "def mine(gain):\n    return gain + torch.ones(3)", "fails on a tensor of gains"),
    ],
)
def test_what_is_wrong_with_it_is_one_sentence_at_once(
    call: Call, here: Path, settings: list[str], option: str, code: str, why: str
) -> None:
    (here / "bad.py").write_text("import torch\nfrom dataclasses import dataclass\n" + code)
    exit_code, _, err = call("train", "--out", here / "run", *settings, "--set", f"objective.{option}")
    assert exit_code == 2 and why in err and "Traceback" not in err and err.count("\n") == 1
    assert not (here / "run").exists()

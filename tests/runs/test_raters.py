"""Held-out agreement about each rater's own thumbs, on a real store and a real pipeline at tiny size."""

import json
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from thumbtune import assess, build
from thumbtune.evaluation import agreement
from thumbtune.feedback.store import Store
from thumbtune.run import recipe_in

Call = Callable[..., tuple[int, str, str]]
PROMPTS = 40  # of which about half are held out
EACH = 2  # pictures of each


def png(number: int, kind: int) -> bytes:
    """A picture of 16 x 16 unlike any other."""
    data = BytesIO()
    Image.new("RGB", (16, 16), (6 * number, 200 * kind, 255 - 6 * number)).save(data, "PNG")
    return data.getvalue()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Three raters: Ann and Bob say the opposite of half of the pictures, which Cyd has not seen: ties."""
    with Store.open(tmp_path / "likes") as likes, likes.transaction():
        for number in range(PROMPTS):
            for kind in range(EACH):
                picture = likes.add_picture(png(number, kind), f"thing {number}")
                likes.vote(picture, "like" if kind else "dislike", rater="Ann")
                tied = number % 2
                likes.vote(picture, "like" if kind ^ tied else "dislike", rater="Bob")
                if not tied:
                    likes.vote(picture, "like", rater="Cyd")
    return tmp_path / "likes"


@pytest.fixture
def settings(store: Path, tiny_pipeline: Callable[[str], Path], small: list[str]) -> list[str]:
    options = [f"likes={store}", f"model={tiny_pipeline('epsilon')}", *small, "train.held_out=0.5"]
    options += ["evaluate.steps=1", "evaluate.seeds=1", "evaluate.taste=red"]
    return [word for option in options for word in ("--set", option)]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The images whose reward was asked for, in their order."""
    ask, names = agreement.implied_reward, []

    def note(model: Any, held_out: Any, *rest: Any) -> Any:
        names.extend(held_out.image_ids)
        return ask(model, held_out, *rest)

    monkeypatch.setattr(agreement, "implied_reward", note)
    yield names


def evaluated(call: Call, run: Path) -> tuple[dict[str, Any], str]:
    code, out, err = call("evaluate", run)
    assert code == 0, err
    return json.loads((run / "evaluation" / "evaluation.json").read_text())["agreement"], out


@pytest.mark.slow
def test_each_rater_is_asked_about_their_own_thumbs(
    call: Call, settings: list[str], store: Path, tmp_path: Path, asked: list[str]
) -> None:
    """By majority the tied pictures have no label; Ann's and Bob's own thumbs on them count all the same."""
    run = tmp_path / "run"
    assert call("train", "--out", run, *settings)[0] == 0
    found, out = evaluated(call, run)
    votes = build.votes_of(recipe_in(run))
    prompts = {row["prompt"] for row in votes}
    even = sum(int(prompt.split()[1]) % 2 == 0 for prompt in prompts)
    assert 0 < even < len(prompts)
    # nobody tied on the even ones; of the odd ones the run held out no prompt, since none of their pictures had a label
    assert found["images"] == found["thumbs"] == EACH * even
    assert "Held-out thumbs: AUC" in out and "base rate 50%" in out
    assert len(asked) == len(set(asked)), "each picture once, whoever rated it"
    assert "Ann" not in json.dumps(found)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["per-vote", "majority"])
def test_a_picture_of_many_raters_is_asked_about_once(
    call: Call, settings: list[str], tmp_path: Path, asked: list[str], policy: str
) -> None:
    run = tmp_path / "run"
    assert call("train", "--out", run, *settings, "--set", f"label_policy={policy}")[0] == 0
    evaluated(call, run)
    assert asked and len(asked) == len(set(asked))
    assert assess

"""Held-out agreement about each rater's own thumbs, on a real store and a real pipeline at tiny size."""

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import pytest
from PIL import Image

from thumbtune.evaluation import agreement
from thumbtune.evaluation.statistics import auc
from thumbtune.feedback.store.store import Store
from thumbtune.runs import build
from thumbtune.runs.run import recipe_in

Call = Callable[..., tuple[int, str, str]]
PROMPTS = 32  # of which about half are held out
EACH = 2  # images of each


def png(number: int, kind: int) -> bytes:
    """An image of 16 x 16 unlike any other."""
    data = BytesIO()
    Image.new("RGB", (16, 16), (7 * number, 200 * kind, 255 - 7 * number)).save(data, "PNG")
    return data.getvalue()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Ann and Bob agree on images of even prompts, all of which Cyd likes, and tie on those of odd ones."""
    with Store.open(tmp_path / "likes") as likes, likes.transaction():
        for number in range(PROMPTS):
            for kind in range(EACH):
                prompt = (
                    f"{ascii_lowercase[number // 8]} {ascii_lowercase[number % 8]}"  # the encoder reads six letters
                )
                image, tied = likes.add_image(png(number, kind), prompt), number % 2
                likes.vote(image, "like" if kind else "dislike", rater="Ann")
                likes.vote(image, "like" if kind ^ tied else "dislike", rater="Bob")
                if not tied:
                    likes.vote(image, "like", rater="Cyd")
    return tmp_path / "likes"


@pytest.fixture
def settings(store: Path, tiny_pipeline: Callable[[str], Path], small: list[str]) -> list[str]:
    options = [f"likes={store}", f"model={tiny_pipeline('epsilon')}", *small, "train.validation_share=0.5"]
    options += ["train.steps=3", "train.lr=1e-2", "evaluate.steps=1", "evaluate.per_prompt=1", "evaluate.scorers=red"]
    return [word for option in options for word in ("--set", option)]


@pytest.fixture
def rewards(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """(image id, its reward) of whatever is asked for, in that order."""
    ask, seen = agreement.implicit_reward, []

    def note(model: Any, held_out: Any, *rest: Any) -> Any:
        reward = ask(model, held_out, *rest)
        seen.extend(zip(held_out.image_ids, reward.tolist(), strict=True))
        return reward

    monkeypatch.setattr(agreement, "implicit_reward", note)
    return seen


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "thumbs_on_even", "thumbs_on_odd"), [("majority", 1, 0), ("per-vote", 3, 2), ("rater:Ann", 1, 1)]
)
def test_each_rater_is_asked_about_their_own_thumbs_and_each_image_once(
    call: Call,
    settings: list[str],
    tmp_path: Path,
    rewards: list[tuple[str, float]],
    policy: str,
    thumbs_on_even: int,
    thumbs_on_odd: int,
) -> None:
    """By majority the tied images have no label; Ann's and Bob's own thumbs on them count all the same."""
    run = tmp_path / "run"
    code, _, err = call("train", "--out", run, *settings, "--set", f"label_policy={policy}")
    assert code == 0, err
    rewards.clear()
    code, out, err = call("evaluate", run)
    assert code == 0, err
    found = json.loads((run / "evaluation" / "verdict.json").read_text())["agreement"]

    votes = list(build.votes_of(recipe_in(run)).remove_columns("image"))
    prompts = {row["prompt"] for row in votes}
    odd = sum(ascii_lowercase.index(prompt.split()[1]) % 2 for prompt in prompts)
    even = len(prompts) - odd
    assert min(odd, even) > 0 and len(prompts) >= 10
    assert found["labels"] == EACH * (thumbs_on_even * even + thumbs_on_odd * odd)
    assert found["images"] == EACH * (even + odd * bool(thumbs_on_odd))
    reward = dict(rewards)
    assert len(rewards) == len(reward) == EACH * len(prompts), "each image once, whoever rated it"

    assert found["raters_left_out"] == {"one_kind": 1, "few_prompts": 0, "rest": 0}, "Cyd"
    for row, name in zip(found["raters"], ("Ann", "Bob"), strict=True):
        own = [vote for vote in votes if vote["rater"] == name]
        assert row["labels"] == row["images"] == len(own) == EACH * len(prompts)
        assert row["auc"] == pytest.approx(auc([reward[v["image_id"]] for v in own], [v["label"] for v in own]))
    assert len({row["auc"] for row in found["raters"]}) == 2, "they differ on half of the images"
    assert not any(name in json.dumps(found) for name in ("Ann", "Bob", "Cyd"))
    assert "Held-out labels: AUC " in out and "AUC of 2 raters: " in out
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Each rater's own votes" in page.replace("&#39;", "'") and "Rater 2" in page

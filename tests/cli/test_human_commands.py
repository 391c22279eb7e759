"""From a duel to a page and a key, and from answers to a sentence, as a user types it."""

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from refusals import refused
from typer.testing import CliRunner

from thumbtune.cli.human import human_app
from thumbtune.errors import UsageError
from thumbtune.evaluation.human.key import read_key
from thumbtune.evaluation.human.plan import QUESTION, StudyDesign, Trial
from thumbtune.feedback.stats import fleiss_kappa


@pytest.fixture
def duel(tmp_path: Path) -> Path:
    """A finished duel of 24 prompts and 2 seeds: base's images are red, tuned's are blue."""
    folder = tmp_path / "duel"
    rows = ["side,prompt,seed,file,sha256,words"]
    for side, colour in (("a", "red"), ("b", "blue")):
        (folder / side).mkdir(parents=True)
        for p in range(24):
            for seed in (2 * p, 2 * p + 1):
                Image.new("RGB", (16, 16), colour).save(folder / side / f"{p:03d}-{seed}.png")
                rows.append(f'{side},{p},{seed},{side}/{p:03d}-{seed}.png,0,"a thing, {p}"')
    (folder / "images.csv").write_text("\n".join(rows) + "\n")
    (folder / "result.json").write_text('{"a": "base", "b": "tuned"}')
    return folder


def human(*words: object) -> str:
    """What a command says; its errors for people are raised, as `thumbtune` itself catches them."""
    done = CliRunner().invoke(human_app, [str(word) for word in words])
    if done.exception is not None:
        raise done.exception
    return done.stdout


def export(duel: Path, *words: object) -> tuple[Path, Path, str]:
    page, key = duel.parent / "human.html", duel.parent / "human-key.json"
    return page, key, human("export", duel, "--out", page, "--key", key, *words)


def vote(key: Path, rater: str, choose: Callable[[Trial], str]) -> Path:
    study = read_key(key)
    found: dict[str, Any] = {"form": 1, "study": study.id, "rater": rater, "started": "2026-01-02T03:04:05Z"}
    found["finished"] = None
    found["answers"] = [{"id": trial.id, "choice": choose(trial), "seconds": 2} for trial in study.trials]
    path = key.with_name(f"answers-{rater}.json")
    path.write_text(json.dumps(found), encoding="utf-8")
    return path


def prefers(side: str) -> Callable[[Trial], str]:
    return lambda trial: "left" if trial.left == side else "right"


def test_what_is_offered_is_what_the_plan_knows() -> None:
    from thumbtune.cli import human as cli_human

    defaults = cli_human.export_.__defaults__ or ()
    assert QUESTION in defaults and StudyDesign(seed=0).trials in defaults


def test_there_and_back(duel: Path) -> None:
    _, key, said = export(duel)
    assert re.match(r"48 of 48 pairs, 5 of them shown twice\. Page: .*human\.html \(0\.\d MB\)\n", said)
    assert "keep" in said and f"thumbtune human read {key}" in said
    files = [vote(key, "anna", prefers("b")), vote(key, "ben", prefers("b"))]
    said = human("read", key, *files, "--out", duel.parent / "result.json")
    assert said.splitlines()[:4] == [
        "rater   for B  no pref.   for A  prefers B  repeats kept  seconds",
        "anna       48         0       0     100.0%        5 of 5      2.0",
        "ben        48         0       0     100.0%        5 of 5      2.0",
        "all        96         0       0     100.0%",
    ]
    assert (
        "People prefer B (tuned) to A (base): B (tuned) is preferred in 100.0% (95% interval 86.2% to 100.0%, "
        "ties count half; 96 votes of 2 raters on 24 prompts)."
    ) in said
    assert "other raters" in said
    found = json.loads((duel.parent / "result.json").read_text())
    assert found["overall"]["votes"] == [96, 0, 0] and found["overall"]["finding"] == "b"
    assert found["agreement"] == {"pairs": 48, "fleiss_kappa": None}, "chance alone would agree"


def test_the_page_shows_the_side_that_the_key_says(duel: Path) -> None:
    page, key, _ = export(duel, "--trials", 10)
    data = re.findall(r'<script type="application/json" id="test">(.*)</script>', page.read_text())
    red = {one["id"]: "a" if one["left"] == json.loads(data[0])["trials"][0]["left"] else "b"
           for one in json.loads(data[0])["trials"]}  # fmt: skip
    trials = read_key(key).trials
    first = trials[0].left
    assert len(trials) == 12
    assert {trial.id: trial.left for trial in trials} == {
        name: first if same == "a" else ("b" if first == "a" else "a") for name, same in red.items()
    }, "one colour lies left where one side does"


def test_the_same_seed_writes_the_same_files_and_none_another(duel: Path) -> None:
    written = []
    for seed in (("--seed", 7), ("--seed", 7), (), ()):
        page, key, _ = export(duel, *seed)
        written.append((page.read_bytes(), key.read_bytes()))
        key.unlink()
    assert written[0] == written[1]
    assert len({key for _, key in written}) == 3


def test_options_reach_the_page(duel: Path) -> None:
    page, key, said = export(duel, "--trials", 4, "--question", "Which is more <red>?")
    assert said.startswith("4 of 48 pairs, 0 of them shown twice.")
    assert "<h1>Which is more &lt;red&gt;?</h1>" in page.read_text()
    assert read_key(key).question == "Which is more <red>?"


def test_a_key_is_never_overwritten(duel: Path) -> None:
    page, key, _ = export(duel)
    before = page.read_bytes(), key.read_bytes()
    with refused("human-key-exists", UsageError, naming=[key, "--key"]):
        export(duel)
    assert (page.read_bytes(), key.read_bytes()) == before
    with refused("human-key-is-page", UsageError, naming=duel / "x"):
        human("export", duel, "--out", duel / "x", "--key", duel / "x")
    with refused("human-result-is-source", UsageError, naming=key):
        human("read", key, vote(key, "anna", prefers("b")), "--out", key)
    assert key.read_bytes() == before[1]


def test_nothing_is_left_of_an_export_that_fails(duel: Path) -> None:
    (duel / "b" / "003-7.png").write_bytes(b"broken")
    with refused("image-unreadable", naming="003-7.png"):
        export(duel)
    (duel / "b" / "003-7.png").unlink()
    Image.new("RGB", (16, 16)).save(duel / "b" / "003-7.png")
    key = duel.parent / "key.json"
    with refused("human-page-exists", UsageError, naming=duel / "a"):
        human("export", duel, "--out", duel / "a", "--key", key)  # a folder
    with refused("human-page-exists", UsageError, naming=duel / "result.json"):
        human("export", duel, "--out", duel / "result.json", "--key", key)
    assert not key.exists() and not (duel.parent / "human.html").exists()
    with refused("duel-unfinished", UsageError, naming=duel / "a"):
        human("export", duel / "a")


def test_a_careless_rater_is_named_and_may_be_kept(duel: Path) -> None:
    _, key, _ = export(duel, "--seed", 1)
    left = vote(key, "lefty", lambda trial: "left")
    good = vote(key, "anna", prefers("a"))
    said = human("read", key, left, good)
    assert re.search(r"lefty +24 +0 +24 +50\.0% +0 of 5 +2\.0  left out\n", said)
    assert 'more than half of the repeated pairs: "lefty" (5 of 5); --keep-careless' in said
    assert "People prefer A (base) to B (tuned)" in said and "one rater" in said
    said = human("read", key, left, good, "--keep-careless")
    assert 'Counted despite a different choice in more than half of the repeated pairs: "lefty" (5 of 5).' in said
    assert "People prefer A (base) to B (tuned): B (tuned) is preferred in 25.0%" in said
    assert "The left image is chosen in 7" in said
    with refused("human-all-careless", UsageError, naming="--keep-careless"):
        human("read", key, left)


def test_raters_who_differ(duel: Path) -> None:
    _, key, _ = export(duel, "--seed", 1)
    rng = random.Random(3)
    sides = {trial.id: rng.choice("ab") for trial in read_key(key).trials}
    same = lambda trial: prefers(sides[trial.repeats or trial.id])(trial)  # noqa: E731 - repeats are answered alike
    files = [vote(key, "anna", same), vote(key, "ben", prefers("b")), vote(key, "cleo", prefers("a"))]
    out = duel.parent / "result.json"
    said = human("read", key, *files, "--out", out)
    found = json.loads(out.read_text())
    votes = [(b, a) for b, _, a in found["each"].values()]
    assert found["agreement"] == {"pairs": 48, "fleiss_kappa": fleiss_kappa(votes)}
    assert f"Fleiss' kappa of {found['agreement']['fleiss_kappa']:.2f} over 48 pairs" in said
    assert re.search(
        r"Not enough evidence .*; (about [\d,]+ more votes on [\d,]+ new prompts would decide|the models are close)\.",
        said,
    )


def test_few_prompts_foretell_nothing(duel: Path) -> None:
    _, key, _ = export(duel, "--trials", 3)
    said = human("read", key, vote(key, "anna", prefers("b")))
    assert "Not enough evidence" in said and "at least 20 prompts." in said


def test_files_may_be_given_as_a_folder_and_twice(duel: Path) -> None:
    _, key, _ = export(duel)
    folder = duel.parent / "answers"
    folder.mkdir()
    with refused("human-no-files", UsageError, naming=folder):
        human("read", key, folder)
    vote(key, "anna", prefers("b")).rename(folder / "one.json")
    (folder / "two.json").write_bytes((folder / "one.json").read_bytes())
    said = human("read", key, folder, folder / "one.json")
    assert said.count("Note: ") == 2 and said.count("contains the same answers as") == 2
    assert "48 votes of 1 rater on 24 prompts" in said


def test_answers_of_another_page_are_refused(duel: Path) -> None:
    _, key, _ = export(duel)
    old = vote(key, "anna", prefers("b"))
    key.unlink()
    _, key, _ = export(duel)
    with refused("human-other-study", UsageError, naming=old):
        human("read", key, old)
    with refused("human-not-a-key", UsageError, naming=old):
        human("read", old, old)


def test_help_says_what_is_for_whom() -> None:
    said = " ".join(human("--help").split())
    assert "without knowing" in said and "export" in said and "read" in said


def test_a_rule_that_is_set_before_decides_what_is_read(
    duel: Path, call: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    key, page = tmp_path / "key.json", tmp_path / "page.html"
    code, _, err = call("human", "export", duel, "--out", page, "--key", key, "--stop", "sequential")
    assert code == 0, err
    study = read_key(key)
    answers = [{"id": one.id, "choice": "left" if one.left == "b" else "right", "seconds": 1} for one in study.trials]
    told = {"form": 1, "study": study.id, "rater": "ann", "started": "2026-01-01T10:00:00Z", "answers": answers}
    (tmp_path / "ann.json").write_text(json.dumps({**told, "finished": None}))
    code, out, err = call("human", "read", key, tmp_path / "ann.json")
    assert code == 0, err
    assert "has not decided" in out and "People prefer B" not in out  # the sitting is not complete
    (tmp_path / "ann.json").write_text(json.dumps({**told, "finished": "2026-01-01T10:10:00Z"}))
    code, out, err = call("human", "read", key, tmp_path / "ann.json")
    assert code == 0, err
    prompts = len({one.pair.words for one in study.trials})
    assert ("People prefer B" in out) == (prompts >= 8) and "the rule that was set before" in out


def test_a_duel_for_people_needs_no_scorer(call: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a cat\na dog\n")
    for side, colour in (("base", "red"), ("tuned", "blue")):
        (tmp_path / side).mkdir()
        for place in range(2):
            Image.new("RGB", (16, 16), colour).save(tmp_path / side / f"{place}.png")
    given = ("--prompts", tmp_path / "prompts.txt", "--per-prompt", 1, "--out", tmp_path / "duel")
    code, out, err = call("duel", tmp_path / "base", tmp_path / "tuned", *given, "--scorers", "none")
    assert code == 0, err
    assert "No scorer judged the images. Next: thumbtune human export" in out
    export_to = ("--out", tmp_path / "page.html", "--key", tmp_path / "key.json")
    code, out, err = call("human", "export", tmp_path / "duel", *export_to)
    assert code == 0 and out.startswith("2 of 2 pairs"), err
    assert call("duel", tmp_path / "base", tmp_path / "tuned", *given, "--scorers", " ")[0] == 2

"""Erasing a rater also erases their answers to blind tests, their access, and their name in jobs and settings."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from made_blind import PROMPTS, answer, one_test
from made_runs import a_duel
from studio_store import Clients, fill, png
from test_raters_api import token_in, with_token

from thumbtune.feedback.store import jobs as rows
from thumbtune.feedback.store.store import Store
from thumbtune.studio.access import Person, digest_of
from thumbtune.studio.blind.folder import BlindTest
from thumbtune.studio.blind.reveal import reveal
from thumbtune.studio.blind.sitting import sittings
from thumbtune.studio.choices import Choices, read_choices, write_choices
from thumbtune.studio.erasure import erase_in_studio, is_known
from thumbtune.studio.site import Site

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tests(site: Site) -> list[BlindTest]:
    """An open test and one that has ended, which ben and ann have answered."""
    assert site.root is not None
    a_duel(site.root / "duel", PROMPTS, lambda side, prompt: png(prompt + 100 * (side == "b"), 64))
    made = [one_test(site, seed) for seed in (1, 2)]
    for test in made:
        for rater in ("ann", "ben"):
            answer(test, rater)
    reveal(site, made[1])
    return made


def train_on(site: Site, rater: str, name: str) -> int:
    return rows.add_job(site.store, "train", f"runs/{name}", {"settings": {"label_policy": f"rater:{rater}"}}).id


def test_answers_of_one_rater_are_deleted_and_those_of_others_stay(
    call: Call, site: Site, tests: list[BlindTest]
) -> None:
    site.store.vote(1, "like", rater="ben")
    code, out, _ = call("likes", "erase", "ben", "--likes", site.likes, "--yes")
    shown = sum(len(test.study.trials) for test in tests)
    assert code == 0 and f"{shown} answers of ben to 2 blind tests were deleted." in out, out
    assert f"still count these answers: {tests[1].folder / 'result.json'};" in out
    assert "1 vote of ben was deleted." in out
    for test in tests:
        assert [rater for rater, _ in sittings(test)] == ["ann"]
        assert [file.name for file in test.answers.iterdir()] == [f"{digest_of('ann')}.json"]
    assert answer_again(tests[0]) == ["ann", "ben"]  # an erased rater may answer again, as they may vote again


def answer_again(test: BlindTest) -> list[str]:
    answer(test, "ben")
    return [rater for rater, _ in sittings(test)]


def test_a_rater_who_has_answered_and_never_voted_can_be_erased(call: Call, site: Site, tests: list[BlindTest]) -> None:
    assert call("likes", "erase", "eve", "--likes", site.likes, "--yes")[0] == 2
    code, out, _ = call("likes", "erase", "ben", "--likes", site.likes, "--yes")
    assert code == 0 and "answers of ben" in out and "vote of" not in out
    assert call("likes", "erase", "ben", "--likes", site.likes, "--yes")[0] == 2, "nothing of them is left"


def test_an_answer_file_that_is_damaged_or_renamed_goes_too(site: Site, tests: list[BlindTest]) -> None:
    mine = tests[0].answers / f"{digest_of('ben')}.json"
    mine.rename(tests[0].answers / "sent-by-mail.json")
    (tests[1].answers / f"{digest_of('ben')}.json").write_text("{")
    erased = erase_in_studio(site.store, site.folder, "ben")
    assert erased.tests == 2 and erased.answers == len(tests[0].study.trials)
    assert not is_known(site.folder, "ben")


def test_the_name_goes_out_of_jobs(call: Call, site: Site) -> None:
    site.store.vote(1, "like", rater="ben")
    train_on(site, "ben", "first")
    other = train_on(site, "benno", "second")
    exported = rows.add_job(
        site.store, "export", "exports/a", {"form": "parquet", "policy": "rater:ben", "names": False}
    )
    rows.change(site.store, exported.id, ("waiting",), sentence="None (rater:ben); rater:benno has some.")
    assert call("likes", "erase", "ben", "--likes", site.likes, "--yes")[0] == 0
    first, kept, export = (rows.get_job(site.store, number) for number in (other - 1, other, exported.id))
    assert json.loads(first.arguments) == {"settings": {"label_policy": "rater:(erased)"}}
    assert json.loads(kept.arguments) == {"settings": {"label_policy": "rater:benno"}}
    assert json.loads(export.arguments) == {"form": "parquet", "policy": "rater:(erased)", "names": False}
    assert export.sentence == "None (rater:(erased)); rater:benno has some."
    assert rows.forget_rater(site.store, "ben") == 0
    other = rows.add_job(site.store, "train", "runs/marie", {})
    said = "Votes of rater:ann-marie, rater:ann.b and rater:anna stay, rater:ann."
    assert rows.change(site.store, other.id, ("waiting",), sentence=said)
    assert rows.forget_rater(site.store, "ann") == 1
    assert rows.get_job(site.store, other.id).sentence == said.replace("rater:ann.", "rater:(erased).").replace(
        "rater:(erased).b", "rater:ann.b"
    )


def test_a_rater_of_the_page_is_signed_out(call: Call, site: Site, client_of: Clients) -> None:
    owner = client_of()
    made = owner.post("/api/v1/raters", json={"name": "eve"}).json()
    token = token_in(owner.get(f"/api/v1/raters/{made['id']}/link"))
    write_choices(site.folder, Choices("rater:eve"))
    code, out, _ = call("likes", "erase", "eve", "--likes", site.likes, "--yes")
    assert code == 0 and "eve is no rater of the studio any more" in out
    assert with_token(site, token).get("/api/v1/me").status_code == 401
    assert read_choices(site.folder) == Choices() and Person("eve", "rater") not in site.access.people
    left = [path for path in site.folder.rglob("*") if path.is_file() and b"eve" in path.read_bytes()]
    assert left == []


def test_without_a_studio_nothing_is_made(call: Call, tmp_path: Path) -> None:
    (number,) = fill(tmp_path / "plain", 1)
    with Store.open(tmp_path / "plain") as store:
        store.vote(number, "like", rater="ann")
    assert call("likes", "erase", "ann", "--likes", tmp_path / "plain", "--yes")[0] == 0
    assert not (tmp_path / "plain" / "studio").exists()

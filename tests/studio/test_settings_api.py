"""Label policies with their counts, a copy of the votes that is whole while others vote, and what runs here."""

import random
import sqlite3
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import pytest
from refusals import refused
from studio_store import Clients
from test_votes_api import send, vote

from thumbtune import __version__
from thumbtune.feedback.policies import apply_policy
from thumbtune.feedback.policy_counts import policy_counts
from thumbtune.feedback.store.location import STORE_FILE
from thumbtune.feedback.store.store import Store
from thumbtune.feedback.temporary import prefix_of
from thumbtune.studio.backup import backup_command, backup_of
from thumbtune.studio.choices import SETTINGS_FILE, Choices, read_choices, write_choices
from thumbtune.studio.site import Site


@pytest.mark.parametrize("seed", range(3))
def test_counts_are_those_of_the_labels_that_training_would_see(site: Site, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(120):
        rater, kind = rng.choice(["ann", "ben", "eve"]), rng.choice(["like", "dislike", "skip"])
        given = site.store.vote(rng.randint(1, 12), kind, rater=rater)  # type: ignore[arg-type]
        if rng.random() < 0.2:
            site.store.undo(given, rater=rater)
    found = {count.policy: count for count in policy_counts(site.store)}
    assert list(found)[:4] == ["majority", "unanimous", "any-dislike", "per-vote"] and len(found) == 7
    judged = {label.image.id for label in site.store.labels()}
    for policy, count in found.items():
        labels = list(apply_policy(site.store.labels(), policy))
        assert (count.likes, count.dislikes) == (
            sum(label.liked for label in labels), sum(not label.liked for label in labels)
        ), policy  # fmt: skip
        if policy in ("majority", "unanimous", "any-dislike"):
            assert count.undecided == len(judged) - len(labels), policy
    totals = [found[f"rater:{name}"].likes + found[f"rater:{name}"].dislikes for name in ("ann", "ben", "eve")]
    assert [count.likes + count.dislikes for count in list(found.values())[4:]] == sorted(totals, reverse=True)


def test_the_chosen_policy_is_what_train_fills_in(client_of: Clients, site: Site) -> None:
    owner = client_of()
    send(owner, vote(1), vote(2, "dislike"))
    assert owner.get("/api/v1/label-policies").json()["chosen"] == "majority"
    assert owner.get("/api/v1/recipe").json()["settings"] == {}
    chosen = owner.post("/api/v1/label-policies", json={"policy": "rater:ann"}).json()
    assert chosen["chosen"] == "rater:ann"
    assert owner.get("/api/v1/recipe").json()["settings"] == {"label_policy": "rater:ann"}
    assert owner.get("/api/v1/recipe", params={"shipped_recipe": "paper"}).json()["settings"] == {}
    owner.post("/api/v1/label-policies", json={"policy": "majority"})  # the recipe's own default
    assert owner.get("/api/v1/recipe").json()["settings"] == {}
    wrong = owner.post("/api/v1/label-policies", json={"policy": "coin"})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "policy-unknown")
    assert read_choices(site.folder) == Choices("majority")
    assert client_of("ben").get("/api/v1/label-policies").status_code == 403


def test_choices_that_cannot_be_read_are_a_sentence(tmp_path: Path) -> None:
    assert read_choices(tmp_path) == Choices()
    write_choices(tmp_path, Choices("unanimous"))
    assert read_choices(tmp_path) == Choices("unanimous")
    for text in ("{", '{"form": 9, "label_policy": null}', '{"form": 1, "label_policy": 3}'):
        (tmp_path / SETTINGS_FILE).write_text(text)
        with refused("studio-settings-unreadable", naming=tmp_path / SETTINGS_FILE):
            read_choices(tmp_path)


@pytest.mark.slow
def test_a_backup_is_whole_while_others_vote(client_of: Clients, site: Site, tmp_path: Path) -> None:
    def folders() -> set[Path]:
        return {*Path(tempfile.gettempdir()).glob(f"{prefix_of('likes')}*")}

    owner, before = client_of(), folders()  # tables of other tests of this process stay until it ends
    writer = threading.Thread(target=lambda: [site.store.vote(1, "like", rater="eve") for _ in range(200)])
    writer.start()
    try:
        for number in range(3):
            answer = owner.get("/api/v1/backup")
            assert answer.status_code == 200 and answer.content.startswith(b"SQLite format 3\0")
            assert answer.headers["content-disposition"].startswith("attachment") and ".sqlite" in str(answer.headers)
            folder = tmp_path / str(number)
            folder.mkdir()
            (folder / STORE_FILE).write_bytes(answer.content)
            with closing(sqlite3.connect(folder / STORE_FILE)) as copy:
                assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                votes = [row[0] for row in copy.execute("SELECT sequence FROM votes ORDER BY sequence")]
            assert votes == list(range(1, len(votes) + 1))  # no vote is missing before the last one
            with Store.open(folder, create=False) as restored:
                assert restored.counts().images == 12
    finally:
        writer.join()
    assert folders() <= before
    assert client_of("ben").get("/api/v1/backup").status_code == 403


def test_a_store_on_a_server_names_its_own_tool(site: Site) -> None:
    object.__setattr__(site, "likes", "postgresql+psycopg://ann:secret@db.example/likes")
    assert backup_command(site) == "pg_dump --file likes.sql --dbname postgresql://ann@db.example/likes"
    with refused("studio-backup-server", naming="pg_dump"):
        backup_of(site)


def test_about_tells_versions_and_places_without_passwords(client_of: Clients, site: Site) -> None:
    told = client_of().get("/api/v1/about").json()
    assert told["versions"]["thumbtune"] == __version__ and "torch" in told["versions"]
    assert told["store"] == str(Path(site.likes) / STORE_FILE) and told["root"] == str(site.root)
    assert Path(told["images"]).is_dir() and not told["on_server"]
    assert client_of("ben").get("/api/v1/about").status_code == 403


@pytest.mark.parametrize(("theme", "shown"), [("dark", 'data-theme="dark"'), ("light", 'data-theme="light"')])
def test_a_page_has_the_colours_that_its_browser_keeps(client_of: Clients, theme: str, shown: str) -> None:
    client = client_of()
    assert "data-theme" not in client.get("/judge").text and 'content="light dark"' in client.get("/judge").text
    client.cookies.set("thumbtune-theme", theme)
    assert shown in client.get("/judge").text and f'content="{theme}"' in client.get("/judge").text
    assert shown in client.get("/welcome").text
    client.cookies.set("thumbtune-theme", '"><script>')
    assert "data-theme" not in client.get("/judge").text

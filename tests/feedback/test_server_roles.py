"""Roles of a server with exactly the rights that docs/likes.md grants can do what it says, and nothing beyond."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from refusals import refused

from thumbtune.feedback.store.store import Store

PAGE = (Path(__file__).parents[2] / "docs" / "likes.md").read_text(encoding="utf-8")
Paint = Callable[..., bytes]
ROLES = ("readers", "raters", "keepers")


def grants(role: str) -> list[str]:
    """The statements of the page that give rights to a role."""
    (block,) = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    return re.findall(rf"^GRANT .*? TO {role};", block, re.MULTILINE)


@pytest.fixture
def addresses(postgresql: str, database: str, tmp_path: Path, paint: Paint) -> Iterator[dict[str, str]]:
    """A store with one liked image, as each of the roles opens it."""
    import psycopg

    with Store.open(database, images=str(tmp_path / "images")) as store:
        store.vote(store.add_image(paint(1), "a cat").id, "like", rater="ann")
    with psycopg.connect(database, autocommit=True) as connection:
        for role in ROLES:
            connection.execute(f"CREATE ROLE {role} LOGIN")
            for statement in grants(role):
                connection.execute(statement)
        yield {role: re.sub(r"//[^@/]*@", f"//{role}@", database) for role in ROLES}
        for role in ROLES:
            connection.execute(f"DROP OWNED BY {role}")
            connection.execute(f"DROP ROLE {role}")


def likes_of(store: Store) -> list[bool]:
    return [label.liked for label in store.labels()]


def test_readers_read_and_change_nothing(addresses: dict[str, str], paint: Paint) -> None:
    with Store.open(addresses["readers"]) as store:
        assert likes_of(store) == [True] and "ann" not in store.erased_raters()
        with refused("database-no-right"):
            store.vote(1, "dislike", rater="ben")
        with refused("database-no-right"):
            store.add_image(paint(2), "a dog")
        assert likes_of(store) == [True]


def test_raters_import_and_vote_and_erase_nobody(addresses: dict[str, str], paint: Paint) -> None:
    with Store.open(addresses["raters"]) as store:
        image = store.add_image(paint(2), "a dog")
        vote = store.vote(image.id, "dislike", rater="ben")
        store.undo(vote, rater="ben")
        store.vote(image.id, "dislike", rater="eve")
        assert sorted(likes_of(store)) == [False, True]
        with refused("database-no-right"):
            store.erase("eve")
        assert sorted(likes_of(store)) == [False, True]


def test_keepers_erase(addresses: dict[str, str]) -> None:
    with Store.open(addresses["keepers"]) as store:
        assert store.erase("ann").votes == 1
        assert likes_of(store) == [] and "ann" in store.erased_raters()

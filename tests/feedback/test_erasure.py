"""Erasing a rater deletes their votes, keeps all others, and counts the images that it changes."""

from collections.abc import Callable
from pathlib import Path

import pytest
from refusals import refused

from thumbtune.errors import UsageError
from thumbtune.feedback.store.store import Store

Paint = Callable[..., bytes]


def labels_in(store: Store) -> dict[tuple[str, str], bool]:
    return {(row.image.prompt, row.rater): row.liked for row in store.labels()}


def test_erasing_deletes_all_votes_of_a_rater_and_counts_changed_images(store: Store, paint: Paint) -> None:
    alone, tie, turned, same = (
        store.add_image(paint(i), name) for i, name in enumerate(("alone", "tie", "turned", "same"))
    )
    for image in (alone, tie, same):
        store.vote(image, "like", rater="ann")
    store.undo(store.vote(turned, "dislike", rater="ann"), rater="ann")
    store.vote(turned, "like", rater="ann")
    store.vote(tie, "dislike", rater="bob")  # a tie, which becomes a dislike
    for rater, kind in (("bob", "dislike"), ("eve", "like")):  # a like, which becomes a tie
        store.vote(turned, kind, rater=rater)  # type: ignore[arg-type]
    store.vote(same, "like", rater="bob")
    erased = store.erase("ann")
    assert (erased.votes, erased.unlabelled, erased.majority_changed) == (6, 1, 2)
    assert labels_in(store) == {
        ("tie", "bob"): False,
        ("turned", "bob"): False,
        ("turned", "eve"): True,
        ("same", "bob"): True,
    }


def test_votes_are_append_only_again_after_erasing(store: Store, paint: Paint) -> None:
    fox = store.add_image(paint(), "fox")
    for rater in ("ann", "bob"):
        store.vote(fox, "like", rater=rater)
    store.erase("ann")
    with pytest.raises(Exception, match="append-only"), store._engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM votes")
    store.vote(fox, "dislike", rater="ann")  # who may come back
    assert labels_in(store) == {("fox", "ann"): False, ("fox", "bob"): True}


def test_nobody_is_erased_by_a_slip(store: Store, paint: Paint) -> None:
    store.vote(store.add_image(paint(), "fox"), "like", rater="ann")
    with refused("rater-unknown", UsageError, naming=("'Ann'", "raters are ann")):
        store.erase("Ann")


def test_an_erasure_that_fails_erases_nothing(store: Store, paint: Paint, tmp_path: Path) -> None:
    store.vote(store.add_image(paint(), "fox"), "like", rater="ann")
    with pytest.raises(RuntimeError), store.transaction():
        store.erase("ann")
        raise RuntimeError
    assert labels_in(store) == {("fox", "ann"): True}

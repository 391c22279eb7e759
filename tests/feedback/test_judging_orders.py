"""What is shown next: in an order of the rater's own, least certain first, or where others disagree; by hand."""

from collections.abc import Callable

import pytest

from thumbtune.feedback.store.judging import Order, Place, next_images
from thumbtune.feedback.store.store import Store
from thumbtune.feedback.store.uncertainty import keep_uncertainty, uncertainty_of, unrated_images

Paint = Callable[..., bytes]


@pytest.fixture
def images(store: Store, paint: Paint) -> list[int]:
    return [store.add_image(paint(seed), f"a fox {seed}").id for seed in range(8)]


def shown(store: Store, rater: str, order: Order) -> list[int]:
    """Return all images of a queue, three at a time, each page from the end of the one before."""
    found, after = [], None
    while part := next_images(store, rater, 3, order=order, after=after):
        found += [image.id for _, image in part]
        after = part[-1][0]
        assert after == Place(after.place, found[-1]) and abs(after.place) < 10**18  # as the API takes it
    return found


def test_the_least_certain_come_first_and_those_without_a_number_last(store: Store, images: list[int]) -> None:
    keep_uncertainty(store, {images[0]: 0.5, images[3]: 2e-7, images[5]: 1e-7, images[6]: 1e300}, "runs/first")
    found = shown(store, "ann", "uncertain")
    assert found[:4] == [images[5], images[3], images[0], images[6]]
    own = [image for image in shown(store, "ann", "random") if image not in found[:4]]
    assert found[4:] == own
    store.vote(images[5], "like", rater="ann")
    assert shown(store, "ann", "uncertain") == found[1:]


def test_a_new_measurement_replaces_the_old_one(store: Store, images: list[int]) -> None:
    keep_uncertainty(store, {images[0]: 0.5, images[1]: 0.25}, "runs/first")
    keep_uncertainty(store, {images[0]: 0.125, images[2]: 4.0}, "runs/second")
    assert uncertainty_of(store) == {images[0]: 0.125, images[1]: 0.25, images[2]: 4.0}


@pytest.mark.slow
def test_disagreement_comes_first_then_a_second_opinion_then_the_rest(store: Store, images: list[int]) -> None:
    store.vote(images[2], "like", rater="bob")
    store.vote(images[2], "dislike", rater="eve")
    store.vote(images[4], "dislike", rater="bob")
    undone = store.vote(images[6], "like", rater="bob")
    store.undo(undone, rater="bob")
    store.vote(images[7], "like", rater="ann")
    found = shown(store, "ann", "disagreement")
    assert found[:2] == [images[2], images[4]] and images[7] not in found
    assert found[2:] == [image for image in shown(store, "ann", "random") if image not in found[:2]]


def test_images_on_which_no_vote_stands_are_unrated(store: Store, images: list[int]) -> None:
    store.vote(images[7], "skip", rater="ann")
    store.undo(store.vote(images[6], "like", rater="ann"), rater="ann")
    assert [image.id for image in unrated_images(store, 3)] == [images[6], images[5], images[4]]

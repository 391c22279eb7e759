"""Reconcile the store with a re-imported source.

Votes that the source no longer contains are undone, and with `correct` its votes become the latest again. Only imported
votes change; their ids are derived from their values. All other votes of a rater stay.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from thumbtune.feedback.store.intake import KnownImage, images_by_key
from thumbtune.feedback.store.order import LatestVote, in_parts, is_among, latest_votes, standing_votes, times_of
from thumbtune.feedback.store.tables import Vote, now
from thumbtune.feedback.store.votes import Kind, derived_id, insert_new, undo_of, uuid_version

COPIED_COLUMNS = ("picture_id", "rater", "kind", "weight", "grade", "reason", "pair")
DERIVED_UUID_VERSION = 5
Unrated = tuple[str, str, str | None]  # an image's key, a rater without a vote on it, and the source's name
WantedVote = tuple[str, str, Kind]  # an image's key, a rater, and the vote that is to be their latest


def is_derived(vote_id: str) -> bool:
    """Return whether a vote's id is derived from its values, as imports derive it."""
    return uuid_version(vote_id) == DERIVED_UUID_VERSION


def imported_labels(session: Session, unrated: Iterable[Unrated]) -> set[tuple[int, str]]:
    """Return (image, rater) of those whose latest vote in the store is an imported like or dislike.

    Images that the store has from a source of another name are left out.
    """
    unrated = list(unrated)
    images = images_by_key(session, (key for key, *_ in unrated))
    raters = {
        (images[key].id, rater) for key, rater, source in unrated if key in images and _may_be_of(images[key], source)
    }
    latest = latest_votes(session, raters)
    return {rated for rated, vote in latest.items() if vote.kind in ("like", "dislike") and is_derived(vote.id)}


def _may_be_of(image: KnownImage, source: str | None) -> bool:
    return source is None or image.source is None or image.source == source


def undo_imported(session: Session, raters: Iterable[tuple[int, str]]) -> None:
    """Undo all imported votes of these (image, rater); otherwise the vote before the latest would count."""
    votes = standing_votes().with_only_columns(Vote.id, Vote.picture_id, Vote.rater)
    undos = [
        undo_of(vote_id, image, rater)
        for part in in_parts(raters)
        for vote_id, image, rater in session.execute(votes.where(is_among(session, part)))
        if is_derived(vote_id)
    ]
    if undos:
        insert_new(session, Vote, undos, Vote.id)


def make_latest(session: Session, wanted: Sequence[WantedVote]) -> list[tuple[Kind, bool]]:
    """Make each given vote the rater's latest, by adding a copy of it where it is not.

    Returns the kind of each vote added, and whether it replaced its opposite.
    """
    images = images_by_key(session, (key for key, *_ in wanted))
    votes: list[tuple[int, str, Kind]] = [(images[key].id, rater, kind) for key, rater, kind in wanted if key in images]
    latest = latest_votes(session, {(image, rater) for image, rater, _ in votes})
    before = {vote: latest.get((vote[0], vote[1])) for vote in votes}
    missing = [vote for vote in votes if (last := before[vote]) is None or last.kind != vote[2]]
    stored = {
        (vote.picture_id, vote.rater, vote.kind): vote
        for part in in_parts((image, rater) for image, rater, _ in missing)
        for vote in session.scalars(select(Vote).where(is_among(session, part)).order_by(Vote.sequence))
    }
    is_missing = set(missing)
    stored = {vote: row for vote, row in stored.items() if vote in is_missing}
    at = now()
    rows = [
        {
            **{name: getattr(vote, name) for name in COPIED_COLUMNS},
            **times_of(None, latest.get((vote.picture_id, vote.rater)), at)._asdict(),
            "id": derived_id(vote.id, "anew", at.isoformat()),
        }
        for vote in stored.values()
    ]
    if rows:
        insert_new(session, Vote, rows, Vote.id)
    added: list[tuple[Kind, LatestVote | None]] = [(vote[2], before[vote]) for vote in missing if vote in stored]
    return [(kind, last is not None and last.kind != "skip") for kind, last in added]

"""How uncertain a run is of each image: images near the border of gain and loss tell a training most.

    uncertainty = |log_ratio - reference point|

Beta multiplies every difference, so it changes no order, and is left out. A new measurement replaces an old one.
`runs/uncertainty.py` measures; the queue of the studio orders by it, without torch.
"""

from collections.abc import Mapping

from sqlalchemy import delete, exists, select

from thumbtune.feedback.store.judging import stands
from thumbtune.feedback.store.order import in_parts
from thumbtune.feedback.store.store import Store
from thumbtune.feedback.store.tables import StoredImage, Uncertainty, Vote


def unrated_images(store: Store, most: int) -> list[StoredImage]:
    """Return the newest images on which no vote stands, at most `most`, newest first."""
    judged = exists().where(Vote.picture_id == StoredImage.id, stands(Vote))
    wanted = select(StoredImage).where(~judged).order_by(StoredImage.id.desc()).limit(most)
    with store.reading() as session:
        return list(session.scalars(wanted))


def keep_uncertainty(store: Store, values: Mapping[int, float], run: str) -> None:
    """Store how uncertain a run is of images, by their ids, in the place of what was stored of them."""
    with store.transaction(), store.reading() as session:
        for part in in_parts(values):
            session.execute(delete(Uncertainty).where(Uncertainty.picture_id.in_(part)))
        session.add_all(Uncertainty(picture_id=image, value=value, run=run) for image, value in values.items())
        session.flush()


def uncertainty_of(store: Store) -> dict[int, float]:
    """Return what is stored, by the ids of the images."""
    with store.reading() as session:
        rows = session.execute(select(Uncertainty.picture_id, Uncertainty.value))
        return {image: value for image, value in rows}  # rows are no pairs for pyright

"""Turn the row of a source into a vote, or refuse it: the checks of an import, which an event log makes too."""

import operator
from collections.abc import Callable

from thumbtune.feedback.image_content import Content
from thumbtune.feedback.images import UnreadableImage
from thumbtune.feedback.source import Bytes, SourceRow
from thumbtune.feedback.store.intake import NewVote
from thumbtune.feedback.store.votes import Kind, check_image, check_text, check_vote, chosen_id

NO_LABEL = "it has no label; write true or false, or remove it"
NO_PROMPT = (
    "it has no prompt; add one, or give one for all, as in --prompt 'a cat', or name its column in a table, as "
    "in --map prompt=caption"
)


def checked_vote(row: SourceRow, prompt: str, rater: str, read: Callable[[Bytes], Content] = operator.call) -> NewVote:
    """Return the vote of a row with valid values; `read` gives the content of its image, the last thing that is read.

    Raises:
        ThumbtuneError: there is no image, or a value is invalid.
    """
    if row.image is None:
        raise UnreadableImage(row.problem or "the image is missing; add it or remove the row")
    kind: Kind = "like" if row.liked else "dislike"
    check_image(prompt, row.seed)
    check_vote(kind, rater, {"weight": row.weight, "grade": row.grade, "reason": row.reason, "pair": row.pair})
    if row.model:
        check_text(row.model, "model")
    if row.source:
        check_text(row.source, "source")
    return NewVote(
        data=read(row.image),
        prompt=prompt,
        seed=row.seed,
        model=row.model,
        source=row.source,
        kind=kind,
        rater=rater,
        weight=row.weight,
        grade=row.grade,
        reason=row.reason,
        pair=row.pair,
        created_at=row.created_at,
        vote_id=row.vote_id and chosen_id(row.vote_id),
    )

"""Parse labels in words of one's own: --map-label 'Like it=like,Reject=dislike,Meh=skip'."""

from collections.abc import Collection

from thumbtune.errors import UsageError
from thumbtune.feedback.quoting import named, shown
from thumbtune.feedback.reading.vocabulary import DISLIKE, LIKE, SKIP, plain

FIRST, SECOND, TIE = "first", "second", "tie"
OF_LABELS, OF_COMPARISONS = (LIKE, DISLIKE, SKIP), (FIRST, SECOND, TIE, SKIP)


def parse_map_label(text: str) -> dict[str, str]:
    """Return the plain form of each word, and its meaning: of a label, or of the result of a comparison.

    Raises:
        UsageError: the text has another form, a meaning is unknown, or a word has two.
    """
    words: dict[str, str] = {}
    for part in text.split(","):
        word, equals, meaning = (piece.strip() for piece in part.rpartition("="))
        key, meaning = plain(word), meaning.lower()
        if not (key and equals and meaning):
            raise UsageError(
                f"{shown(part.strip())} does not map a label; write WORD=like, as in 'Like it=like,Reject=dislike'.",
                code="map-label-malformed",
            )
        if meaning not in {*OF_LABELS, *OF_COMPARISONS}:
            raise UsageError(
                f"{shown(meaning)} is no meaning of a label; write {LIKE}, {DISLIKE} or {SKIP}, or for the result of a "
                f"comparison {FIRST}, {SECOND}, {TIE} or {SKIP}.",
                code="map-label-unknown-meaning",
            )
        if words.setdefault(key, meaning) != meaning:
            raise UsageError(f"The label {named(word)} has two meanings; give it one.", code="map-label-repeated")
    return words


def check_meanings(words: Collection[str], allowed: Collection[str], what: str) -> None:
    """Refuse meanings that a kind of source does not have; `what` names the kind.

    Raises:
        UsageError: there is one.
    """
    if (other := next((meaning for meaning in words if meaning not in allowed), None)) is not None:
        raise UsageError(
            f"--map-label gives a word the meaning {other}, which {what} does not have; use {', '.join(allowed)}.",
            code="map-label-other-meaning",
        )

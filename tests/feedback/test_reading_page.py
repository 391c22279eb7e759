"""The lists of docs/reading.md are those of the code: names of columns, words for likes and dislikes.

python tests/feedback/test_reading_page.py      writes them into the page again
"""

import re
from pathlib import Path

from thumbtune.feedback.reading import vocabulary
from thumbtune.feedback.reading.columns import COLUMNS
from thumbtune.feedback.reading.columns_read import SHOWN_NAMES

PAGE = Path(__file__).parents[2] / "docs" / "reading.md"
WHERE = {
    "anywhere": vocabulary.CERTAIN_WORDS,
    "in a label; as a folder only beside its opposite": vocabulary.LABEL_WORDS | vocabulary.ANSWER_WORDS,
    "an emoji": vocabulary.EMOJI_LABELS,
    "only beside its opposite": vocabulary.PAIRED_WORDS,
}


def columns() -> str:
    lines = [f"| {SHOWN_NAMES.get(key, key)} | {', '.join(f'`{name}`' for name in COLUMNS[key])} |" for key in COLUMNS]
    return "\n".join(["| read as | columns |", "|---|---|", *lines])


def words() -> str:
    rows = []
    for where, each in WHERE.items():
        likes, dislikes = (" ".join(word for word in each if each[word] is liked) for liked in (True, False))
        rows.append(f"| {where} | {likes} | {dislikes} |")
    return "\n".join(["| counts | like | dislike |", "|---|---|---|", *rows])


def written(page: str) -> str:
    """The page with its lists made again."""
    for name, text in (("columns", columns()), ("words", words())):
        page = re.sub(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end -->)", rf"\g<1>{text}\n\g<2>", page, flags=re.DOTALL)
    return page


def test_the_lists_of_the_page_are_those_of_the_code() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert columns() in page and words() in page, "python tests/feedback/test_reading_page.py, and read the difference"
    assert page == written(page)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

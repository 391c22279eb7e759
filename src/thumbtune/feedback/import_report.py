"""The numbers of an import: what each row became, and what was left out of the rows that count."""

from collections import Counter
from dataclasses import dataclass, field

from thumbtune.errors import plural
from thumbtune.feedback.prompts import Mark, notes_on
from thumbtune.feedback.source import SourceRow

MAX_LISTED_ROWS = 1000  # rows that could not be used; a million of them would fill the memory
MAX_LISTED_WORDS = 1000
MAX_EXAMPLES = 3


@dataclass(kw_only=True)
class LeftOutCells:
    """The number of cells of one field that were not read, and the first of them."""

    number: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class ImportReport:
    """The numbers of an import; `rows` is the sum of the seven counts after it.

    `erased` counts the rows of raters who were erased, which are left out.
    `changed` counts the new votes that replaced the rater's opposite vote, and `replaced` those of them whose opposite
    was no row of this source. `outdated` counts the rows with the opposite of the rater's newest vote in this source.
    `withdrawn` counts the images that the source shows without the vote it had before; with `correct` those votes were
    undone. `skipped` lists (where, why) of rows that could not be used, and of duplicates that their rater has since
    contradicted elsewhere; `unlisted` counts those after the first thousand.
    `liked` and `disliked` count the votes of the source, duplicates too. `unread` counts the
    words that are no label, and `left_out` the cells beside votes that were not read, by field. `marks` counts the
    prompts with each kind of mark that `prompts` knows.
    """

    rows: int = 0
    likes: int = 0
    dislikes: int = 0
    duplicates: int = 0
    without_prompt: int = 0
    unreadable: int = 0
    without_label: int = 0
    erased: int = 0
    changed: int = 0
    replaced: int = 0
    outdated: int = 0
    withdrawn: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    unlisted: int = 0
    liked: int = 0
    disliked: int = 0
    unread: Counter[str] = field(default_factory=Counter)
    left_out: dict[str, LeftOutCells] = field(default_factory=dict)
    marks: Counter[Mark] = field(default_factory=Counter)

    def notes(self) -> list[str]:
        """Return a sentence on each kind of mark in the prompts, such as the tags that were removed."""
        return [f"{plural(number, 'prompt')} {words}." for number, words in notes_on(self.marks)]

    @property
    def used(self) -> int:
        """Rows whose vote is in the store, from now or from before."""
        return self.likes + self.dislikes + self.duplicates

    def add_skipped(self, where: str, why: str) -> None:
        """List a row, or count it if the list is full."""
        if len(self.skipped) < MAX_LISTED_ROWS:
            self.skipped.append((where, why))
        else:
            self.unlisted += 1

    def add_details(self, row: SourceRow) -> None:
        """Count the word of a row that is no label, and its cells that were not read."""
        if row.unread is not None and (row.unread in self.unread or len(self.unread) < MAX_LISTED_WORDS):
            self.unread[row.unread] += 1
        for name, cell in row.left_out:
            cells = self.left_out.setdefault(name, LeftOutCells())
            cells.number += 1
            if cell not in cells.examples and len(cells.examples) < MAX_EXAMPLES:
                cells.examples.append(cell)

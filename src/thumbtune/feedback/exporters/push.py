"""Gather a store of likes for the hub: Parquet files that `datasets` reads, and a card."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from thumbtune.feedback.exporters.bare import bare
from thumbtune.feedback.exporters.dataset_card import Tally, text_of
from thumbtune.feedback.exporters.export import ExportReport, Progress, export
from thumbtune.feedback.exporters.rows import Row
from thumbtune.feedback.store.store import Store
from thumbtune.files import write_text

CARD = "README.md"


def gather(  # noqa: PLR0913 - this is the command `thumbtune likes push`, one argument for each option
    store: Store,
    folder: Path,
    repo: str,
    *,
    policy: str | None = None,
    names: bool = False,
    with_text: bool = False,
    license: str | None = None,
    progress: Progress = iter,
) -> ExportReport:
    """Write the likes of a store and their card into a new folder.

    Args:
        policy, names: as in `export`.
        with_text: whether reasons, sources, paths and the metadata inside images are written too (bare.py).
        license: the licence that the card names.

    Raises:
        UsageError, ThumbtuneError: as `export`, and as `bare`.
    """
    tally = Tally()

    def changed(rows: Iterable[Row]) -> Iterator[Row]:
        return map(tally.counted, rows if with_text else bare(rows))

    report = export(store, folder, "parquet", policy=policy, names=names, progress=progress, change=changed)
    write_text(folder / CARD, text_of(repo, tally, license, not with_text, names))
    return report

"""The rows that an import stores, lists and skips; strict imports store all rows or none."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusals import refused

from thumbtune.errors import Interrupted, ThumbtuneError
from thumbtune.feedback.importers import ImportReport, SourceRow, import_likes
from thumbtune.feedback.store.store import Counts, Store

Paint = Callable[..., bytes]
Write = Callable[..., Path]

EMPTY = Counts(images=0, votes=0, likes=0, dislikes=0, raters=0)
ROWS = (
    {"file_name": "img/a.png", "prompt": "fox", "label": True},
    {"file_name": "img/b.png", "prompt": "hare", "label": False},
)


def labels_in(store: Store) -> list[tuple[str, str, bool]]:
    return sorted((row.image.prompt, row.rater, row.liked) for row in store.labels())


def kept(report: ImportReport) -> tuple[int, int]:
    return report.likes, report.dislikes


def test_a_second_import_adds_nothing(store: Store, folder: Path) -> None:
    import_likes(folder, store)
    before = store.counts()
    report = import_likes(folder, store)
    assert (report.rows, report.duplicates, report.likes, report.dislikes) == (3, 3, 0, 0)
    assert store.counts() == before


def test_a_change_of_mind_between_imports(store: Store, folder: Path) -> None:
    import_likes(folder, store)
    for suffix in (".png", ".txt"):
        (folder / "like" / "a").with_suffix(suffix).rename((folder / "dislike" / "a").with_suffix(suffix))
    report = import_likes(folder, store)
    assert (report.dislikes, report.changed, report.duplicates) == (1, 1, 2)
    assert labels_in(store)[0] == ("prompt 0", "import", False)


def test_a_vote_contradicted_later_is_listed(store: Store, table: Path, write_jsonl: Write) -> None:
    write_jsonl(ROWS[0])
    import_likes(table, store)
    store.vote(next(iter(store.labels())).image, "dislike", rater="import")
    report = import_likes(table, store)
    assert (
        report.duplicates == 1 and "import has voted the opposite later, outside of this source" in report.skipped[0][1]
    )
    assert labels_in(store) == [("fox", "import", False)]


def damage(table: Path, write_jsonl: Write) -> None:
    """One row of each kind that cannot be used, and one valid row."""
    data = (table / "img" / "a.png").read_bytes()
    (table / "img" / "half.png").write_bytes(data[: len(data) // 2])
    write_jsonl(
        ROWS[0],
        "{broken\n",
        {"file_name": "img/half.png", "prompt": "x", "label": 1},
        {"file_name": "img/none.png", "prompt": "x", "label": 1},
        {"file_name": "../../etc/passwd", "prompt": "x", "label": 1},
        {"file_name": "/etc/passwd", "prompt": "x", "label": 1},
        {"file_name": "C:\\secret.png", "prompt": "x", "label": 1},
        {"prompt": "x", "label": 1},
        {**ROWS[0], "weight": "heavy"},
        {**ROWS[0], "weight": -1},
        {**ROWS[0], "grade": "high"},
        {**ROWS[0], "vote_id": 7},
        {**ROWS[0], "rater": ["ann"]},
        {**ROWS[0], "prompt": "half \ud800"},
        {"file_name": "img/b.png", "label": 1},
        {"file_name": "img/b.png", "prompt": " ", "label": 1},
        {"file_name": "img/b.png", "prompt": "x"},
    )


def test_trouble_is_listed_and_skipped(store: Store, table: Path, write_jsonl: Write) -> None:
    damage(table, write_jsonl)
    report = import_likes(table, store)
    counted = (report.rows, report.likes, report.unreadable, report.without_prompt, report.without_label)
    assert counted == (17, 1, 13, 2, 1)
    assert [where for where, _ in report.skipped[:2]] == ["metadata.jsonl, line 2", "metadata.jsonl, line 3"]
    assert report.skipped[-1][0] == "metadata.jsonl, line 17 (columns: file_name, prompt)"
    assert labels_in(store) == [("fox", "import", True)]


def test_strict_refuses_everything(store: Store, table: Path, write_jsonl: Write) -> None:
    damage(table, write_jsonl)
    with refused("import-unusable-row", naming=("line 2", "nothing was imported")) as error:
        import_likes(table, store, strict=True)
    assert str(error.value).count("metadata.jsonl") == 1
    assert store.counts() == EMPTY
    write_jsonl(*ROWS)
    assert kept(import_likes(table, store, strict=True)) == (1, 1)


def test_a_dry_run_reports_and_keeps_nothing(store: Store, table: Path, write_jsonl: Write, tmp_path: Path) -> None:
    damage(table, write_jsonl)
    report = import_likes(table, store, dry_run=True)
    assert (report.likes, report.unreadable) == (1, 13)
    assert store.counts() == EMPTY and not (tmp_path / "store" / "images").exists()


def stopped_by(error: type[BaseException]) -> Callable[[Iterable[SourceRow]], Iterator[SourceRow]]:
    """A progress bar during whose second row something happens."""

    def stop(found: Iterable[SourceRow]) -> Iterator[SourceRow]:
        for number, each in enumerate(found):
            if number > 1:
                raise error
            yield each

    return stop


def test_what_was_read_before_ctrl_c_stays_and_the_next_import_goes_on(store: Store, folder: Path) -> None:
    with refused("import-stopped", Interrupted, naming="2 rows"):
        import_likes(folder, store, progress=stopped_by(KeyboardInterrupt))
    assert store.counts().votes == 2
    report = import_likes(folder, store)
    assert (report.duplicates, report.likes + report.dislikes) == (2, 1)
    assert store.counts().votes == 3


@pytest.mark.parametrize(("at_once", "left"), [(1, 2), (500, 0)])
def test_a_crash_loses_no_more_than_one_transaction(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch, at_once: int, left: int
) -> None:
    monkeypatch.setattr("thumbtune.feedback.importers.ROWS_AT_ONCE", at_once)
    with pytest.raises(RuntimeError):
        import_likes(folder, store, progress=stopped_by(RuntimeError))
    assert store.counts().votes == left
    import_likes(folder, store)
    assert store.counts().votes == 3


def test_ctrl_c_just_after_a_batch_was_kept_counts_it(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_votes = store.add_votes

    def late(*given: object) -> object:
        results = add_votes(*given)  # type: ignore[arg-type]
        monkeypatch.setattr(store, "add_votes", add_votes)
        if results:
            raise KeyboardInterrupt
        return results

    monkeypatch.setattr("thumbtune.feedback.importers.ROWS_AT_ONCE", 2)
    monkeypatch.setattr(store, "add_votes", late)
    with refused("import-stopped", Interrupted, naming="2 rows"):
        import_likes(folder, store)
    assert store.counts().votes == 2


@pytest.mark.parametrize("options", [{"strict": True}, {"dry_run": True}])
def test_all_or_nothing_stays_nothing_after_ctrl_c(store: Store, folder: Path, options: dict[str, bool]) -> None:
    with refused("import-rolled-back", Interrupted):
        import_likes(folder, store, progress=stopped_by(KeyboardInterrupt), **options)  # type: ignore[arg-type]
    assert store.counts() == EMPTY


def test_a_full_disk_leaves_no_rows(
    store: Store, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def fill(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        Path(str(arguments[0])).rename(str(arguments[1]))

    monkeypatch.setattr("thumbtune.files.os.replace", fill)
    with pytest.raises(ThumbtuneError, match="No space left on device"):
        import_likes(folder, store)
    assert store.counts() == EMPTY and (tmp_path / "store" / "images").exists()


def test_nothing_usable_says_the_counts(store: Store, table: Path, write_jsonl: Write) -> None:
    write_jsonl({"file_name": "img/a.png", "prompt": "x"}, {"file_name": "img/b.png", "label": 1})
    with refused(
        "import-no-usable-row", naming=("2 rows: 1 without a label, 1 without a prompt, 0 unreadable", "line 1")
    ):
        import_likes(table, store)


def test_progress_sees_how_much_there_is(store: Store, folder: Path, table: Path, write_jsonl: Write) -> None:
    seen = []

    def watch(source: Iterable[SourceRow]) -> Iterable[SourceRow]:
        seen.append(source.__length_hint__())  # type: ignore[attr-defined]
        return source

    import_likes(folder, store, progress=watch)
    import_likes(write_jsonl(*ROWS), store, progress=watch)
    assert seen == [3, 2]


CELLS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.lists(st.integers(), max_size=1)
)
NAMES = st.sampled_from(["img/a.png", "img/b.png"]) | CELLS
COLUMNS = ("prompt", "label", "weight", "rater", "seed", "model", "source", "created_at")


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.lists(st.fixed_dictionaries({"file_name": NAMES}, optional=dict.fromkeys(COLUMNS, CELLS)), max_size=6))
def test_every_row_is_counted_once_whatever_its_cells_hold(
    store: Store, table: Path, write_jsonl: Write, rows: list[dict[str, object]]
) -> None:
    write_jsonl(ROWS[0], *rows)
    report = import_likes(table, store, dry_run=True)
    counts = (report.likes, report.dislikes, report.duplicates)
    trouble = (report.without_prompt, report.unreadable, report.without_label)
    assert report.rows == len(rows) + 1 == sum(counts) + sum(trouble)

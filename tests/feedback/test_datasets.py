"""Data sets of Hugging Face's `datasets`: saved to a disk, in folders of Parquet, and on the hub."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from operator import length_hint
from pathlib import Path

import datasets
import pyarrow as pa
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusals import refused

from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.feedback.reading import arrow
from thumbtune.feedback.source import Reading, SourceRow
from thumbtune.feedback.sources import parquet_folder, saved
from thumbtune.feedback.sources.parquet_folder import ParquetFolder
from thumbtune.feedback.sources.saved import SavedDataset

Paint = Callable[..., bytes]
MOMENT = datetime(2025, 6, 30, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def quiet() -> None:
    datasets.disable_progress_bars()


def rows(paint: Paint) -> dict[str, list[object]]:
    return {
        "image": [{"bytes": paint(0), "path": None}, {"bytes": paint(1, "JPEG"), "path": "b.jpg"}, None],
        "prompt": ["a fox", "un zorro 🦊", "a hare"],
        "label": [1, 0, -1],
        "rater": ["ann", None, "bob"],
        "weight": [2.0, None, 1.0],
        "created_at": [MOMENT, None, None],
    }


FEATURES = Features(
    {
        "image": Image(),
        "prompt": Value("string"),
        "label": ClassLabel(names=["like", "dislike"]),  # the other way round than 0 and 1 would be read
        "rater": Value("string"),
        "weight": Value("float32"),
        "created_at": Value("timestamp[ns, tz=UTC]"),
    }
)


@pytest.fixture
def dataset(paint: Paint) -> Dataset:
    return Dataset.from_dict(rows(paint), features=FEATURES)


def images(found: list[SourceRow]) -> list[bytes | None]:
    return [each.image and each.image() for each in found]


def is_right(found: list[SourceRow], paint: Paint) -> None:
    assert images(found) == [paint(0), paint(1, "JPEG"), None]
    assert [each.prompt for each in found] == ["a fox", "un zorro 🦊", "a hare"]
    assert [each.liked for each in found] == [False, True, None], "by the names of the classes, not their numbers"
    assert [each.rater for each in found] == ["ann", None, None]
    assert [each.weight for each in found] == [2.0, 1.0, 1.0]
    assert found[0].created_at == MOMENT
    assert [each.problem for each in found] == [None, None, "it names no image; fill in file_name or remove the row"]


# --- saved to a disk


def test_a_saved_data_set(dataset: Dataset, tmp_path: Path, paint: Paint) -> None:
    dataset.save_to_disk(tmp_path / "likes", num_shards=2)
    assert saved.recognises(tmp_path / "likes") and not saved.recognises(tmp_path)
    source = SavedDataset(tmp_path / "likes")
    found = list(source)
    is_right(found, paint)
    assert length_hint(source) == 3
    is_right(list(source), paint)  # a second time
    assert [each.where.split(" (")[0] for each in found] == [
        "data-00000-of-00002.arrow, row 1",
        "data-00000-of-00002.arrow, row 2",
        "data-00001-of-00002.arrow, row 1",
    ]
    assert {each.source for each in found[:2]} == {"likes"}


def test_images_from_files_are_inside(tmp_path: Path, paint: Paint) -> None:
    """`datasets` embeds them when it saves."""
    (tmp_path / "a.webp").write_bytes(paint(3, "WEBP"))
    made = Dataset.from_dict({"image": [str(tmp_path / "a.webp")], "prompt": ["fox"], "liked": [True]})
    made.cast_column("image", Image()).save_to_disk(tmp_path / "likes")
    (tmp_path / "a.webp").unlink()
    assert images(list(SavedDataset(tmp_path / "likes"))) == [paint(3, "WEBP")]


def test_rows_that_were_chosen_and_sorted(tmp_path: Path, paint: Paint) -> None:
    made = Dataset.from_dict({"image": [paint(n) for n in range(5)], "prompt": list("abcde"), "label": [1, 0, 1, 0, 1]})
    made.select([4, 1, 0]).save_to_disk(tmp_path / "likes")
    found = list(SavedDataset(tmp_path / "likes"))
    assert [each.prompt for each in found] == ["e", "b", "a"]
    assert images(found) == [paint(4), paint(1), paint(0)]


def test_splits_of_a_saved_data_set(dataset: Dataset, tmp_path: Path, paint: Paint) -> None:
    both = DatasetDict({"train": dataset, "test": dataset.select([1])})
    both.save_to_disk(tmp_path / "likes")
    assert saved.recognises(tmp_path / "likes")
    is_right(list(SavedDataset(tmp_path / "likes", Reading(split="train"))), paint)
    (only,) = SavedDataset(tmp_path / "likes", Reading(split="test"))
    assert (only.prompt, only.source) == ("un zorro 🦊", "likes")
    is_right(list(SavedDataset(tmp_path / "likes" / "train")), paint)
    with refused("split-needed", UsageError, naming=["train, test", "--split train"]):
        SavedDataset(tmp_path / "likes")
    with refused("split-unknown", UsageError, naming=["likes", "'dev'", "train, test"]):
        SavedDataset(tmp_path / "likes", Reading(split="dev"))


def test_a_data_set_in_one_split(dataset: Dataset, tmp_path: Path) -> None:
    DatasetDict({"train": dataset}).save_to_disk(tmp_path / "one")
    dataset.save_to_disk(tmp_path / "none")
    assert len(list(SavedDataset(tmp_path / "one"))) == 3
    with refused("split-unknown", UsageError, naming="'train'"):
        SavedDataset(tmp_path / "none", Reading(split="train"))


def test_how_it_is_to_be_read(tmp_path: Path, paint: Paint) -> None:
    cells = {"picture": [paint(n) for n in range(4)], "about": [{"text": "fox"}] * 4, "Score": [1.0, 3.0, 4.5, 5.0]}
    Dataset.from_dict(cells).save_to_disk(tmp_path / "likes")
    columns = {"image": "picture", "prompt": "about.text"}
    found = list(SavedDataset(tmp_path / "likes", Reading(columns=columns, like_at=4, limit=3)))
    assert [(each.prompt, each.liked) for each in found] == [("fox", False), ("fox", False), ("fox", True)]
    assert images(found) == [paint(0), paint(1), paint(2)]
    (first, *_) = SavedDataset(tmp_path / "likes", Reading(columns=columns))
    assert first.liked is None and "looks like a rating (of up to 5)" in (first.problem or "")
    with refused("column-missing", UsageError, naming=["likes", " who;", "picture, about, score"]):
        SavedDataset(tmp_path / "likes", Reading(columns={"rater": "who"}))


def test_a_name_in_a_cell_leads_nowhere_else(tmp_path: Path, paint: Paint) -> None:
    (tmp_path / "secret.png").write_bytes(paint(1))
    made = Dataset.from_dict({"file_name": ["../secret.png", str(tmp_path / "secret.png"), "in.png"]})
    made = made.add_column("prompt", ["fox"] * 3).add_column("label", [True] * 3)  # type: ignore[arg-type]
    made.save_to_disk(tmp_path / "likes")
    (tmp_path / "likes" / "in.png").write_bytes(paint(2))
    found = list(SavedDataset(tmp_path / "likes"))
    assert ["is outside the folder" in (each.problem or "") for each in found] == [True, True, False]
    assert images(found) == [None, None, paint(2)]


def test_few_rows_at_once(tmp_path: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rows lie in one batch on the disk."""
    made = Dataset.from_dict({"image": [paint()] * 500, "prompt": ["fox"] * 500, "label": [True] * 500})
    made.save_to_disk(tmp_path / "likes")
    sizes = []
    cells = arrow._cells
    monkeypatch.setattr(arrow, "_cells", lambda column: sizes.append(len(column)) or cells(column))
    source = iter(SavedDataset(tmp_path / "likes"))
    next(source)
    assert sizes == [64] * 3 + [100] * 5, "of three columns, and of the labels alone, in the five batches on the disk"
    assert len(list(source)) == 499 and max(sizes[8:]) == 64


def test_files_that_are_cut_off_or_damaged(dataset: Dataset, tmp_path: Path) -> None:
    dataset.save_to_disk(tmp_path / "likes")
    file = tmp_path / "likes" / "data-00000-of-00001.arrow"
    whole = file.read_bytes()
    for cut in (0, 3, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:cut])
        with refused("dataset-cut-off", naming=file):
            SavedDataset(tmp_path / "likes")
    file.write_bytes(b"\xff" * 64 + saved.END_MARK)
    with pytest.raises(ThumbtuneError) as caught:
        SavedDataset(tmp_path / "likes")
    assert caught.value.code in {"dataset-damaged", "dataset-unreadable"}, "as this pyarrow says it"
    assert str(file) in str(caught.value)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_happened_to_its_bytes(dataset: Dataset, tmp_path: Path, data: st.DataObject) -> None:
    """Rows, problems or one sentence: nothing else, and no end of the program."""
    folder = tmp_path / "likes"
    if not folder.exists():
        dataset.save_to_disk(folder)
        (tmp_path / "whole").write_bytes((folder / "data-00000-of-00001.arrow").read_bytes())
    whole = bytearray((tmp_path / "whole").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 9))] = data.draw(st.integers(0, 255))
    (folder / "data-00000-of-00001.arrow").write_bytes(whole)
    try:
        found = list(SavedDataset(folder))
    except ThumbtuneError as error:
        assert str(error).endswith(".")
    else:
        assert all(isinstance(each, SourceRow) for each in found)


@pytest.mark.parametrize(
    ("state", "code", "naming"),
    [
        ("{", "dataset-state-invalid", ()),
        ("[" * 100_000, "dataset-state-invalid", ()),
        ("[]", "dataset-no-list", "'_data_files'"),
        ('{"_data_files": 7}', "dataset-no-list", "'_data_files'"),
        ('{"_data_files": []}', "dataset-files-missing", ()),
        ('{"_data_files": [7]}', "dataset-files-missing", ()),
        ('{"_data_files": [{"filename": "../other.arrow"}]}', "dataset-files-missing", ()),
        ('{"_data_files": [{"filename": ".."}]}', "dataset-files-missing", ()),
        ('{"_data_files": [{"filename": "a\\u0000"}]}', "dataset-files-missing", ()),
        ('{"_data_files": [{"filename": "\\ud800"}]}', "dataset-files-missing", ()),
        (
            '{"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_indices_data_files": [7]}',
            "dataset-too-old",
            "2.0",
        ),
    ],
)
def test_what_its_state_may_say(dataset: Dataset, tmp_path: Path, state: str, code: str, naming: object) -> None:
    dataset.save_to_disk(tmp_path / "likes")
    dataset.save_to_disk(tmp_path / "other.arrow")
    (tmp_path / "likes" / "state.json").write_text(state, encoding="utf-8")
    with refused(code, naming=naming):
        SavedDataset(tmp_path / "likes")


def test_what_its_splits_may_say(dataset: Dataset, tmp_path: Path) -> None:
    DatasetDict({"train": dataset}).save_to_disk(tmp_path / "in" / "likes")
    dataset.save_to_disk(tmp_path / "in" / "other")
    file = tmp_path / "in" / "likes" / "dataset_dict.json"
    file.write_text(json.dumps({"splits": ["../other", "..", 7, "train"]}), encoding="utf-8")
    assert len(list(SavedDataset(file.parent))) == 3, "the only one inside"
    file.write_text(json.dumps({"splits": ["gone"]}), encoding="utf-8")
    with refused("dataset-unreadable", naming="gone/state.json"):
        SavedDataset(file.parent)


def test_what_is_no_saved_data_set(tmp_path: Path) -> None:
    names = [tmp_path / "none", tmp_path, tmp_path / "a\0b", tmp_path / ("x" * 5000), tmp_path / "\ud800"]
    assert not any(saved.recognises(path) or parquet_folder.recognises(path) for path in names)


def test_moments_that_python_does_not_know(tmp_path: Path, paint: Paint) -> None:
    made = Dataset(
        pa.table(
            {
                "image": [paint()],
                "prompt": ["fox"],
                "label": [True],
                "time": pa.array([2**60], pa.timestamp("s")),
            }
        )
    )
    made.save_to_disk(tmp_path / "likes")
    (found,) = SavedDataset(tmp_path / "likes")
    assert (found.liked, found.created_at, found.problem) == (True, None, None)


# --- folders of Parquet


def test_a_folder_as_on_the_hub(dataset: Dataset, tmp_path: Path, paint: Paint) -> None:
    data = tmp_path / "likes" / "data"
    data.mkdir(parents=True)
    dataset.select([0, 1]).to_parquet(data / "train-00000-of-00002.parquet")
    dataset.select([2]).to_parquet(data / "train-00001-of-00002.parquet")
    assert parquet_folder.recognises(tmp_path / "likes")
    source = ParquetFolder(tmp_path / "likes")
    is_right(list(source), paint)
    assert length_hint(source) == 3
    dataset.to_parquet(data / "test-00000-of-00001.parquet")
    is_right(list(ParquetFolder(tmp_path / "likes", Reading(split="train"))), paint)
    with refused("split-needed", UsageError, naming="(test, train)"):
        ParquetFolder(tmp_path / "likes")
    (first,) = ParquetFolder(tmp_path / "likes", Reading(split="test", limit=1))
    assert first.where == "test-00000-of-00001.parquet, row 1"


def test_folders_of_splits_and_of_data_sets(dataset: Dataset, tmp_path: Path) -> None:
    """As the hub lays out what it has converted: config/split/0000.parquet."""
    for name in ("first/train/0000", "first/test/0000", "second/train"):
        file = tmp_path / f"{name}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        dataset.select([0] * (1 + ("test" in name))).to_parquet(file)
    assert len(list(ParquetFolder(tmp_path / "first", Reading(split="test")))) == 2
    assert len(list(ParquetFolder(tmp_path / "first", Reading(split="train")))) == 1
    assert len(list(ParquetFolder(tmp_path / "second", Reading(split="train")))) == 1
    assert parquet_folder.recognises(tmp_path)
    with refused("datasets-several", UsageError, naming="(first, second)"):
        ParquetFolder(tmp_path)

"""Where likes may come from: every kind of folder and table, and the words in their cells."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from refusals import refused

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.importers import ImportReport, import_likes
from thumbtune.feedback.sources.kinds import open_source
from thumbtune.feedback.sources.table import Table
from thumbtune.feedback.store.store import Store

Paint = Callable[..., bytes]
Write = Callable[..., Path]

ROWS = (
    {"file_name": "img/a.png", "prompt": "fox", "label": True},
    {"file_name": "img/b.png", "prompt": "hare", "label": False},
)


def said(store: Store) -> list[tuple[str, str, bool]]:
    return sorted((row.image.prompt, row.rater, row.liked) for row in store.labels())


def kept(report: ImportReport) -> tuple[int, int]:
    return report.likes, report.dislikes


def test_a_folder_with_sidecars(store: Store, folder: Path) -> None:
    report = import_likes(folder, store)
    assert (report.rows, report.likes, report.dislikes, report.skipped) == (3, 2, 1, [])
    assert said(store) == [
        ("prompt 0", "import", True),
        ("prompt 1", "import", True),
        ("prompt 2", "import", False),
    ]


@pytest.mark.parametrize(("yes", "no"), [("Liked", "DISLIKED"), ("good", "bad"), ("pos", "neg"), ("Up", "down")])
def test_folder_names(store: Store, folder: Path, yes: str, no: str) -> None:
    (folder / "like").rename(folder / yes)
    (folder / "dislike").rename(folder / no)
    report = import_likes(folder, store)
    assert kept(report) == (2, 1)


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
@pytest.mark.parametrize("inside", [True, False])
def test_a_folder_with_prompts_in_metadata(store: Store, folder: Path, kind: str, inside: bool) -> None:
    for sidecar in folder.rglob("*.txt"):
        sidecar.unlink()
    lines = [("a.png", "fox"), ("b.png", "hare, in snow")]
    names = [(name if inside else f"like/{name}", prompt) for name, prompt in lines]
    file = (folder / "like" if inside else folder) / f"metadata.{kind}"
    with file.open("w", newline="", encoding="utf-8") as out:
        if kind == "csv":
            csv.writer(out).writerows([("file_name", "text"), *names])
        else:
            out.writelines(json.dumps({"file_name": name, "prompt": prompt}) + "\n" for name, prompt in names)
    report = import_likes(folder, store)
    assert (report.likes, report.without_prompt) == (2, 1)
    assert [row[0] for row in said(store)] == ["fox", "hare, in snow"]


def test_one_prompt_for_all_that_have_none(store: Store, folder: Path) -> None:
    (folder / "like" / "a.txt").unlink()
    import_likes(folder, store, prompt="a fox", rater="ann")
    assert [row[:2] for row in said(store)] == [("a fox", "ann"), ("prompt 1", "ann"), ("prompt 2", "ann")]


def test_a_sidecar_in_another_encoding(store: Store, folder: Path) -> None:
    (folder / "like" / "a.txt").write_bytes("für".encode("latin-1"))
    report = import_likes(folder, store)
    assert report.unreadable == 1 and "UTF-8" in report.skipped[0][1]


def test_jsonl(store: Store, table: Path, write_jsonl: Write) -> None:
    extra = {"weight": 2, "rater": "ann", "seed": 7, "model": "sd", "created_at": "2025-06-01T12:00:00Z"}
    extra |= {"grade": 0.75, "reason": "paws"}
    report = import_likes(write_jsonl({**ROWS[0], **extra}, "\n", ROWS[1]), store)
    assert (report.rows, report.likes, report.dislikes) == (2, 1, 1)
    assert said(store) == [("fox", "ann", True), ("hare", "import", False)]
    row = next(iter(store.labels()))
    assert (row.weight, row.image.seed, row.image.model, row.created_at.year) == (2.0, 7, "sd", 2025)
    assert row.image.source == "metadata.jsonl" and (row.grade, row.reason) == (0.75, "paws")


def test_what_a_store_has_no_room_for_is_found_all_the_same(table: Path, write_jsonl: Write) -> None:
    known = "5F0C3A0E-6d0b-5c53-9d6b-6c7f3a1f8f52"
    found = list(Table([write_jsonl({**ROWS[0], "pair": 3, "vote_id": known}, {**ROWS[1], "vote_id": 17})]))
    assert [(each.pair, each.vote_id) for each in found] == [("3", known.lower()), (None, None)]


@pytest.mark.parametrize("grade", [1.5, -0.1, "high"])
def test_a_grade_is_a_fraction(store: Store, table: Path, write_jsonl: Write, grade: object) -> None:
    write_jsonl(ROWS[0], {**ROWS[1], "grade": grade})
    assert "grade" in import_likes(table, store).skipped[0][1]


@pytest.mark.parametrize(
    ("label", "liked"),
    [
        *[(word, True) for word in (True, 1, 1.0, "true", "YES", "1", "1.0", " like ", "liked", "up")],
        *[(word, False) for word in (False, 0, -1, 0.0, "False", "no", "0", "-1", "dislike", "Disliked")],
        *[(word, None) for word in (None, "", "maybe", 2, 0.5, "0.3", float("nan"), [1], {"a": 1})],
    ],
)
def test_words_for_a_label(store: Store, table: Path, label: object, liked: bool | None, write_jsonl: Write) -> None:
    write_jsonl({"image": "img/a.png", "caption": "fox", "liked": label}, {**ROWS[1]})
    report = import_likes(table, store)
    assert report.without_label == (liked is None)
    assert said(store)[:-1] == ([] if liked is None else [("fox", "import", liked)])


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_from_a_spreadsheet(store: Store, table: Path, delimiter: str) -> None:
    with (table / "metadata.csv").open("w", newline="", encoding="utf-8-sig") as out:
        rows = csv.writer(out, delimiter=delimiter)
        rows.writerow(["File_Name", " Prompt ", "Label", "weight", "seed"])
        rows.writerow(["img/a.png", 'a "big", red; fox\nin two lines', "TRUE", "", "7.0"])
        rows.writerow(["img/b.png", "hare", "dislike", "0.5", ""])
    report = import_likes(table, store)
    assert (report.likes, report.dislikes, report.skipped) == (1, 1, [])
    assert said(store)[0][0] == 'a "big", red; fox\nin two lines'
    assert [row.image.seed for row in store.labels()] == [7, None]


def test_parquet_with_bytes_inside(store: Store, tmp_path: Path, paint: Paint) -> None:
    images = [{"bytes": paint(number), "path": None} for number in range(3)]
    columns = {"image": images, "prompt": ["a", "b", "c"], "label": [True, False, True], "seed": [1, None, 3]}
    pq.write_table(pa.table(columns), tmp_path / "likes.parquet")
    report = import_likes(tmp_path / "likes.parquet", store)
    assert (report.likes, report.dislikes, report.unreadable) == (2, 1, 0)


def test_parquet_with_paths(store: Store, table: Path) -> None:
    images = [
        {"bytes": None, "path": "img/a.png"},
        {"bytes": None, "path": "../x.png"},
        {"bytes": None, "path": None},
    ]
    columns = {"image": images, "prompt": ["a", "b", "c"], "label": [1, 0, 1]}
    pq.write_table(pa.table(columns), table / "metadata.parquet")
    report = import_likes(table, store)
    assert (report.likes, report.unreadable) == (1, 2)


def exported(table: Path, label: object) -> datasets.Dataset:
    images = [Image.open(table / "img" / f"{name}.png").copy() for name in "abc"]  # less their file names
    features = datasets.Features({"image": datasets.Image(), "prompt": datasets.Value("string"), "label": label})
    columns = {"image": images, "prompt": ["a", "b", "c"], "label": [1, 0, 1]}
    return datasets.Dataset.from_dict(columns, features=features)


def test_an_export_of_datasets(store: Store, table: Path, tmp_path: Path) -> None:
    exported(table, datasets.Value("bool")).to_parquet(tmp_path / "out" / "train.parquet")
    assert kept(import_likes(tmp_path / "out", store)) == (2, 1)


def test_shards_as_the_hub_names_them(store: Store, table: Path, tmp_path: Path) -> None:
    likes = exported(table, datasets.Value("bool"))
    for shard in range(3):
        likes.shard(3, shard).to_parquet(tmp_path / "hub" / "data" / f"train-{shard:05d}-of-00003.parquet")
    assert kept(import_likes(tmp_path / "hub", store)) == (2, 1)


def test_an_export_that_only_names_files_elsewhere(store: Store, table: Path, tmp_path: Path) -> None:
    """`datasets` writes images that it was given as paths as paths: those lead out of the folder."""
    columns = {"image": [str(table / "img" / "a.png")], "prompt": ["a"], "label": [True]}
    features = datasets.Features({**exported(table, datasets.Value("bool")).features})
    (tmp_path / "elsewhere").mkdir()
    file = tmp_path / "elsewhere" / "likes.parquet"
    datasets.Dataset.from_dict(columns, features=features).to_parquet(file)
    with pytest.raises(ThumbtuneError, match="is outside the folder; put the image into the folder"):
        import_likes(file, store)
    file.rename(tmp_path / "likes.parquet")  # now its whole path leads to a file below the table
    assert import_likes(tmp_path / "likes.parquet", store).likes == 1


def test_numbered_classes_are_read_by_their_names(store: Store, table: Path, tmp_path: Path) -> None:
    """With names (like, dislike) the number 1 means dislike."""
    exported(table, datasets.ClassLabel(names=["like", "dislike"])).to_parquet(tmp_path / "likes.parquet")
    import_likes(tmp_path / "likes.parquet", store)
    assert said(store) == [("a", "import", False), ("b", "import", True), ("c", "import", False)]


def test_places_without_likes(store: Store, tmp_path: Path, table: Path, write_jsonl: Write) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "note.txt").write_text("x")
    (tmp_path / "hollow" / "like").mkdir(parents=True)
    for path, code, naming in (
        ("empty", "source-empty", "metadata.jsonl, .csv or .parquet"),
        ("none", "source-missing", ""),
        ("note.txt", "table-unknown-format", ""),
    ):
        with refused(code, naming=[tmp_path / path, naming]):
            import_likes(tmp_path / path, store)
    with refused("import-empty", naming="hollow"):
        import_likes(tmp_path / "hollow", store)
    (table / "metadata.csv").write_text("file_name,prompt,label\n")
    write_jsonl(*ROWS)
    with refused("tables-several", naming="metadata.jsonl and metadata.csv"):
        open_source(table, tmp_path / "store")


def drawn(path: Path, colour: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), colour).save(path)


def test_a_store_may_not_lie_among_what_is_imported(tmp_path: Path, table: Path) -> None:
    drawn(tmp_path / "rated" / "like" / "a.png", "red")
    for source, likes in (
        (tmp_path / "rated", tmp_path / "rated"),
        (tmp_path / "rated", tmp_path / "rated" / "like"),
        (tmp_path / "rated", tmp_path / "rated" / "like" / "deeper"),
        (tmp_path / "rated", tmp_path / "rated" / "dislike" / ".." / "like"),
    ):
        with refused("source-holds-store", naming=likes):
            open_source(source, likes)
    open_source(tmp_path / "rated", tmp_path)
    open_source(tmp_path / "rated", tmp_path / "rated" / "likes")


def test_a_store_above_what_is_imported_is_no_hindrance_and_one_below_no_source(tmp_path: Path) -> None:
    drawn(tmp_path / "new" / "like" / "a.png", "red")
    drawn(tmp_path / "other" / "dislike" / "b.png", "blue")
    for _ in range(2):
        with Store.open(tmp_path) as store:
            import_likes(tmp_path / "new", store, prompt="a thing")
            import_likes(tmp_path / "other", store, prompt="a thing")
            assert (store.counts().likes, store.counts().dislikes) == (1, 1)
    inner = tmp_path / "new" / "like" / "old"
    with Store.open(inner) as store:  # as an earlier version may have left it
        import_likes(tmp_path / "other", store, prompt="a thing")
    with Store.open(tmp_path) as store:
        assert import_likes(tmp_path / "new", store, prompt="a thing").rows == 1


def test_a_store_with_other_images_beside_it_is_named(tmp_path: Path) -> None:
    drawn(tmp_path / "likes" / "a.png", "red")
    drawn(tmp_path / "dislikes" / "b.png", "blue")
    Store.open(tmp_path / "likes").close()  # as an earlier version may have left it
    with refused("folders-hold-store", naming=tmp_path / "likes"):
        open_source(tmp_path, tmp_path / "store")


@pytest.mark.parametrize(
    ("name", "data", "code", "naming"),
    [
        ("metadata.jsonl", b'{"prompt": "f\xfcr"}', "text-wrong-encoding", "UTF-8"),
        ("metadata.csv", b"file_name,prompt,label\nf\xfcr,a,1\n", "text-wrong-encoding", "UTF-8"),
        ("metadata.csv", b'file_name,prompt,label\na.png,"fox,1\n', "csv-invalid", "quote in line 2 "),
        ("metadata.parquet", b"PAR1 not really", "parquet-invalid", ""),
        ("metadata.parquet", b"", "parquet-invalid", ""),
    ],
)
def test_tables_that_cannot_be_read(
    store: Store, tmp_path: Path, name: str, data: bytes, code: str, naming: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with refused(code, naming=[tmp_path / name, naming]):
        import_likes(tmp_path / name, store)

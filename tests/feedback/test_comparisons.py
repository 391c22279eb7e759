"""Tables of two images a row and of which is better: in any usual naming, and refused where it is unclear."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from refusals import refused

from thumbtune.errors import UsageError
from thumbtune.feedback.importers import import_likes
from thumbtune.feedback.source import Reading
from thumbtune.feedback.sources.comparisons import Comparisons
from thumbtune.feedback.sources.kinds import open_source
from thumbtune.feedback.sources.pairs import Pairs
from thumbtune.feedback.sources.winners import meaning_of_numbers
from thumbtune.feedback.store.store import Store

Paint = Callable[..., bytes]
Call = Callable[..., tuple[int, str, str]]
Row = Mapping[str, object]


@pytest.fixture
def folder(tmp_path: Path, paint: Paint) -> Path:
    """Images 0.png to 5.png."""
    for number in range(6):
        (tmp_path / f"{number}.png").write_bytes(paint(number))
    return tmp_path


def write(folder: Path, rows: Sequence[Row], name: str = "t.jsonl") -> Path:
    file = folder / name
    if name.endswith(".csv"):
        with file.open("w", newline="", encoding="utf-8") as text:
            table = csv.DictWriter(text, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
    elif name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), file)
    else:
        file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return file


def liked(source: Comparisons | Pairs) -> dict[str, bool | None]:
    """The label of each image by its prompt and place."""
    return {f"{row.prompt} {row.where.rpartition(', ')[2]}": row.liked for row in source}


def results(folder: Path, rows: Sequence[Row], name: str = "t.jsonl", reading: Reading | None = None) -> str:
    """The result of each row: 1 or 2 for the better image, - for a tie, 0 for no judgement, ? for a refusal."""
    source = open_source(write(folder, rows, name), None, reading or Reading())
    assert isinstance(source, Comparisons)
    found = []
    for judgement in source._judgements():
        ranks = judgement.ranks
        decided = "-" if len(set(ranks)) == 1 else "1" if ranks and ranks[0] < ranks[1] else "2"
        found.append("?" if judgement.problem else "0" if judgement.left_out else decided)
    return "".join(found)


def rows_of(names: tuple[str, str], column: str, values: Sequence[object]) -> list[Row]:
    files = [("0.png", "1.png"), ("2.png", "3.png"), ("4.png", "5.png")]
    return [
        {"prompt": f"p{number}", names[0]: files[number % 3][0], names[1]: files[number % 3][1], column: value}
        for number, value in enumerate(values)
    ]


@pytest.mark.parametrize("name", ["t.jsonl", "t.csv", "t.parquet"])
@pytest.mark.parametrize(
    ("names", "column", "values", "found"),
    [
        (("image_a", "image_b"), "preference", ["a", "b", "tie"], "12-"),
        (("image0", "image1"), "label", [0, 1, 0], "121"),
        (("image_1", "image_2"), "winner", [1, 2, 1], "121"),
        (("image_1", "image_2"), "label", ["1", "2", "2"], "122"),
        (("img1", "img2"), "choice", ["img1", "img2", "neither"], "12-"),
        (("left_image", "right_image"), "preferred", ["left", "right", "both"], "12-"),
        (("imageA", "imageB"), "better", ["A", "B", "Equal"], "12-"),
        (("image_a", "image_b"), "winner", ["0.png", "3.png", "4"], "12?"),
        (("image_a", "image_b"), "vote", ["image_b", "image_a", ""], "210"),
        (("model_a", "model_b"), "winner", ["model_a", "model_b", "tie (bothbad)"], "12-"),
        (("path1", "path2"), "preference", ["1", "2", "1"], "121"),
        (("first", "second"), "result", ["first", "second", "draw"], "12-"),
        (("image_a", "image_b"), "winner", ["0", "1", "0"], "121"),
        (("image_a_url", "image_b_url"), "selection", ["Image A", "image b", "same"], "12-"),
        (("image_0", "image_1"), "label", [0.0, 1.0, 0.5], "12-"),
    ],
)
def test_usual_namings(
    folder: Path, names: tuple[str, str], column: str, values: list[object], found: str, name: str
) -> None:
    if name == "t.parquet":
        values = [str(value) for value in values]
    assert results(folder, rows_of(names, column, values), name) == found


@pytest.mark.parametrize(
    ("values", "markers", "names_one", "meaning"),
    [
        ({0, 1}, ("0", "1"), False, "first second"),
        ({1}, ("0", "1"), False, "second"),
        ({0, 1, 2}, ("0", "1"), False, "first second tie"),
        ({1, 2}, ("0", "1"), True, "none none"),
        ({1, 2}, ("1", "2"), False, "first second"),
        ({0, 1, 2}, ("1", "2"), False, "tie first second"),
        ({0, 1}, ("1", "2"), True, "none none"),
        ({1}, ("1", "2"), True, "first"),
        ({1}, ("1", "2"), False, "none"),
        ({0, 1}, ("a", "b"), True, "first second"),
        ({0, 1}, ("a", "b"), False, "none none"),
        ({1, 2}, ("left", "right"), False, "first second"),
        ({0, 1, 2}, ("a", "b"), True, "none none none"),
        ({-1, 1}, ("a", "b"), True, "none none"),
        ({1, 2, 3}, ("1", "2"), True, "none none none"),
    ],
)
def test_numbers_are_decided_by_their_column(
    values: set[float], markers: tuple[str, str], names_one: bool, meaning: str
) -> None:
    found = meaning_of_numbers(frozenset(map(float, values)), markers, names_one)
    assert " ".join(found.get(value, "none") for value in sorted(values)) == meaning


def test_a_number_that_may_mean_both_is_refused_with_the_option(folder: Path) -> None:
    rows = rows_of(("image_1", "image_2"), "winner", [0, 1, 1])
    file = write(folder, rows)
    assert results(folder, rows) == "???"
    problem = next(iter(Comparisons(file))).problem or ""
    assert "its winner 0 may mean either image" in problem and "--map-label '0=first,1=second'" in problem
    assert results(folder, rows, reading=Reading(words={"0": "first", "1": "second"})) == "122"
    assert results(folder, rows, reading=Reading(words={"0": "tie", "1": "first"})) == "-11"


@pytest.mark.parametrize(
    ("names", "column", "values"),
    [
        (("image_1", "image_2"), "winner", [1, 1, 0]),
        (("image_1", "image_2"), "choice", ["1", "1", "0"]),
        (("image_a", "image_b"), "winner", [0, 1, 2]),
        (("image_0", "image_1"), "label", [1, 1, 2]),
        (("left", "right"), "label", [1, 2, 0]),
        (("image_1", "image_2"), "winner", [1, 2, 3]),
    ],
)
def test_a_limit_does_not_change_what_numbers_mean(
    folder: Path, names: tuple[str, str], column: str, values: list[object]
) -> None:
    """The rows within the limit read as they do in the whole table."""
    rows = rows_of(names, column, values)
    whole = results(folder, rows)
    for limit in (1, 2):
        source = open_source(write(folder, rows), None, Reading(limit=limit))
        assert isinstance(source, Comparisons) and results(folder, rows, reading=Reading(limit=limit)) == whole
        assert len({row.where.partition(",")[0] for row in source}) <= limit


# --- contradictions

AB: Row = {"prompt": "p", "image_a": "0.png", "image_b": "1.png"}


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        ({"preferred": "b", "winner": "a"}, "?"), ({"winner": "a", "preferred": "b"}, "?"),
        ({"answer": "right", "vote": "left"}, "?"), ({"vote": "left", "answer": "right"}, "?"),
        ({"winner": "a", "loser": "a"}, "?"), ({"winner": "a", "votes_a": 1, "votes_b": 5}, "?"),
        ({"winner": "tie", "choice": "b"}, "?"), ({"winner": "a", "best_image": "1.png"}, "?"),
        ({"votes_a": 5, "votes_b": 1, "label_a": 0, "label_b": 1}, "?"),
        ({"votes_a": 5, "votes_b": 1, "worse": "a"}, "?"),
        ({"winner": "a", "preferred": "image_a", "loser": "b", "votes_a": 3, "votes_b": 1}, "1"),
        ({"winner": "b", "label": "nsfw", "feedback": "a nice one", "rating": 4, "selected": True}, "2"),
        ({"winner": "b", "choice": ""}, "2"), ({"winner": "b", "votes_a": "", "votes_b": ""}, "2"),
        ({"winner": True}, "?"), ({"preferred": False}, "?"),
    ],
)  # fmt: skip
def test_all_columns_of_winners_agree(folder: Path, cells: Row, found: str) -> None:
    assert results(folder, [{**AB, **cells}, {**AB, **cells}]) == found * 2


def test_columns_that_disagree_are_named_with_the_way_out(folder: Path) -> None:
    rows = [{**AB, "preferred": "b", "winner": "a"}]
    problem = next(iter(Comparisons(write(folder, rows)))).problem or ""
    assert "its preferred 'b' and its winner 'a' do not agree" in problem and "--map winner=preferred" in problem
    for column, found in (("preferred", "2"), ("winner", "1")):
        assert results(folder, rows, reading=Reading(columns={"winner": column})) == found


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        ({"model_a": "b", "model_b": "a", "winner": "a"}, "?"),
        ({"model_a": "right", "model_b": "x", "winner": "right"}, "?"),
        ({"id_a": 2, "id_b": 1, "winner": 1}, "?"), ({"id_a": "second", "id_b": "first", "winner": "first"}, "?"),
        ({"model_a": "tie", "model_b": "x", "winner": "tie"}, "?"),
        ({"id_a": "u1", "id_b": "u2", "model_a": "u2", "model_b": "u1", "winner": "u1"}, "?"),
        ({"model_a": "a", "model_b": "b", "winner": "a"}, "1"), ({"id_a": 17, "id_b": 18, "winner": 18}, "2"),
        ({"model_a": "x", "model_b": "x", "winner": "b"}, "2"), ({"model_a": "x", "model_b": "x", "winner": "x"}, "?"),
    ],
)  # fmt: skip
def test_a_word_that_names_both_images_is_refused(folder: Path, cells: Row, found: str) -> None:
    assert results(folder, [{**AB, **cells}]) == found


def test_words_of_ones_own(folder: Path) -> None:
    rows = rows_of(("image_a", "image_b"), "winner", ["oben", "unten", "weiß nicht"])
    assert results(folder, rows) == "???"
    words = {"oben": "first", "unten": "second", "weiß nicht": "skip"}
    assert results(folder, rows, reading=Reading(words=words)) == "120"
    with refused("map-label-other-meaning", UsageError, naming="like"):
        Comparisons(write(folder, rows), Reading(words={"oben": "like"}))


def test_pick_a_pics_columns_in_any_table(folder: Path) -> None:
    row = {"caption": "pond", "jpg_0": "0.png", "jpg_1": "1.png", "image_0_uid": "u0", "image_1_uid": "u1"}
    row |= {"label_0": 1, "label_1": 0, "has_label": True, "are_different": True, "model_0": "x", "model_1": "y"}
    tie, none, alike = (
        row | {"label_0": 0.5, "label_1": 0.5},
        row | {"has_label": False},
        row | {"are_different": False},
    )
    for name in ("t.jsonl", "t.csv"):
        assert results(folder, [row, tie, none, alike, row | {"label_0": 0, "label_1": 1}], name) == "1-002"
    uid = {key: value for key, value in row.items() if not key.startswith("label_")} | {"best_image_uid": "u1"}
    assert results(folder, [uid, uid | {"best_image_uid": "tie"}]) == "2-"
    (first, second) = Comparisons(write(folder, [row]))
    assert (first.model, second.model, first.prompt) == ("x", "y", "pond")


def test_votes_for_each_image(folder: Path) -> None:
    rows = [
        {"prompt": "a", "image1": "0.png", "image2": "1.png", "votes_image1": 3, "votes_image2": 9},
        {"prompt": "b", "image1": "2.png", "image2": "3.png", "votes_image1": 4, "votes_image2": 4},
    ]
    assert results(folder, rows) == "2-"


def test_hpdv3(folder: Path) -> None:
    row = {"prompt": "a", "choice_dist": [12, 7], "confidence": 0.9, "path1": "0.png", "path2": "1.png", "model1": "m"}
    assert results(folder, [row, row | {"choice_dist": [3, 12]}, row | {"choice_dist": None}]) == "1?1"


@pytest.mark.parametrize(
    ("better", "worse"),
    [("good_image", "bad_image"), ("win", "lose"), ("chosen", "rejected"), ("Best Image", "worst-image"), ("w", "l"),
     ("winnerImage", "loserImage"), ("preferred_path", "dispreferred_path")],
)  # fmt: skip
def test_names_of_pairs(folder: Path, better: str, worse: str) -> None:
    source = open_source(write(folder, [{"prompt": "a", worse: "0.png", better: "1.png"}]))
    assert isinstance(source, Pairs)
    assert liked(source) == {"a chosen": True, "a rejected": False}


def test_two_images_without_a_winner_are_refused_with_the_way_out(folder: Path) -> None:
    file = write(folder, [{"prompt": "a", "path1": "0.png", "path2": "1.png", "mine": "1"}])
    with refused("comparison-no-winner", UsageError, naming=["path1, path2", "--map winner=mine", "chosen=path1"]):
        open_source(file)
    source = open_source(file, None, Reading(columns={"winner": "mine"}), "comparisons")
    assert isinstance(source, Comparisons) and source.sides.winner == "mine"
    with refused("comparison-no-images", UsageError, naming="chosen=COLUMN"):
        Comparisons(write(folder, [{"prompt": "a", "file": "0.png"}]))


@pytest.mark.slow
def test_they_are_imported_and_described(folder: Path, call: Call, tmp_path: Path, file_store: Store) -> None:
    rows = rows_of(("image_a", "image_b"), "winner", ["a", "b", "a"])
    report = import_likes(write(folder, [{**row, "seed": "random"} for row in rows]), file_store)
    assert (report.likes, report.dislikes, report.left_out["seed"].number) == (3, 3, 6)
    code, out, _ = call("import", folder / "t.jsonl", "--dry-run", "--likes", tmp_path / "none")
    assert code == 0
    assert "image_a as first image, image_b as second image" in out and "winner" in out


def test_a_table_of_labels_is_not_taken_for_comparisons(folder: Path) -> None:
    row = {"file_name": "0.png", "image_1": "1.png", "image_2": "2.png", "prompt": "a", "label": "like"}
    assert not isinstance(open_source(write(folder, [row])), Comparisons)

"""Images under names of other machines and in other spellings: found if one file fits, never outside the folder."""

import json
import unicodedata
from pathlib import Path

import pytest

from thumbtune.feedback.images import UnreadableImage
from thumbtune.feedback.reading.image_cells import file_of, image_in
from thumbtune.feedback.reading.image_roots import ImageRoot
from thumbtune.feedback.source import Reading
from thumbtune.feedback.sources.comparisons import Comparisons
from thumbtune.feedback.sources.pairs import Pairs
from thumbtune.feedback.sources.table import Table

NFC, NFD = (unicodedata.normalize(form, "ünï.png") for form in ("NFC", "NFD"))


@pytest.fixture
def pics(tmp_path: Path) -> Path:
    """Images in a folder beside a table, and a secret outside."""
    folder = tmp_path.resolve() / "log" / "pics"
    (folder / "sub").mkdir(parents=True)
    (folder / "craiyon").mkdir()
    names = ("a.png", "a b.png", NFC, "100%.png", "sub/0.png", "sub/1.JPG", "craiyon/p01.png", "craiyon/p01.txt")
    for name in (*names, "craiyon/p02.png", "craiyon/p02.jpg", "Same.png", "same.png", "../../secret.png"):
        (folder / name).write_bytes(name.encode())
    (folder / "out.png").symlink_to(tmp_path / "secret.png")
    return folder


SPELLINGS = [
    ("C:\\Users\\me\\sd\\pics\\sub\\0.png", "sub/0.png"),
    ("D:/sd/pics/sub/1.jpg", "sub/1.JPG"),
    ("/home/me/sd/pics/sub/0.png", "sub/0.png"),
    ("/mnt/c/elsewhere/a.png", "a.png"),
    ("file:///home/me/pics/sub/0.png", "sub/0.png"),
    ("\\\\nas\\share\\x\\sub\\0.png", "sub/0.png"),
    ("a%20b.png", "a b.png"),
    ("/home/me/pics/a%20b.png", "a b.png"),
    ("100%.png", "100%.png"),
    (NFD, NFC),
    ("SUB/0.PNG", "sub/0.png"),
    ("craiyon/p01", "craiyon/p01.png"),
    ("craiyon\\p01", "craiyon/p01.png"),
    ("C:\\x\\craiyon\\p01", "craiyon/p01.png"),
    ("Same.png", "Same.png"),
]


@pytest.mark.parametrize(("name", "found"), SPELLINGS)
def test_what_a_name_means_below_a_root(pics: Path, name: str, found: str) -> None:
    assert ImageRoot(pics.parent, pics).path_of(name) == pics / found


@pytest.mark.parametrize(("name", "found"), SPELLINGS)
def test_what_a_name_means_beside_the_table(pics: Path, name: str, found: str) -> None:
    assert ImageRoot(pics).path_of(name) == pics / found


@pytest.mark.parametrize("name", ["pics\\sub\\2.png", "x/y/0.png", "craiyon/p02", "sAme.png", "none", "%2e%2e/a.png"])
def test_what_no_or_several_files_have(pics: Path, name: str) -> None:
    assert not ImageRoot(pics).path_of(name).is_file()


def test_relative_names_are_shortened_only_below_a_given_root(pics: Path) -> None:
    assert ImageRoot(pics.parent, pics).path_of("outputs/2024/sub/0.png") == pics / "sub" / "0.png"
    assert not ImageRoot(pics).path_of("outputs/2024/sub/0.png").is_file()


@pytest.mark.parametrize(
    "name",
    ["../secret.png", "..%2fsecret.png", "%2e%2e/secret.png", "C:\\..\\secret.png", "/x/../secret.png", "/a/out.png",
     "\\\\server\\share\\a.png", "/etc/passwd", "C:\\secret.png", "%2Fetc%2Fpasswd"],
)  # fmt: skip
def test_nothing_leads_out(pics: Path, name: str) -> None:
    for place in (ImageRoot(pics), ImageRoot(pics.parent, pics)):
        try:
            found = place.path_of(name)
        except UnreadableImage as error:
            assert "is outside the folder" in str(error)
        else:
            assert found.is_relative_to(pics) and not found.is_file()


def test_two_names_that_end_in_one_file_name(pics: Path) -> None:
    place = ImageRoot(pics)
    assert place.path_of("C:\\mon\\a.png") == place.path_of("C:\\mon\\a.png") == pics / "a.png"
    with pytest.raises(UnreadableImage, match=r"and another name both end in a\.png; copy the images together"):
        place.path_of("C:\\tue\\a.png")


def test_a_copy_of_a_bucket(pics: Path) -> None:
    read = image_in("s3://bucket/some/sub/0.png", ImageRoot(pics.parent, pics))
    assert file_of(read) == pics / "sub" / "0.png"
    for place in (ImageRoot(pics), ImageRoot(pics.parent, pics)):
        with pytest.raises(UnreadableImage, match=r"is not an http address; .* --root copy"):
            image_in("s3://bucket/other.png", place)


def test_buckets_are_kept_apart(pics: Path) -> None:
    """A copy in a folder of the bucket's name is found; one that fits two buckets is refused."""
    (pics / "left").mkdir()
    (pics / "left" / "a.png").write_bytes(b"left")
    place = ImageRoot(pics.parent, pics)
    assert file_of(image_in("s3://left/a.png", place)) == pics / "left" / "a.png"
    assert file_of(image_in("s3://right/sub/0.png", place)) == pics / "sub" / "0.png"
    with pytest.raises(UnreadableImage, match=r"both end in 0\.png"):
        image_in("gs://third/sub/0.png", place)


TWINS = [
    ("C:\\run1\\sub\\0.png", "C:\\run2\\sub\\0.png"), ("C:\\run1\\sub\\0.png", "/home/x/other/sub/0.png"),
    ("/home/a/sub/0.png", "/home/b/sub/0.png"), ("file:///a/sub/0.png", "/b/sub/0.png"),
    ("\\\\nas\\one\\x\\sub\\0.png", "\\\\nas\\two\\x\\sub\\0.png"), ("C:\\x\\sub\\0.png", "D:\\x\\sub\\0.png"),
    ("/a/craiyon/p01", "/b/craiyon/p01.png"), ("/a/a.png", "/b/A%2Epng"),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second"), TWINS)
def test_two_names_that_mean_one_file(pics: Path, first: str, second: str) -> None:
    """Of any length; without the table, only the second can be refused."""
    place = ImageRoot(pics)
    assert place.path_of(first) == place.path_of(first)
    with pytest.raises(UnreadableImage, match="copy the images together with their folders"):
        place.path_of(second)


def test_one_file_in_two_spellings_of_one_name(pics: Path) -> None:
    place = ImageRoot(pics)
    for name in ("C:\\Me\\pics\\sub\\0.png", "c:\\me\\pics\\SUB\\0.png", "C:/me/pics/sub/0.png"):
        assert place.path_of(name) == pics / "sub" / "0.png"


def test_relative_names_that_are_cut_to_one_file(pics: Path) -> None:
    place = ImageRoot(pics.parent, pics)
    assert place.path_of("run1/sub/0.png") == pics / "sub" / "0.png"
    with pytest.raises(UnreadableImage, match=r"both end in 0\.png"):
        place.path_of("run2/sub/0.png")


def lost_rows(key: str, *names: str) -> str:
    return "\n".join(json.dumps({key: name, "prompt": f"p{number}", "label": 1}) for number, name in enumerate(names))


@pytest.mark.parametrize("key", ["file_name", "where"])
@pytest.mark.parametrize(("first", "second"), TWINS)
def test_both_rows_of_a_table_are_refused(pics: Path, first: str, second: str, key: str) -> None:
    """The first too, in a column found by its name or by its cells; a third row keeps its image."""
    (pics / "t.jsonl").write_text(lost_rows(key, "/x/y/a b.png", first, second))
    for limit in (None, 2):
        rows = list(Table(pics / "t.jsonl", Reading(limit=limit)))
        assert [row.image is None for row in rows] == [False, True, True][:limit]
        assert all("both end in" in (row.problem or "") for row in rows[1:])


def test_both_rows_of_two_shards_are_refused(pics: Path) -> None:
    (pics / "a.jsonl").write_text(lost_rows("file_name", "/a/sub/0.png"))
    (pics / "b.jsonl").write_text(lost_rows("file_name", "/b/sub/0.png", "/b/sub/1.JPG"))
    rows = list(Table([pics / "a.jsonl", pics / "b.jsonl"]))
    assert [row.image is None for row in rows] == [True, True, False]


def test_both_rows_of_comparisons_are_refused(pics: Path) -> None:
    rows = [("/a/sub/0.png", "/a/sub/1.JPG"), ("/b/a.png", "/b/sub/0.png"), ("/b/a b.png", "/b/a.png")]
    for names, source in ((("chosen", "rejected"), Pairs), (("image_a", "image_b"), Comparisons)):
        cells = [dict(zip(names, row, strict=True)) | {"prompt": "p", "winner": "a"} for row in rows]
        (pics / "t.jsonl").write_text("\n".join(map(json.dumps, cells)))
        found = list(source(pics / "t.jsonl"))
        refusals = [row.where for row in found if "both end in 0.png" in (row.problem or "")]
        assert [where.startswith(f"t.jsonl, line {n}") for n, where in enumerate(refusals, start=1)] == [True] * 2
        assert b"sub/0.png" not in [row.image() for row in found if row.image is not None], names


def test_the_limit_does_not_change_what_a_one_means(pics: Path) -> None:
    """The 5 behind the limit makes the column one of ratings, for labels and for the order of days."""
    rows = [{"file_name": "a.png", "prompt": "p", "label": cell} for cell in (1, 1, 5)]
    (pics / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert [row.liked for row in Table(pics / "t.jsonl", Reading(limit=2))] == [None, None]

"""Images under names of other machines and in other spellings: found if one file fits, never outside the folder."""

import unicodedata
from pathlib import Path

import pytest

from thumbtune.feedback.images import UnreadableImage
from thumbtune.feedback.reading.image_cells import file_of, image_in
from thumbtune.feedback.reading.image_roots import ImageRoot

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

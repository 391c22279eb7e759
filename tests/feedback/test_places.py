"""Where the images of a table may lie: names, whole paths, links and addresses of files, and what leads out."""

from pathlib import Path

import pytest

from thumbtune.errors import UsageError
from thumbtune.feedback.images import UnreadableImage
from thumbtune.feedback.reading.image_roots import ImageRoot, check_root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A table's folder with images and a folder of them, and a secret beside it."""
    folder = tmp_path.resolve() / "root"
    (folder / "test").mkdir(parents=True)
    for name in ("a.png", "f\xfc r%41#.png", "test/b.png", "test/a.png", "../secret.png"):
        (folder / name).write_bytes(name.encode())
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    (folder / "inside.png").symlink_to("test/b.png")
    (folder / "up").symlink_to(folder.parent)
    (folder / "loop.png").symlink_to(folder / "loop.png")
    return folder


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.png", "a.png"),
        ("./a.png", "a.png"),
        ("test/../a.png", "a.png"),
        ("test/b.png", "test/b.png"),
        ("test\\b.png", "test/b.png"),
        (".\\test\\..\\a.png", "a.png"),
        ("inside.png", "test/b.png"),
        ("up/root/a.png", "a.png"),
        ("f\xfc r%41#.png", "f\xfc r%41#.png"),
        ("none.png", "none.png"),  # for a sentence that names it
        ("test", "test"),
    ],
)
def test_names_below_the_table(root: Path, name: str, found: str) -> None:
    assert ImageRoot(root).path_of(name) == root / found


OUT = (
    "../secret.png",
    "test/../../secret.png",
    "..\\secret.png",
    "test\\..\\..\\secret.png",
    "C:\\secret.png",
    "c:secret.png",
    "\\\\server\\share\\a.png",
    "//server/share/a.png",
    "/etc/passwd",
    "\\etc\\passwd",
    "/etc/none",
    "link.png",
    "up/secret.png",
    "file:///etc/passwd",
    "file://server/share/a.png",
    "FILE:/etc/passwd",
)


@pytest.mark.parametrize("name", OUT)
def test_names_that_lead_out(root: Path, name: str) -> None:
    words = "is outside the folder; put the image into the folder, or give the folder that contains the image"
    with pytest.raises(UnreadableImage, match=words):
        ImageRoot(root).path_of(name)


@pytest.mark.parametrize("name", [name for name in OUT if "secret" not in name and "link" not in name])
def test_a_root_lets_nothing_else_in(root: Path, name: str) -> None:
    with pytest.raises(UnreadableImage, match="is outside the folder"):
        ImageRoot(root, root).path_of(name)


@pytest.mark.parametrize("name", ["a\0.png", "x" * 5000, "loop.png", "file:///a%00.png"])
def test_names_that_no_file_has(root: Path, name: str) -> None:
    with pytest.raises(UnreadableImage, match="is not a file name; correct it or remove the row") as caught:
        ImageRoot(root, root.parent).path_of(name)
    assert len(str(caught.value)) < 200


def test_half_a_character_in_a_name(root: Path) -> None:
    with pytest.raises(UnreadableImage, match=r"'\\ud800\.png' is not a file name"):
        ImageRoot(root).path_of("\ud800.png")


def test_a_root_of_ones_own(root: Path) -> None:
    """Names are looked for below it and then beside the table; whole paths are taken at their word."""
    table = root / "test"
    place = ImageRoot(table, root)
    assert place.path_of("a.png") == root / "a.png"
    assert place.path_of("b.png") == root / "test" / "b.png", "beside the table, which is below the root"
    assert place.path_of("test/b.png") == root / "test" / "b.png"
    assert place.path_of(str(root / "a.png")) == root / "a.png"
    assert place.path_of((root / "a.png").as_uri()) == root / "a.png"
    assert place.path_of((root / "f\xfc r%41#.png").as_uri()) == root / "f\xfc r%41#.png"
    assert place.path_of(f"file://localhost{root}/a.png") == root / "a.png"
    assert ImageRoot(root, root / "test").path_of("a.png") == root / "test" / "a.png", "not the one beside the table"
    assert ImageRoot(root.parent, root.parent).path_of("root/link.png") == root.parent / "secret.png"


def test_a_relative_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    assert ImageRoot(Path("test"), Path()).path_of("a.png") == root / "a.png"
    assert ImageRoot(Path()).path_of("test/b.png") == root / "test" / "b.png"


def test_an_inner_folder_that_names_do_not_mention(root: Path) -> None:
    assert ImageRoot(root, inner="test").path_of("b.png") == root / "test" / "b.png"
    assert ImageRoot(root, inner="test").path_of("a.png") == root / "a.png", "the folder itself comes first"
    assert ImageRoot(root.parent, root, inner="test").path_of("b.png") == root / "test" / "b.png"
    with pytest.raises(UnreadableImage, match="is outside"):
        ImageRoot(root / "test", inner="..").path_of("../a.png")
    assert ImageRoot(root / "test", inner="..").path_of("b.png") == root / "test" / "b.png"


def test_a_root_that_is_no_folder(root: Path) -> None:
    check_root(None)
    check_root(root)
    with pytest.raises(UsageError, match=r"a\.png is not a folder; give the folder that contains the images"):
        check_root(root / "a.png")

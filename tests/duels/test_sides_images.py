"""A folder of images as a side: their order, which belong to which prompt, and what does not add up."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from refusals import refused

from thumbtune.duels.sides import side
from thumbtune.errors import UsageError
from thumbtune.evaluation.image_folder import images_by_prompt

Make = Callable[..., Path]
TABLE = "metadata.jsonl"
ROW, UNREADABLE = "image-folder-metadata-row", "image-folder-metadata-unreadable"


@pytest.fixture
def make_folder(tmp_path: Path) -> Make:
    """(names, rows) -> a folder with an image for each name, each of its own, and a table of the rows."""

    def make(names: Sequence[str], rows: Sequence[Any] | None = None, where: str = "images") -> Path:
        for i, name in enumerate(names):
            path = tmp_path / where / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4), (i, 0, 0)).save(path)
        if rows is not None:
            table(tmp_path / where, rows)
        return tmp_path / where

    return make


def table(folder: Path, rows: Sequence[Any]) -> None:
    (folder / TABLE).write_text("".join(json.dumps(row) + "\n" for row in rows))


def row(file: str, prompt: str) -> dict[str, str]:
    return {"file_name": file, "prompt": prompt}


def names_of(folder: Path, prompts: Sequence[str], per_prompt: int) -> list[list[str]]:
    one = side(str(folder))
    assert one.folder == folder
    found = images_by_prompt(one.folder, prompts, per_prompt)
    return [[path.relative_to(folder).as_posix() for path in mine] for mine in found]


@pytest.mark.parametrize(
    "order",
    [
        ["1.jpg", "2-9.jpeg", "2-10.webp", "9.PNG", "10.png", "0011.png"],
        ["a2b9.png", "a2b10.JPG", "a10b1.png", "b.png"],
        ["cat-0.png", "cat-1.png", "cat-2.png", "cat-10.png", "dog-1.png", "dog-3.png"],
    ],
)
def test_images_come_in_the_order_of_their_names_numbers_by_their_size(make_folder: Make, order: list[str]) -> None:
    folder = make_folder(sorted(order, key=lambda name: name[::-1]))
    (folder / "notes.txt").write_text("")
    (folder / "0.gif").write_bytes(b"GIF89a")
    (folder / "sub.png").mkdir()
    one = side(str(folder))
    assert (one.kind, one.folder, one.load, one.prompt_prefix, one.name) == ("images", folder, None, None, str(folder))
    assert names_of(folder, [f"p{i}" for i in range(len(order) // 2)], 2) == [
        order[i : i + 2] for i in range(0, len(order), 2)
    ]


@given(st.sets(st.integers(0, 10**6), min_size=1, max_size=9))
@settings(max_examples=25, deadline=None)
def test_a_seed_is_a_number_with_zeros_or_without(tmp_path_factory: Any, seeds: set[int]) -> None:
    for form in ("{}.png", "{:09}.png", "cat_{}.png"):
        folder = tmp_path_factory.mktemp("images")
        for seed in seeds:
            (folder / form.format(seed)).touch()
        assert names_of(folder, ["p"] * len(seeds), 1) == [[form.format(seed)] for seed in sorted(seeds)]


def test_the_order_is_not_the_file_system_s(make_folder: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that count alike, such as 1 and 01, must not fall as the folder happens to list them."""
    folder = make_folder(["1.png", "01.png", "1.jpg", "2.png"])
    found = []
    for turn in (1, -1):
        listed = sorted(folder.iterdir())[::turn]
        monkeypatch.setattr(Path, "iterdir", lambda self, listed=listed: iter(listed))
        found.append((side(str(folder)).fingerprint, names_of(folder, ["a", "b"], 2)))
    assert found[0] == found[1]


@pytest.mark.parametrize(("prompts", "per_prompt"), [(2, 2), (1, 4), (3, 1), (5, 1), (2, 3)])
def test_another_number_of_images_is_one_sentence(make_folder: Make, prompts: int, per_prompt: int) -> None:
    folder = make_folder([f"{i}.png" for i in range(7)])
    naming = [folder, "7 images", f"{per_prompt} for each of {prompts} prompts"]
    with refused("image-folder-wrong-count", UsageError, naming=naming):
        names_of(folder, [f"p{i}" for i in range(prompts)], per_prompt)


def test_other_bytes_or_names_are_another_fingerprint(make_folder: Make) -> None:
    first = make_folder(["a.png", "b.png"], where="one")
    same = make_folder(["a.png", "b.png"], where="two")
    turned = make_folder(["b.png", "a.png"], where="three")
    more = make_folder(["a.png", "b.png", "c.png"], where="four")
    assert side(str(first)).fingerprint == side(str(same)).fingerprint
    assert len({side(str(folder)).fingerprint for folder in (first, turned, more)}) == 3


def test_another_table_is_another_fingerprint(make_folder: Make) -> None:
    """A duel that is taken up again must notice that the same images now belong to other prompts."""
    folder = make_folder(["a.png", "b.png"], [row("a.png", "a cat"), row("b.png", "a dog")])
    before = side(str(folder)).fingerprint
    table(folder, [row("b.png", "a cat"), row("a.png", "a dog")])
    assert names_of(folder, ["a cat", "a dog"], 1) == [["b.png"], ["a.png"]]
    assert side(str(folder)).fingerprint != before


def test_images_in_folders_of_the_folder_count_as_its_images(make_folder: Make) -> None:
    rows = [row("train/a.png", "a cat"), row("train/b.png", "a dog")]
    folder = make_folder(["top.png", "train/a.png", "train/b.png"], rows)
    assert names_of(folder, ["a dog", "a cat"], 1) == [["train/b.png"], ["train/a.png"]]
    before = side(str(folder)).fingerprint
    Image.new("RGB", (4, 4), "white").save(folder / "train" / "a.png")
    assert side(str(folder)).fingerprint != before
    (folder / "top.png").unlink()
    assert side(str(folder)).kind == "images", "none lies in the folder itself"


# --- by their prompts


def test_each_prompt_takes_the_next_images_of_its_words(make_folder: Make) -> None:
    rows = [
        row("5.png", "a cat"),
        {"file_name": "4.png", "text": "a dog"},
        row("3.png", "  a   cat "),
        {"file_name": "2.png", "caption": "a cat", "seed": 1},
        row("1.png", "a cat"),
        row("0.png", "a dog"),
        row("6.png", "nobody asks"),
    ]
    folder = make_folder([f"{i}.png" for i in range(7)], rows)
    assert names_of(folder, ["a dog", "a cat"], 2) == [["4.png", "0.png"], ["5.png", "3.png"]]
    assert names_of(folder, ["a cat", "a dog", "a cat"], 1) == [["5.png"], ["4.png"], ["3.png"]], "a prompt comes twice"


def test_a_table_may_have_a_mark_at_its_beginning_and_empty_lines(make_folder: Make) -> None:
    folder = make_folder(["a.png", "b.png"])
    lines = [json.dumps(row("b.png", "ein Bär"), ensure_ascii=False), "", json.dumps(row("a.png", "ein Bär")), ""]
    (folder / TABLE).write_bytes(("\ufeff" + "\r\n".join(lines)).encode())
    assert names_of(folder, ["ein Bär"], 2) == [["b.png", "a.png"]]


@pytest.mark.parametrize("separator", ["\u2028", "\x85"])
def test_a_line_of_a_table_ends_where_its_line_ends(make_folder: Make, separator: str) -> None:
    folder = make_folder(["a.png"])
    text = json.dumps(row("a.png", f"a red{separator}cat"), ensure_ascii=False)
    (folder / TABLE).write_text(text + "\n", encoding="utf-8")
    assert names_of(folder, ["a red cat"], 1) == [["a.png"]]


@pytest.mark.parametrize(
    ("prompts", "per_prompt", "naming"),
    [
        (["a cat"], 3, ["2 images", "'a cat'", "needs 3"]),
        (["a cat", "a cat"], 2, ["0 images", "'a cat'", "needs 2"]),
        (["A cat"], 1, ["0 images", "'A cat'", "needs 1"]),
        (["x" * 99], 1, [f"'{'x' * 60}'"]),
    ],
)
def test_too_few_images_of_a_prompt_are_one_sentence(
    make_folder: Make, prompts: list[str], per_prompt: int, naming: list[str]
) -> None:
    folder = make_folder(["a.png", "b.png"], [row("a.png", "a cat"), row("b.png", "a cat")])
    with refused("image-folder-too-few", UsageError, naming=[folder, *naming]):
        names_of(folder, prompts, per_prompt)


@pytest.mark.parametrize("way", ["up", "absolute", "link", "nowhere", "folder"])
def test_a_table_reaches_for_nothing_outside_its_folder(make_folder: Make, tmp_path: Path, way: str) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    folder = make_folder(["a.png"])
    (folder / "sub").mkdir()
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    names = {"up": "../secret.png", "absolute": str(tmp_path / "secret.png"), "link": "link.png", "folder": "sub"}
    table(folder, [row("a.png", "a cat"), row(names.get(way, "b.png"), "a cat")])
    naming = [folder / TABLE, names.get(way, "b.png")]
    with refused("image-folder-missing-image", UsageError, naming=naming):
        names_of(folder, ["a cat"], 1)


@pytest.mark.parametrize(
    ("text", "code", "naming"),
    [
        ('{"prompt": "a cat"}', ROW, ["line 1"]),
        ('{"file_name": "a.png", "prompt": "a cat"}\n\n{"file_name": "a.png"}', ROW, ["line 3"]),
        ('{"file_name": "a.png", "prompt": 3}', ROW, ["line 1"]),
        ('{"file_name": ["a.png"], "prompt": "a cat"}', ROW, ["line 1"]),
        ('{"file_name": "a.png", "pro', UNREADABLE, ["file_name"]),
        ('["a.png", "a cat"]', UNREADABLE, []),
        ('"prompt"', UNREADABLE, []),
        ("7", UNREADABLE, []),
        (b"\xff\xfe{", UNREADABLE, []),
    ],
)
def test_a_table_that_says_nothing_is_one_sentence(
    make_folder: Make, text: str | bytes, code: str, naming: list[str]
) -> None:
    folder = make_folder(["a.png"])
    (folder / TABLE).write_bytes(text if isinstance(text, bytes) else text.encode())
    with refused(code, UsageError, naming=[folder / TABLE, *naming]):
        names_of(folder, ["a cat"], 1)

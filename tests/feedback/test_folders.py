"""Folders whose names say like or dislike, and where the prompts of the images in them come from."""

import csv
import io
import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, PngImagePlugin
from refusals import refused

from thumbtune.errors import UsageError
from thumbtune.feedback.importers import import_likes
from thumbtune.feedback.reading.vocabulary import label_of_folder
from thumbtune.feedback.source import Reading, SourceRow
from thumbtune.feedback.sources import folders
from thumbtune.feedback.sources.folders import LikeFolders, recognises
from thumbtune.feedback.sources.kinds import open_source
from thumbtune.feedback.sources.table import Table
from thumbtune.feedback.store.store import Store

Call = Callable[..., tuple[int, str, str]]
Bound = Callable[..., AbstractContextManager[Path]]
Paint = Callable[..., bytes]
Write = Callable[..., Path]

INFOTEXT = "a fox, ink\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, Seed: 7, Size: 8x8, Model: dream"


def made(number: int, text: str | None = INFOTEXT) -> bytes:
    """An image as Automatic1111 saves it."""
    info, file = PngImagePlugin.PngInfo(), io.BytesIO()
    if text is not None:
        info.add_text("parameters", text)
    Image.new("RGB", (8, 8), (number * 40 % 256, number, 0)).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def put(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def told(root: Path, reading: Reading | None = None) -> list[tuple[str, bool | None, str | None, int | None]]:
    return [
        (each.where, each.liked, each.prompt, each.seed)
        for each in LikeFolders(root, reading or Reading())
        if not each.problem
    ]


def problems(root: Path, reading: Reading | None = None) -> list[tuple[str, str | None]]:
    return [(each.where, each.problem) for each in LikeFolders(root, reading or Reading()) if each.problem]


# --- names


@pytest.mark.parametrize(
    "name",
    ["Thumbs Up", *"like Liked LIKES good pos positive up upvote Upvoted favorite Favourites favs starred".split()],
)
def test_folders_of_likes(tmp_path: Path, name: str) -> None:
    put(tmp_path / name / "a.png", made(1))
    assert recognises(tmp_path)
    assert told(tmp_path) == [(f"{name}/a.png", True, "a fox, ink", 7)]


@pytest.mark.parametrize(
    "name",
    "dislike Disliked DISLIKES bad neg negative down downvote downvoted reject Rejected thumbs_down".split(),
)
def test_folders_of_dislikes(tmp_path: Path, name: str) -> None:
    put(tmp_path / name / "a.png", made(1))
    assert told(tmp_path) == [(f"{name}/a.png", False, "a fox, ink", 7)]


@pytest.mark.parametrize("name", ["", "no", "yes", "unlike", "likely", "liked2", "goods", "images", "👍👍"])
def test_names_that_say_nothing(name: str) -> None:
    assert label_of_folder(name) is None


def test_folders_in_folders(tmp_path: Path) -> None:
    for name in ("like/2025/06/b.png", "like/a.png", "Rejected/deep/er/c.PNG", "other/d.png", "e.png"):
        put(tmp_path / name, made(len(name)))
    assert [each[:2] for each in told(tmp_path)] == [
        ("Rejected/deep/er/c.PNG", False),
        ("like/a.png", True),
        ("like/2025/06/b.png", True),
    ]


def test_what_lies_outside_of_them_is_counted(tmp_path: Path, call: Call) -> None:
    for name in ("like/a.png", "maybe/c.png", "d.png", "notes.txt"):
        put(tmp_path / "mine" / name, made(len(name)))
    put(tmp_path / "mine" / "like" / "b.svg", "<svg/>")
    assert LikeFolders(tmp_path / "mine").counts().images == 2
    assert LikeFolders(tmp_path / "mine", Reading(label=False)).counts().images == 0
    _, out, err = call("import", tmp_path / "mine", "--likes", tmp_path / "likes", "--prompt", "a fox")
    assert "2 images are outside of folders named like or dislike; --label" in out
    assert "skipped like/b.svg: it is not a whole PNG" in err


def test_files_that_no_reader_takes_are_named_by_their_endings(tmp_path: Path, call: Call) -> None:
    names = ("like/a.png", "like/b", "dislike/c.pdf", "dislike/d.PDF", "like/a.txt", "like/metadata.csv", "maybe/e.pdf")
    for name in names:
        put(tmp_path / "mine" / name, made(1) if name.endswith("png") else "file_name,prompt\n")
    code, out, _ = call("import", tmp_path / "mine", "--likes", tmp_path / "likes", "--dry-run")
    assert code == 0 and "left alone: 3 files of other kinds (2 .pdf, 1 without an ending)" in out
    code, out, _ = call("import", tmp_path / "mine", "--likes", tmp_path / "likes", "--dry-run", "--label", "like")
    assert "left alone: 4 files of other kinds (3 .pdf, 1 without an ending)" in out
    for name in ("like/b", "dislike/c.pdf", "dislike/d.PDF"):
        (tmp_path / "mine" / name).unlink()
    assert "left alone" not in call("import", tmp_path / "mine", "--likes", tmp_path / "likes", "--dry-run")[1]


@pytest.mark.parametrize(
    ("name", "head", "told"),
    [
        ("a.avi", b"RIFF\x24\x00\x00\x00AVI LIST", "a video in AVI"),
        ("a.mpg", b"\0\0\x01\xba\x44", "a video in MPEG"),
        ("a.wmv", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a video in WMV"),
        ("a.flv", b"FLV\x01\x05", "a video in FLV"),
        ("a.ogv", b"OggS\0\x02", "a video in Ogg"),
    ],
)
def test_videos_of_other_kinds_are_listed_with_what_to_do(
    tmp_path: Path, call: Call, name: str, head: bytes, told: str
) -> None:
    put(tmp_path / "mine" / "dislike" / name, head + bytes(64))
    put(tmp_path / "mine" / "like" / "b.png", made(2))
    _, out, err = call("import", tmp_path / "mine", "--likes", tmp_path / "likes", "--prompt", "a fox")
    assert f"skipped dislike/{name}: it is {told}, which is not supported; convert it to .mp4" in err
    assert "2 rows: 1 like" in out and "1 unreadable" in out


def test_clips_are_called_clips(tmp_path: Path, call: Call) -> None:
    still = Image.new("RGB", (8, 8), "red")
    for name, more in (("like/a", 2), ("like/b", 2), ("dislike/c", 2), ("dislike/d", 0)):
        path = put(tmp_path / "mine" / f"{name}.webp", b"")
        frames = [Image.new("RGB", (8, 8), (0, 90 * number, len(name) + ord(name[-1]))) for number in range(more)]
        still.save(path, save_all=True, append_images=frames) if more else still.save(path)
    _, out, _ = call("import", tmp_path / "mine", "--likes", tmp_path / "likes", "--prompt", "a fox")
    assert "read: dislike (2 images and clips) as dislike" in out or "dislike (2 images and clips) as dislike" in out
    assert "like (2 clips) as like" in out


def test_an_image_that_was_moved_out_of_like(tmp_path: Path, store: Store) -> None:
    image = put(tmp_path / "mine" / "like" / "a.png", made(1))
    put(tmp_path / "mine" / "like" / "b.png", made(2))
    import_likes(tmp_path / "mine", store)
    image.rename(tmp_path / "mine" / "a.png")
    assert import_likes(tmp_path / "mine", store).withdrawn == 1
    assert import_likes(tmp_path / "mine", store, correct=True).withdrawn == 1
    assert store.counts().likes == 1


def test_a_folder_that_may_not_be_read_is_not_called_absent(bound: Bound) -> None:
    with bound() as somebody:
        put(somebody / "mine" / "liked" / "a.png", made(1))
        (somebody / "mine" / "liked").chmod(0)
        assert recognises(somebody / "mine")
        assert problems(somebody / "mine") == [("liked", "it could not be read (Permission denied); check the folder")]


def test_opinions_further_down(tmp_path: Path, file_store: Store) -> None:
    """Automatic1111 makes a folder each day."""
    for name in ("2025-06-30/Favorites/a.png", "2025-06-30/b.png", "2025-07-01/bad/c.png"):
        put(tmp_path / "outputs" / name, made(len(name)))
    assert recognises(tmp_path / "outputs")
    report = import_likes(tmp_path / "outputs", file_store)
    assert (report.likes, report.dislikes, report.skipped) == (1, 1, [])
    row = next(iter(file_store.labels()))
    assert (row.image.prompt, row.image.seed, row.image.model) == ("a fox, ink", 7, "dream")


def test_a_table_goes_before_folders_further_down(tmp_path: Path) -> None:
    put(tmp_path / "train" / "good" / "a.png", made(1))
    put(tmp_path / "metadata.csv", "file_name,prompt,label\ntrain/good/a.png,a fox,dislike\n")
    assert not recognises(tmp_path)
    assert isinstance(open_source(tmp_path, None), Table)


def test_like_in_dislike_is_neither(tmp_path: Path) -> None:
    put(tmp_path / "bad" / "good" / "a.png", made(1))
    put(tmp_path / "good" / "best" / "good" / "b.png", made(2))
    found = list(LikeFolders(tmp_path))
    assert [(each.where, each.liked) for each in found] == [("bad/good/a.png", None), ("good/best/good/b.png", True)]
    assert [each.problem for each in found] == [folders.BOTH, None]


def test_what_is_no_image_of_ones_own_is_left_out(tmp_path: Path, file_store: Store) -> None:
    for name in ("like/.a.png", "like/.trash/b.png", "like/thumbnails/c.png", "like/txt2img-grids/d.png", "like/e.md"):
        put(tmp_path / name, made(1))
    put(tmp_path / "like" / "f.png", made(2))
    (tmp_path / "like" / "kept").mkdir()
    with Store.open(tmp_path / "like" / "kept") as store:
        store.add_votes([])
    put(tmp_path / "like" / "kept" / "images" / "g.png", made(3))
    assert [each[0] for each in told(tmp_path)] == ["like/f.png"]
    assert LikeFolders(tmp_path).__length_hint__() == 1


def test_where_there_are_no_such_folders(tmp_path: Path) -> None:
    put(tmp_path / "a.png", made(1))
    assert not recognises(tmp_path) and not recognises(tmp_path / "a.png") and not recognises(tmp_path / "none\0")
    with refused("source-empty", naming=tmp_path):
        LikeFolders(tmp_path)


# --- a label for all that have none


def test_a_folder_of_favourites(tmp_path: Path) -> None:
    for name in ("a.png", "old/b.png", "rejected/c.png"):
        put(tmp_path / name, made(len(name)))
    names = ["a.png", "old/b.png", "rejected/c.png"]
    assert [each[:2] for each in told(tmp_path, Reading(label=True))] == list(
        zip(names, [True, True, False], strict=True)
    )
    assert [each[1] for each in told(tmp_path, Reading(label=False))] == [False, False, False]
    assert [each[0] for each in told(tmp_path)] == ["rejected/c.png"]
    assert [each[0] for each in told(tmp_path, Reading(label=True, limit=2))] == names[:2]


def test_rows_of_a_table_that_have_no_label(table: Path, write_jsonl: Write) -> None:
    cells = ({}, {"label": ""}, {"label": "dislike"}, {"label": "perhaps"}, {"label": 4})
    file = write_jsonl(*({"file_name": "img/a.png", "prompt": "fox", **each} for each in cells))
    assert [each.liked for each in Table([file], Reading(label=True))] == [True, True, False, None, None]
    assert [each.liked for each in Table([file])] == [None, None, False, None, None]


def test_the_log_of_what_automatic1111_saved(tmp_path: Path) -> None:
    """Its button writes a line for each press, with the seed and the name of the first image."""
    put(tmp_path / "00001-7.png", made(1))
    names = ["prompt", "seed", "width", "height", "sampler", "cfgs", "steps", "filename", "negative_prompt"]
    cells = ["a fox,\nink", "7", "8", "8", "Euler a", "7.0", "20", "00001-7.png", "blurry"]
    with (tmp_path / "log.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([[*names, "sd_model_name", "sd_model_hash"], [*cells, "dream", "45dee52b"]])
    (found,) = Table(tmp_path / "log.csv", Reading(label=True))
    assert (found.prompt, found.liked, found.seed, found.model) == ("a fox,\nink", True, 7, "dream")
    assert found.image is not None and found.image() == made(1)


# --- prompts


def test_a_text_beside_an_image_wins(tmp_path: Path) -> None:
    for name in "abcde":
        put(tmp_path / "like" / f"{name}.png", made(1))
    put(tmp_path / "like" / "a.txt", "﻿ a hare\r\nin snow \n")
    put(tmp_path / "like" / "b.caption", "a wolf")
    put(tmp_path / "like" / "c.txt", " \n")
    put(tmp_path / "like" / "c.caption", "a bear")
    put(tmp_path / "like" / "d.txt", " ")
    assert [each[2:] for each in told(tmp_path)] == [
        ("a hare\nin snow", None),
        ("a wolf", None),
        ("a bear", None),
        ("a fox, ink", 7),
        ("a fox, ink", 7),
    ]


def test_all_that_automatic1111_writes_beside_an_image(tmp_path: Path) -> None:
    put(tmp_path / "like" / "a.jpg", made(1, None))
    put(tmp_path / "like" / "a.txt", INFOTEXT)
    (found,) = LikeFolders(tmp_path)
    assert (found.prompt, found.seed, found.model) == ("a fox, ink", 7, "dream")


def test_a_prompt_with_choices_is_no_json(tmp_path: Path) -> None:
    put(tmp_path / "like" / "a.png", made(1, None))
    put(tmp_path / "like" / "a.txt", "{red|blue} fox")
    assert told(tmp_path)[0][2] == "{red|blue} fox"


def test_lists_go_before_the_image_and_the_nearest_counts(tmp_path: Path) -> None:
    for name in ("like/a.png", "like/deep/b.png", "like/deep/c.png", "dislike/d.png"):
        put(tmp_path / name, made(1))
    put(tmp_path / "metadata.csv", "file_name,prompt\nlike/a.png,one\nlike/deep/b.png,two\n")
    put(tmp_path / "like" / "deep" / "metadata.jsonl", json.dumps({"file_name": "b.png", "text": "three"}))
    assert [each[2] for each in told(tmp_path)] == ["a fox, ink", "one", "three", "a fox, ink"]


def test_a_text_that_cannot_be_read(tmp_path: Path) -> None:
    latin = "für Elise".encode("latin-1")
    for name, text in (("a", latin), ("b", b"\0\0\0\0"), ("c", b"x" * 5_000_000), ("d", "für".encode("utf-16"))):
        put(tmp_path / "like" / f"{name}.png", made(1))
        put(tmp_path / "like" / f"{name}.txt", text)
    assert [why for _, why in problems(tmp_path)] == [
        "its prompt in a.txt is not UTF-8 text; save it as UTF-8",
        "its prompt in b.txt is not UTF-8 text; save it as UTF-8",
        "its prompt in c.txt is too long for a prompt; shorten it",
    ]
    assert told(tmp_path) == [("like/d.png", True, "für", None)]
    assert told(tmp_path, Reading(encoding="latin-1"))[0][2] == "für Elise"
    with refused("encoding-unknown", UsageError, naming="'klingon'"):
        LikeFolders(tmp_path, Reading(encoding="klingon"))


# --- links


def test_links_within_the_folder(tmp_path: Path) -> None:
    put(tmp_path / "all" / "a.png", made(1))
    (tmp_path / "like").mkdir()
    (tmp_path / "like" / "b.png").symlink_to(tmp_path / "all" / "a.png")
    (tmp_path / "dislike").symlink_to(tmp_path / "all")
    (tmp_path / "all" / "round").symlink_to(tmp_path / "all")
    (tmp_path / "like" / "self").symlink_to(tmp_path / "like" / "self")
    assert [each[:2] for each in told(tmp_path)] == [("dislike/a.png", False), ("like/b.png", True)]


def test_links_out_of_the_folder(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    put(outside / "a.png", made(1))
    put(outside / "secret", "root:x:0:0")
    put(root / "like" / "own.png", made(2))
    (root / "like" / "own.txt").symlink_to(outside / "secret")
    (root / "like" / "a.png").symlink_to(outside / "a.png")
    (root / "like" / "lost.png").symlink_to(outside / "lost.png")
    (root / "bad").symlink_to(outside)
    assert told(root) == []
    leads_out = "it is a link to a file outside the folder; copy the image there, or give the folder that the link "
    assert [(where, str(why)[:97]) for where, why in problems(root)] == [
        ("bad", leads_out[:97]),
        ("like/a.png", leads_out[:97]),
        ("like/lost.png", leads_out[:97]),
        ("like/own.png", "its prompt in own.txt is a link to a file outside the folder; copy that file"),
    ]
    allowed = [each[:2] for each in told(root, Reading(root=outside))]
    assert allowed == [("bad/a.png", False), ("like/a.png", True), ("like/own.png", True)]
    ((lost, why),) = problems(root, Reading(root=outside))
    assert lost == "like/lost.png" and why is not None and "lost.png' does not exist" in why
    with refused("root-missing", UsageError, naming=outside / "secret"):
        LikeFolders(root, Reading(root=outside / "secret"))


def test_a_hall_of_mirrors_is_left(tmp_path: Path) -> None:
    """Each of twelve folders links to all others: there are 12! ways through them, and 12 folders."""
    rooms = [tmp_path / "like" / f"room{number}" for number in range(12)]
    for number, room in enumerate(rooms):
        put(room / "a.png", made(number))
        for other in rooms:
            (room / other.name).symlink_to(other)
    assert len(told(tmp_path)) == 12


def test_names_in_no_encoding(tmp_path: Path, file_store: Store) -> None:
    folder = os.fsencode(tmp_path / "like")
    os.mkdir(folder)
    with open(folder + b"/f\xfcr.png", "wb") as file:
        file.write(made(1))
    (found,) = LikeFolders(tmp_path)
    assert found.where == "like/f?r.png" and found.prompt == "a fox, ink"
    assert import_likes(tmp_path, file_store).likes == 1


def test_a_pipe_is_not_waited_for(tmp_path: Path, file_store: Store) -> None:
    put(tmp_path / "like" / "b.png", made(1))
    os.mkfifo(tmp_path / "like" / "a.png")
    os.mkfifo(tmp_path / "like" / "b.txt")
    report = import_likes(tmp_path, file_store)
    assert (report.likes, report.unreadable, report.without_prompt) == (1, 1, 0)


# --- the same of tables


def rows_of(file: Path, **reading: object) -> list[SourceRow]:
    return list(Table(file, Reading(**reading)))  # type: ignore[arg-type]


def test_a_table_takes_missing_prompts_from_its_images(tmp_path: Path) -> None:
    put(tmp_path / "a.png", made(1))
    rows = [
        {"file_name": "a.png", "label": True},
        {"file_name": "a.png", "label": True, "prompt": "a hare"},
        {"file_name": "a.png", "label": False, "seed": 3, "model": "mine"},
        {"file_name": "b.png", "label": True},
        {"file_name": "a.png", "label": None},
    ]
    file = put(tmp_path / "metadata.jsonl", "\n".join(json.dumps(row) for row in rows))
    assert [(each.prompt, each.seed, each.model) for each in rows_of(file)] == [
        ("a fox, ink", 7, "dream"),
        ("a hare", None, None),
        ("a fox, ink", 3, "mine"),
        (None, None, None),
        (None, None, None),
    ]


def test_images_inside_a_table_are_asked_too(tmp_path: Path, file_store: Store) -> None:
    images = [{"bytes": made(1), "path": None}, {"bytes": made(2, None), "path": None}]
    pq.write_table(pa.table({"image": images, "label": [True, False]}), tmp_path / "likes.parquet")
    report = import_likes(tmp_path / "likes.parquet", file_store, prompt="one for all")
    assert (report.likes, report.dislikes) == (1, 1)
    assert [row.image.prompt for row in file_store.labels()] == ["a fox, ink", "one for all"]


def test_images_on_the_web_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("thumbtune.feedback.reading.downloads.download", asked.append)
    file = put(tmp_path / "likes.csv", "url,label\nhttps://example.com/a.png,like\n")
    (found,) = rows_of(file, allow_download=True)
    assert found.prompt is None and found.image is not None and asked == []

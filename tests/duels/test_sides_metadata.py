"""A folder as a side whose images have prompts: in tables of each kind, beside them, inside them, or nowhere."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin
from refusals import refused

from thumbtune.duels.sides import side
from thumbtune.errors import UsageError
from thumbtune.evaluation.image_folder import images_by_prompt, source_files
from thumbtune.feedback.sources.table import opened

PROMPTS = ["a red apple", "a cat", "a dog"]
OWN = {"2.png": "a red apple", "0.png": "a cat", "1.png": "a dog"}  # against the order of the names
Give = Callable[[Path], None]


def drawn(path: Path, text: dict[str, str] | None = None, number: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    info = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        info.add_text(key, value)
    Image.new("RGB", (4, 4), (number, 0, 0)).save(path, pnginfo=info)


def rows(names: dict[str, str] = OWN) -> list[dict[str, str]]:
    return [{"file_name": name, "prompt": prompt} for name, prompt in names.items()]


def as_csv(table: Sequence[dict[str, str]], delimiter: str = ",") -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, table[0].keys(), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(table)
    return out.getvalue()


def as_parquet(file: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows()), file)


def inside(make: Callable[[str], dict[str, str]]) -> Give:
    def give(folder: Path) -> None:
        for name, prompt in OWN.items():
            drawn(folder / name, make(prompt))

    return give


def beside(suffix: str, what: str = "{}") -> Give:
    def give(folder: Path) -> None:
        for name, prompt in OWN.items():
            (folder / name).with_suffix(suffix).write_text(what.format(prompt))

    return give


def writes(name: str, text: str) -> Give:
    def give(folder: Path) -> None:
        (folder / name).write_text(text)

    return give


A1111 = "{}\nNegative prompt: ugly\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5"
COMFYUI = {
    "1": {"class_type": "KSampler", "inputs": {"seed": 1, "positive": ["2", 0], "negative": ["3", 0]}},
    "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "ugly"}},
}
WAYS: dict[str, Give] = {
    "metadata.csv": writes("metadata.csv", as_csv(rows())),
    "metadata.csv of a German Excel": writes("metadata.csv", "\ufeff" + as_csv(rows(), ";")),
    "metadata.tsv": writes("metadata.tsv", as_csv(rows(), "\t")),
    "metadata.csv with captions": writes("metadata.csv", as_csv(rows()).replace("prompt", "caption", 1)),
    "metadata.jsonl": writes("metadata.jsonl", "\n".join(map(json.dumps, rows()))),
    "metadata.json": writes("metadata.json", json.dumps(rows())),
    "metadata.parquet": lambda folder: as_parquet(folder / "metadata.parquet"),
    "text files": beside(".txt"),
    "captions": beside(".caption"),
    "text files of A1111": beside(".txt", A1111),
    "A1111": inside(lambda prompt: {"parameters": A1111.format(prompt)}),
    "ComfyUI": inside(
        lambda prompt: {
            "prompt": json.dumps(COMFYUI | {"2": {"class_type": "CLIPTextEncode", "inputs": {"text": prompt}}})
        }
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i, name in enumerate(sorted(OWN)):
        drawn(tmp_path / "images" / name, number=i)
    return tmp_path / "images"


def names_of(folder: Path, prompts: Sequence[str] = PROMPTS, per_prompt: int = 1) -> list[str]:
    one = side(str(folder))
    assert one.kind == "images"
    return [
        path.relative_to(folder).as_posix() for own in images_by_prompt(folder, prompts, per_prompt) for path in own
    ]


@pytest.mark.parametrize("way", WAYS)
def test_images_are_paired_by_their_own_prompts(folder: Path, way: str) -> None:
    assert names_of(folder) == ["0.png", "1.png", "2.png"] and source_files(folder)[1]
    before = side(str(folder)).fingerprint
    WAYS[way](folder)
    assert names_of(folder) == ["2.png", "0.png", "1.png"] and not source_files(folder)[1]
    assert names_of(folder, PROMPTS[::-1]) == ["1.png", "0.png", "2.png"]
    assert side(str(folder)).fingerprint != before
    with refused("image-folder-too-few", UsageError, naming=[folder, "'a fox'"]):
        names_of(folder, ["a red apple", "a cat", "a fox"])


@pytest.mark.parametrize("way", ["metadata.csv", "metadata.jsonl", "metadata.parquet"])
def test_the_prompts_are_those_of_the_import(folder: Path, way: str) -> None:
    WAYS[way](folder)
    found = dict(zip((row.prompt for row in opened(folder)), PROMPTS, strict=True))
    assert found == dict(zip(PROMPTS, PROMPTS, strict=True))


@pytest.mark.parametrize("way", WAYS)
def test_other_prompts_are_another_fingerprint(folder: Path, way: str, monkeypatch: Any) -> None:
    WAYS[way](folder)
    before = side(str(folder)).fingerprint
    for file in folder.glob("*"):
        if file.suffix not in (".png", ".parquet"):
            text = file.read_text().replace("cat", "CAT").replace("dog", "cat").replace("CAT", "dog")
            file.write_text(text)
    changed = any(file.suffix not in (".png", ".parquet") for file in folder.glob("*"))
    assert (side(str(folder)).fingerprint != before) == changed


def test_tables_and_images_in_folders_of_the_folder(tmp_path: Path) -> None:
    for part, names in (("one", ["0.png", "1.png"]), ("two", ["0.png"])):
        for name in names:
            drawn(tmp_path / part / name)
    (tmp_path / "one" / "metadata.csv").write_text(as_csv(rows({"1.png": "a red apple", "0.png": "a cat"})))
    (tmp_path / "two" / "0.txt").write_text("a dog")
    assert names_of(tmp_path) == ["one/1.png", "one/0.png", "two/0.png"]


def test_a_table_may_name_images_in_folders_and_as_windows_does(tmp_path: Path) -> None:
    for name in OWN:
        drawn(tmp_path / "images" / name)
    for between in ("/", "\\"):
        table = rows({f"images{between}{name}": prompt for name, prompt in OWN.items()})
        (tmp_path / "metadata.csv").write_text(as_csv(table))
        assert names_of(tmp_path) == ["images/2.png", "images/0.png", "images/1.png"]


def test_images_in_the_only_folder_below(tmp_path: Path) -> None:
    for name in OWN:
        drawn(tmp_path / "out" / "images" / name)
    (tmp_path / "out" / "logs").mkdir()
    assert names_of(tmp_path / "out") == ["images/0.png", "images/1.png", "images/2.png"]
    drawn(tmp_path / "out" / "other" / "0.png")
    with refused("image-folder-several", UsageError, naming=["images, other"]):
        side(str(tmp_path / "out"))


def test_files_that_systems_leave_are_no_images(folder: Path) -> None:
    (folder / "._0.png").write_bytes(b"\0")
    (folder / "Thumbs.db").write_bytes(b"\0")
    (folder / "metadata.json").write_text("[]")
    assert names_of(folder) == ["0.png", "1.png", "2.png"] and source_files(folder)[1]


def test_images_without_a_prompt_take_no_place(folder: Path) -> None:
    WAYS["text files"](folder)
    drawn(folder / "00.png")
    assert names_of(folder) == ["2.png", "0.png", "1.png"]
    (folder / "1.txt").unlink()
    with refused("image-folder-too-few", UsageError, naming=["0 images", "'a dog'", "beside or inside"]):
        names_of(folder)


@pytest.mark.parametrize(
    ("name", "text", "code", "naming"),
    [
        ("metadata.csv", "file_name,prompt\n0.png,\n", "image-folder-metadata-row", "line 2"),
        ("metadata.csv", "prompt\na cat\n", "image-folder-metadata-row", "line 2"),
        ("metadata.csv", "file_name,prompt\n9.png,a cat\n", "image-folder-missing-image", "9.png"),
        ("metadata.csv", "file_name,prompt\n../a.png,a cat\n", "image-folder-missing-image", "../a.png"),
        ("metadata.csv", b"file_name,prompt\n0.png,caf\xe9\n", "image-folder-metadata-unreadable", "UTF-8"),
        ("metadata.parquet", "no parquet", "image-folder-metadata-unreadable", "metadata.parquet"),
        ("captions.csv", "file,caption\n0.png,a cat\n", "image-folder-other-table", "captions.csv"),
        ("list.jsonl", '{"path": "/home/me/1.png", "p": "a cat"}', "image-folder-other-table", "list.jsonl"),
    ],
)
def test_a_table_that_cannot_be_used_is_never_passed_over(
    folder: Path, name: str, text: str | bytes, code: str, naming: str
) -> None:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with refused(code, UsageError, naming=[folder, naming]):
        names_of(folder)


def test_two_tables_are_asked_about(folder: Path) -> None:
    WAYS["metadata.csv"](folder)
    WAYS["metadata.jsonl"](folder)
    with refused("image-folder-several-tables", UsageError, naming=["metadata.jsonl and metadata.csv"]):
        side(str(folder))


def test_a_duel_says_where_the_order_of_names_gave_the_prompts(call: Any, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for i, name in enumerate(OWN):
        drawn(other / name, number=i)
    WAYS["metadata.csv"](other)
    (tmp_path / "p.txt").write_text("\n".join(PROMPTS))
    words = ["--prompts", tmp_path / "p.txt", "--per-prompt", 1, "--scorers", "red", "--out", tmp_path / "duel"]
    code, out, err = call("duel", folder, other, *words)
    assert code == 0, err
    notes = json.loads((tmp_path / "duel" / "result.json").read_text())["notes"]
    assert len(notes) == 1 and notes[0] in " ".join(out.split()) and str(folder) in notes[0]
    with (tmp_path / "duel" / "images.csv").open(newline="") as file:
        files = {row["prompt"]: row["file"] for row in csv.DictReader(file) if row["side"] == "b"}
    copied = [(tmp_path / "duel" / files[str(number)]).read_bytes() for number in range(len(PROMPTS))]
    assert copied == [(other / name).read_bytes() for name in ("2.png", "0.png", "1.png")]
    assert len(set(copied)) == len(PROMPTS)


MARKED = {
    "(a red:1.3) apple <lora:ink:0.8>": "2.png",
    "a cat --ar 16:9": "0.png",
    "a [dog:wolf:0.9]": "1.png",
}


def marked(folder: Path, give: Callable[[Path, str], object]) -> None:
    for prompt, name in MARKED.items():
        give(folder / name, prompt)


AS_WRITTEN: dict[str, Give] = {
    **{
        f"metadata{suffix}": writes(f"metadata{suffix}", write([{"file_name": MARKED[p], "prompt": p} for p in MARKED]))
        for suffix, write in (
            (".csv", as_csv),
            (".json", json.dumps),
            (".jsonl", lambda table: "\n".join(map(json.dumps, table))),
        )
    },
    "text files": lambda folder: marked(folder, lambda file, prompt: file.with_suffix(".txt").write_text(prompt)),
    "A1111": lambda folder: marked(folder, lambda file, prompt: drawn(file, {"parameters": A1111.format(prompt)})),
}


@pytest.mark.parametrize("asked", [PROMPTS, list(MARKED)], ids=["words", "marks"])
@pytest.mark.parametrize("way", [*(f"{way} with marks" for way in AS_WRITTEN), *WAYS])
def test_marks_of_a_tool_make_no_other_prompt(folder: Path, way: str, asked: list[str]) -> None:
    give = AS_WRITTEN[way.removesuffix(" with marks")] if way.endswith(" with marks") else WAYS[way]
    give(folder)
    assert names_of(folder, asked) == ["2.png", "0.png", "1.png"]


def test_a_prompt_with_marks_and_without_are_two_if_both_are_asked_for(folder: Path) -> None:
    table = [{"file_name": "0.png", "prompt": "a cat"}, {"file_name": "1.png", "prompt": "(a cat:1.3)"}]
    (folder / "metadata.csv").write_text(as_csv(table))
    assert names_of(folder, ["(a cat:1.3)", "a cat"]) == ["1.png", "0.png"]
    with refused("image-folder-too-few", UsageError, naming="'(a cat:1.2)'"):
        names_of(folder, ["a cat", "(a cat:1.2)"])


@pytest.mark.parametrize("suffix", [".avif", ".bmp", ".tiff", ".jfif", ".HEIC"])
@pytest.mark.parametrize("way", ["order", "table", "text"])
def test_an_image_of_any_kind_counts(folder: Path, suffix: str, way: str) -> None:
    (folder / "1.png").rename(folder / f"1{suffix}")
    if way == "table":
        names = {name.replace("1.png", f"1{suffix}"): prompt for name, prompt in OWN.items()}
        (folder / "metadata.csv").write_text(as_csv(rows(names)))
    elif way == "text":
        for name, prompt in OWN.items():
            (folder / name).with_suffix(".txt").write_text(prompt)
    order = ["0.png", f"1{suffix}", "2.png"] if way == "order" else ["2.png", "0.png", f"1{suffix}"]
    assert names_of(folder) == order

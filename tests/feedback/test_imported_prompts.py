"""The prompts that an import stores, from any source, and what it says about the marks that it removed."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tool_images import INFOTEXT_WITH_MARKS, NEGATIVE, PROMPT, SEED, TOOLS, infotext, png

from thumbtune.feedback.importers import import_likes
from thumbtune.feedback.prompts import plain_prompt
from thumbtune.feedback.source import Reading
from thumbtune.feedback.store.store import Store

LIKED = Reading(label=True)
WORDS = "a red apple on a table window light"
MARKED = "a (red:1.3) apple <lora:shiny:0.8> on a table BREAK window light"


def kept(store: Store, column: str) -> set[object]:
    with closing(sqlite3.connect(f"{store.folder}/likes.sqlite")) as database:
        return {cell for (cell,) in database.execute(f"SELECT {column} FROM pictures")}


def prompts(store: Store) -> list[object]:
    return sorted(kept(store, "prompt"), key=str)


def put(folder: Path, **files: bytes | str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        file = folder / name.replace("_", ".")
        file.write_bytes(data) if isinstance(data, bytes) else file.write_text(data, encoding="utf-8")
    return folder


def test_every_tool_is_imported(tmp_path: Path, file_store: Store) -> None:
    """One vote for each image, and no prompt but the two that were asked for."""
    suffixes = {"JPEG": "jpg", "WebP": "webp", "AVIF": "avif", "GIF": "gif"}
    for number, (name, made, _) in enumerate(TOOLS):
        suffix = next((suffixes[word] for word in name.replace(",", "").split() if word in suffixes), "png")
        put(tmp_path / "mine", **{f"{number:02}_{suffix}": made()})
    report = import_likes(tmp_path / "mine", file_store, reading=LIKED)
    assert (report.rows, report.likes + report.duplicates, report.without_prompt) == (len(TOOLS), len(TOOLS), 0)
    assert prompts(file_store) == sorted({plain_prompt(read.prompt or "")[0] for _, _, read in TOOLS})
    assert prompts(file_store) == sorted([PROMPT, "東京の灯台"])
    assert kept(file_store, "seed") <= {SEED, None}


@pytest.mark.parametrize("source", ["image", "text", "infotext", "csv", "jsonl", "list", "pairs"])
def test_marks_leave_the_prompt_of_every_source(tmp_path: Path, file_store: Store, source: str) -> None:
    plain, row = png(), {"file_name": "a.png", "prompt": MARKED, "label": "like"}
    made: dict[str, Callable[[], Path]] = {
        "image": lambda: put(tmp_path / "s", a_png=png(parameters=INFOTEXT_WITH_MARKS)),
        "text": lambda: put(tmp_path / "s", a_png=plain, a_txt=MARKED),
        "infotext": lambda: put(tmp_path / "s", a_png=plain, a_txt=INFOTEXT_WITH_MARKS),
        "csv": lambda: (
            put(tmp_path / "s", a_png=plain, t_csv=f'file_name,prompt,label\na.png,"{MARKED}",like\n') / "t.csv"
        ),
        "jsonl": lambda: put(tmp_path / "s", a_png=plain, t_jsonl=json.dumps(row)) / "t.jsonl",
        "list": lambda: put(tmp_path / "s", a_png=plain, metadata_jsonl=json.dumps(row)),
        "pairs": lambda: (
            put(
                tmp_path / "s",
                a_png=plain,
                b_png=png(parameters="other"),
                t_jsonl=json.dumps({"chosen": "a.png", "rejected": "b.png", "prompt": MARKED}),
            )
            / "t.jsonl"
        ),
    }
    report = import_likes(made[source](), file_store, reading=Reading() if source == "pairs" else LIKED)
    assert prompts(file_store) == [WORDS]
    rows = 2 if source == "pairs" else 1
    assert report.marks == {"lora": rows, "weight": rows, "command": rows}


def test_the_notes_of_an_import(tmp_path: Path, call: Callable[..., tuple[int, str, str]]) -> None:
    put(tmp_path / "s", a_png=png(parameters=INFOTEXT_WITH_MARKS), b_png=png(parameters=infotext()))
    put(tmp_path / "s", c_png=png(parameters=infotext("a [fox:hare:0.9], {ink|oil}")))
    for options in ([], ["--dry-run"]):
        code, out, _ = call("import", tmp_path / "s", "--label", "like", "--likes", tmp_path / "likes", *options)
        assert code == 0
        assert "1 prompt contained LoRA tags or embeddings, such as <lora:ink:0.8>, which were removed." in out
        assert "1 prompt contained weights such as (red:1.3), of which the words were kept." in out
        assert "1 prompt contained edits such as [cat:dog:0.5], of which the words that held longest were kept." in out
        assert "1 prompt contained open choices such as {red|blue} or __color__, which stay as they are." in out


def test_a_cell_with_a_whole_text_of_automatic1111(tmp_path: Path, file_store: Store) -> None:
    rows = [{"file_name": "a.png", "prompt": INFOTEXT_WITH_MARKS, "label": "like"}]
    rows += [{"file_name": "b.png", "prompt": f"{WORDS} Negative prompt: {NEGATIVE}", "seed": 5, "label": "like"}]
    rows += [{"file_name": "c.png", "prompt": "Steps: how to dance", "label": "like"}]
    put(tmp_path / "s", **{f"{name}_png": png(parameters=name) for name in "abc"})
    put(tmp_path / "s", t_jsonl="\n".join(map(json.dumps, rows)))
    report = import_likes(tmp_path / "s" / "t.jsonl", file_store)
    assert prompts(file_store) == ["Steps: how to dance", WORDS]
    assert kept(file_store, "seed") == {SEED, 5, None}
    assert report.marks["settings"] == 2
    assert "2 prompts held a negative prompt or settings too, which were taken out." in report.notes()


def test_only_tags_are_no_prompt(tmp_path: Path, file_store: Store) -> None:
    put(tmp_path / "s", a_png=png(parameters=infotext("<lora:ink:1>")), b_png=png(parameters=infotext()))
    report = import_likes(tmp_path / "s", file_store, reading=LIKED)
    assert (report.likes, report.without_prompt) == (1, 1)


def test_a_second_import_adds_nothing(tmp_path: Path, file_store: Store) -> None:
    put(tmp_path / "s" / "like", a_png=png(parameters=INFOTEXT_WITH_MARKS))
    put(tmp_path / "s" / "other", b_png=png(parameters=infotext("a (b:1.2)")))
    first, second = (import_likes(tmp_path / "s", file_store, correct=True) for _ in range(2))
    assert (first.likes, second.likes, second.duplicates, second.withdrawn) == (1, 0, 1, 0)
    (tmp_path / "s" / "like" / "a.png").rename(tmp_path / "s" / "other" / "a.png")
    put(tmp_path / "s" / "like", c_png=png(parameters=infotext()))
    assert import_likes(tmp_path / "s", file_store, correct=True).withdrawn == 1


# --- text files beside images


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        (json.dumps({"prompt": PROMPT, "negative_prompt": NEGATIVE, "seed": SEED}), PROMPT),
        (
            f"Prompt: {PROMPT}\nWidth: 64\nSeed: {SEED}\nNegative Prompt: {NEGATIVE}\nStable Diffusion model: m\n",
            PROMPT,
        ),
        (infotext().replace("\n", " "), PROMPT),
        (f"{PROMPT} --ar 16:9 --v 6", PROMPT),
        ("a lighthouse\nSeed: of doubt", "a lighthouse\nSeed: of doubt"),
        ("{not json} fox", "{not json} fox"),
        (json.dumps({"steps": 20}), "the image's own"),  # settings without a prompt
    ],
)
def test_texts_beside_an_image(tmp_path: Path, file_store: Store, text: str, prompt: str) -> None:
    put(tmp_path / "s", a_png=png(parameters=infotext("the image's own")), a_txt=text)
    import_likes(tmp_path / "s", file_store, reading=LIKED)
    assert prompts(file_store) == [prompt]

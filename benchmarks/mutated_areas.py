"""What `mutated_inputs` breaks: whole inputs of each area, how a file of them is changed, and what reads it."""

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "feedback"))  # which holds ways of breaking files, and files of every kind

Words = list[str]
SMALL = ("train.steps=4", "train.batch=4", "train.micro_batch=4", "train.checkpoint_every=2", "train.cooldown=0")
SMALL += (
    "train.validation_share=0.3",
    "evaluate.per_prompt=1",
    "evaluate.steps=1",
    "evaluate.scorers=red",
    "lora.rank=2",
)
COLOURS = ("red", "blue", "green", "black")


@dataclass(frozen=True)
class Area:
    """A kind of input.

    name: of the area.
    share: its share of all inputs.
    good: the folder of its whole input, which is copied for each change.
    files: the files in it of which one is changed each time, as patterns.
    commands: (random, folder) -> the words of a command, or a function to call.
    light: whether what reads it needs no torch.
    """

    name: str
    share: float
    good: Path
    files: tuple[str, ...]
    commands: Callable[[Random, Path], Words | Callable[[], object]]
    light: bool = True


# --- whole inputs, made in a process of their own


def make_likes(folder: Path) -> None:
    """Make a folder of likes and dislikes, 16 of each, on 16 prompts."""
    from PIL import Image

    for kind, colour in (("like", "red"), ("dislike", "blue")):
        for number in range(16):
            file = folder / kind / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            image = Image.new("RGB", (64, 64), colour)
            image.putpixel((number, number), (255, 255, 255))
            image.save(file)
            file.with_suffix(".txt").write_text(f"a {COLOURS[number % 4]} thing {number}")


def make_light(work: Path, thumbtune: Callable[[Sequence[object]], int]) -> None:
    """Make a human test with answers, recipes and files of prompts, none of which needs a model."""
    from PIL import Image

    from thumbtune.runs.recipe import read_recipe, write_recipe

    rows = ["side,prompt,seed,file,sha256,words,style"]
    for side, colour in (("a", "red"), ("b", "blue")):
        (work / "pairs" / side).mkdir(parents=True)
        for number in range(12):
            Image.new("RGB", (16, 16), colour).save(work / "pairs" / side / f"{number}.png")
            rows.append(f"{side},{number},{number},{side}/{number}.png,0,thing {number},")
    (work / "pairs" / "images.csv").write_text("\n".join(rows) + "\n")
    human = work / "human"
    human.mkdir()
    files = ["--out", human / "page.html", "--key", human / "key.json"]
    _do(thumbtune, ["human", "export", work / "pairs", *files, "--seed", "1"])
    write_answers(human / "key.json", human / "answers.json")
    (work / "recipes").mkdir()
    write_recipe(read_recipe(None, list(SMALL)), work / "recipes" / "recipe.yaml")
    (work / "recipes" / "short.yaml").write_text("likes: likes\nseed: 3\ntrain: {steps: 5, lr: 1e-4}\n")
    make_prompts(work / "prompts")


def make_run(work: Path, thumbtune: Callable[[Sequence[object]], int]) -> None:
    """Make a finished run with its duel, an unfinished run, and LoRA files."""
    make_likes(work / "images")
    options = [word for option in (f"likes={work / 'likes'}", *SMALL) for word in ("--set", option)]
    _do(thumbtune, ["import", work / "images", "--likes", work / "likes"])
    _do(thumbtune, ["train", "--out", work / "runs" / "run", *options])
    _do(thumbtune, ["evaluate", work / "runs" / "run"])
    shutil.copytree(work / "runs" / "run", work / "runs" / "unfinished")
    shutil.rmtree(work / "runs" / "unfinished" / "lora")
    shutil.rmtree(work / "runs" / "unfinished" / "checkpoints" / "step-000004")
    shutil.copytree(work / "runs" / "run" / "lora", work / "loras")


def _do(thumbtune: Callable[[Sequence[object]], int], words: Sequence[object]) -> None:
    if thumbtune(words):
        raise SystemExit(f"{words} failed on whole inputs")


def write_answers(key: Path, file: Path) -> None:
    """Write the answers of a rater who always chooses the left image."""
    study = json.loads(key.read_text())
    answers = [{"id": trial["id"], "choice": "left", "seconds": 2.5} for trial in study["trials"]]
    times = {"started": "2026-01-02T03:04:05Z", "finished": None}
    file.write_text(json.dumps({"form": 1, "study": study["id"], "rater": "ann", **times, "answers": answers}))


def make_prompts(folder: Path) -> None:
    """Write the same prompts in each kind of file."""
    folder.mkdir(exist_ok=True)
    prompts = [f"a {colour} cat" for colour in COLOURS]
    rows = [{"prompt": prompt, "style": "plain"} for prompt in prompts]
    for name, text in {
        "p.txt": "\n".join(prompts),
        "p.json": json.dumps(prompts),
        "styles.json": json.dumps({"plain": prompts}),
        "p.jsonl": "\n".join(map(json.dumps, rows)),
        "p.csv": "prompt,style\n" + "".join(f'"{prompt}",plain\n' for prompt in prompts),
        "p.tsv": "Prompt\tCategory\n" + "".join(f"{prompt}\tplain\n" for prompt in prompts),
    }.items():
        (folder / name).write_text(text)


# --- the areas


def areas(work: Path) -> list[Area]:
    """Return all areas, whose whole inputs `make_run` has made in `work`."""
    run = work / "runs" / "run"
    texts = ("recipe.yaml", "likes.json", "steps.jsonl", "stopped.json", "environment.json", "likes.parquet")
    tables = ("duel.json", "result.json", "verdict.json", "images.csv", "scores.csv", "environment.json")
    return [
        *_importers(work),
        Area("recipes", 0.28, work / "recipes", ("*.yaml",), _recipe),
        Area("dry runs", 0.003, work / "recipes", ("*.yaml",), _dry_run, light=False),
        Area("run folders", 0.04, run, texts, _run, light=False),
        Area("duels", 0.04, run / "evaluation", tables, _duel, light=False),
        Area("answers and keys", 0.12, work / "human", ("*.json",), _human),
        Area("prompts files", 0.1, work / "prompts", ("*",), _prompts),
        Area("checkpoints", 0.006, work / "runs" / "unfinished", ("checkpoints/*/*",), _resume, light=False),
        Area("LoRA files", 0.008, work / "loras", ("*.safetensors",), _lora, light=False),
    ]


OPTIONS = {
    "tsv with ratings": ("--like-at", "4"),
    "label studio": ("--like-at", "4"),
    **{f"pairs in {kind}": ("--as", "pairs") for kind in ("jsonl", "csv", "parquet")},
    **{f"rankings in {kind}": ("--as", "rankings") for kind in ("json", "csv", "parquet")},
    "classes": ("--as", "classes"),
}


def _importers(work: Path) -> list[Area]:
    """Return an area for each kind of source that the tests break."""
    from test_mutations import KINDS

    found = []
    for kind in KINDS:
        folder = work / "sources" / kind.name.replace(" ", "-")
        whole = folder / "whole"
        if not whole.is_dir():
            folder.mkdir(parents=True)
            whole.mkdir()
            (folder / "opened").write_text(kind.make(whole).relative_to(whole).as_posix())
        opened = (folder / "opened").read_text()

        def command(random: Random, copy: Path, kind: Any = kind, opened: str = opened) -> Words:
            options = OPTIONS.get(kind.name, ())
            return ["import", str(copy / opened), "--likes", str(copy.with_name("likes")), *options]

        found.append(Area(f"import of {kind.name}", 0.41 / len(KINDS), whole, ("**/*",), command))
    return found


def _recipe(random: Random, folder: Path) -> Words:
    return ["recipe", str(_changed(folder))]


def _dry_run(random: Random, folder: Path) -> Words:
    likes = f"likes={folder.parents[1] / 'likes'}"  # those of the recipe are not here
    return ["train", str(_changed(folder)), "--dry-run", "--set", likes]


def _changed(folder: Path) -> Path:
    return next(file for file in sorted(folder.iterdir()) if file.name.startswith("changed-"))


def _run(random: Random, folder: Path) -> Words:
    chosen = random.random()
    if chosen < 0.1:
        one = ("--seeds", "1", "--steps", "1", "--out", str(folder.with_name("images")))
        return ["generate", "a cat", "--run", str(folder), *one]
    if chosen < 0.2:
        return ["train", "--resume", "--out", str(folder)]
    return ["evaluate", str(folder)] if chosen < 0.25 else ["report", str(folder)]


def _duel(random: Random, folder: Path) -> Words:
    if random.random() < 0.5:
        return ["report", str(folder)]
    out = folder.with_name("page.html"), folder.with_name("key.json")
    return ["human", "export", str(folder), "--out", str(out[0]), "--key", str(out[1]), "--trials", "3"]


def _human(random: Random, folder: Path) -> Words:
    return ["human", "read", str(folder / "key.json"), str(folder / "answers.json")]


def _prompts(random: Random, folder: Path) -> Callable[[], object]:
    from thumbtune.evaluation.prompts import load_prompt_set

    file = _changed(folder)
    return lambda: load_prompt_set(str(file)).prompts


def _resume(random: Random, folder: Path) -> Words:
    return ["train", "--resume", "--out", str(folder)]


def _lora(random: Random, folder: Path) -> Callable[[], object]:
    from thumbtune.duels.sides import loaded, side

    file = _changed(folder)

    def load() -> object:
        with loaded(side(str(file), "tiny-emoji-64"), "cpu") as model:
            return model

    return load


# --- changes


ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**63, 10**400, 0.5, -0.0, float("nan"), float("inf"), "", "x", "\0", "\ud800"),
    *([], {}, [None], {"a": None}, [[[]]], "9" * 400, "x" * 100_000, "../..", "/", "2020-99-99", "1e-4"),
)
YAML_ODD = (
    *(
        "null",
        "~",
        "yes",
        "no",
        "-1",
        "1e999",
        ".nan",
        "9" * 5000,
        "0x1F",
        "012",
        "1:30",
        "2020-99-99",
        "'",
        '"',
        "[",
        "{",
    ),
    *(
        "[" * 500,
        "{a: " * 500,
        "*a",
        "&a [*a]",
        "!!set {a}",
        "!!binary aa",
        "!!python/name:os.system",
        "- a",
        "a: b",
        "%",
    ),
    *(
        "@x",
        "`x`",
        "\t",
        "|",
        ">",
        "? a",
        "---",
        "...",
        "\0",
        "\ufeff",
        "~/x",
        "postgresql://ann:hunter2@[::1",
        "x" * 50_000,
    ),
)


def change(random: Random, file: Path) -> None:
    """Change a file: its bytes half of the time, and otherwise what they stand for."""
    from mutations import broken

    data = file.read_bytes()
    try:
        changed = _structured(random, file.suffix, data) if random.random() < 0.5 else None
    except (ValueError, KeyError, IndexError, OverflowError):
        changed = None
    file.write_bytes(broken(random, data) if changed is None else changed)


def _structured(random: Random, suffix: str, data: bytes) -> bytes | None:
    if suffix == ".json":
        return _json(random, json.loads(data)).encode(errors="replace")
    if suffix == ".jsonl":
        lines = data.decode().split("\n")
        number = random.randrange(len(lines))
        lines[number] = _json(random, json.loads(lines[number]))
        return "\n".join(lines).encode(errors="replace")
    if suffix in {".yaml", ".yml"}:
        return _yaml(random, data.decode()).encode(errors="replace")
    if suffix == ".safetensors":
        return _tensors(random, data)
    return None


def _json(random: Random, value: Any) -> str:
    """Return JSON in which one value is another, is missing, or has another name."""
    places: list[tuple[Any, Any]] = []

    def visit(inside: Any) -> None:
        for key in list(inside) if isinstance(inside, dict) else range(len(inside)):
            places.append((inside, key))
            if isinstance(inside[key], dict | list):
                visit(inside[key])

    if isinstance(value, dict | list):
        visit(value)
    if not places:
        return json.dumps(random.choice(ODD[:16]))
    inside, key = random.choice(places)
    kind = random.random()
    if kind < 0.2:
        del inside[key]
    elif kind < 0.3 and isinstance(inside, dict):
        inside[random.choice(("x", "", "form", "step"))] = inside.pop(key)
    else:
        inside[key] = random.choice(ODD)
    sys.set_int_max_str_digits(0)
    return json.dumps(value)


def _yaml(random: Random, text: str) -> str:
    lines = text.split("\n")
    number = random.choice([n for n, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")])
    name, colon, _ = lines[number].partition(":")
    kind = random.random()
    if kind < 0.15:
        lines.insert(random.randrange(len(lines)), lines[number])
    elif kind < 0.25:
        lines[number] = " " * random.randrange(5) + lines[number]
    elif kind < 0.9:
        lines[number] = f"{name}{colon} {random.choice(YAML_ODD)}"
    else:
        lines[number] = random.choice(YAML_ODD)
    return "\n".join(lines)


def _tensors(random: Random, data: bytes) -> bytes:
    """Return safetensors of which one tensor is missing, has another name or shape, or other numbers."""
    import numpy as np
    from safetensors.numpy import load, save

    tensors = load(data)
    name = random.choice(sorted(tensors))
    kind = random.randrange(5)
    if kind == 0:
        del tensors[name]
    elif kind == 1:
        tensors[random.choice(("x", f"{name}.x", name.replace("lora", "arol")))] = tensors.pop(name)
    elif kind == 2:
        tensors[name] = tensors[name].reshape(-1)[:-1].copy()
    else:
        tensors[name] = np.asarray(tensors[name] * random.choice((float("nan"), float("inf"), 0.0, 1e30)))
    return save(tensors)

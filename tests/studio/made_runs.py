"""Runs as their files tell them, without a training."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from studio_store import png

from thumbtune.runs.recipe import Recipe, write_recipe


def a_run(root: Path) -> None:
    """A finished run as its files tell it, with samples."""
    run = root / "runs" / "first"
    (run / "lora").mkdir(parents=True)
    (run / "lora" / "weights.safetensors").touch()
    write_recipe(Recipe.model_validate({"train": {"steps": 40}}), run / "recipe.yaml")
    rows = [
        {"step": step, "loss": 0.5 - step / 400, "liked_log_ratio": step / 900, "disliked_log_ratio": -step / 2000}
        | {"reference_point": step / 3000, "saturation": 0.1, "seconds": 0.3, "lr": 1e-4}
        | ({"agreement": 0.5 + step / 200} if step % 10 == 0 else {})
        for step in range(1, 41)
    ]
    (run / "steps.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for step in (0, 20, 40):
        folder = run / "samples" / f"step-{step:06d}"
        folder.mkdir(parents=True)
        (folder / "0.png").write_bytes(png(step, 64))
    (run / "samples" / "prompts.txt").write_text("a red heart\n")
    stop = {"step": 40, "best": 20, "sentence": "Training stopped at step 40: it no longer gains."}
    (run / "stopped.json").write_text(json.dumps(stop))


def evaluate(root: Path) -> None:
    """Give this run an evaluation of two prompts and one seed, with a verdict."""
    folder = root / "runs" / "first" / "evaluation"
    lines = ["side,prompt,seed,file,sha256,words,style"]
    for side in "ab":
        (folder / side).mkdir(parents=True)
        for prompt, words in enumerate(("a red heart", "a blue car")):
            data = png(prompt + 50 * (side == "b"), 64)
            (folder / side / f"{prompt}-7.png").write_bytes(data)
            lines.append(f"{side},{prompt},7,{side}/{prompt}-7.png,{hashlib.sha256(data).hexdigest()},{words},")
    (folder / "images.csv").write_text("\n".join(lines) + "\n")
    (folder / "scores.csv").write_text("scorer,side,prompt,seed,score\ntaste,a,0,7,0.25\ntaste,b,0,7,0.5\n")
    sides = {
        "a": {"name": "tiny-emoji-64", "kind": "model", "fingerprint": "0", "prompt_prefix": None},
        "b": {"name": "runs/first", "kind": "run", "fingerprint": "1", "prompt_prefix": None},
    }
    write = {"form": 2, "sides": sides, "base": "tiny-emoji-64", "source": "", "batch": 8}
    write["prompts"] = {"name": "held-out prompts", "count": 2, "of": 2, "sha256": "0"}
    write |= {"seeds": {"first": 7, "per_prompt": 1}, "sampler": {"steps": 6, "guidance": 3.0, "size": None}}
    (folder / "duel.json").write_text(json.dumps(write))
    result = {"a": "tiny-emoji-64", "b": "runs/first", "prompts": 2, "per_prompt": 1, "tie": 0.0, "paper_ci": False}
    result |= {"scorer_names": ["taste"], "scorers": [], "sentences": [], "standings": []}
    (folder / "result.json").write_text(json.dumps(result))
    gate = {"name": "diversity", "answer": "open", "sentence": "At least 10 prompts are needed, and there are 2."}
    verdict = {"decision": "not enough evidence", "sentence": "Not enough evidence.", "gates": [gate]}
    (folder / "verdict.json").write_text(json.dumps(verdict))


def compare(root: Path) -> None:
    """Give this run a grid of three columns and two rows, whose last image is not made yet."""
    folder = root / "runs" / "first" / "compared"
    folder.mkdir()
    for step in (0, 10, 20):
        (folder.parent / "checkpoints" / f"step-{step:06d}").mkdir(parents=True)
    names = [[f"{number:032x}.png" for number in row] for row in ((1, 2, 3), (4, 5, 6))]
    for number, name in enumerate([*names[0], *names[1]][:-1]):
        (folder / name).write_bytes(png(number, 64))
    columns = [{"name": name, "strength": 1.0} for name in ("base", "step 20", "result")]
    rows = [{"prompt": "a red heart", "seed": 0}, {"prompt": "a blue car", "seed": 0}]
    (folder / "grid.json").write_text(json.dumps({"form": 1, "columns": columns, "rows": rows, "files": names}))


def a_duel(folder: Path, prompts: int, image: Callable[[str, int], bytes]) -> None:
    """Write a finished duel of one seed, base against tuned, as far as blind tests read it."""
    lines = ["side,prompt,seed,file,sha256,words,style"]
    for side in "ab":
        (folder / side).mkdir(parents=True)
        for prompt in range(prompts):
            data, name = image(side, prompt), f"{side}/{prompt}-7.png"
            (folder / name).write_bytes(data)
            lines.append(f"{side},{prompt},7,{name},{hashlib.sha256(data).hexdigest()},thing {prompt},")
    (folder / "images.csv").write_text("\n".join(lines) + "\n")
    sides = {side: {"name": name} for side, name in (("a", "base"), ("b", "tuned"))}
    (folder / "duel.json").write_text(json.dumps({"form": 2, "sides": sides}))
    (folder / "result.json").write_text(json.dumps({"a": "base", "b": "tuned"}))

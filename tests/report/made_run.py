"""A made-up run directory, complete enough for every part of the page."""

import json
from pathlib import Path

import numpy as np
import yaml
from PIL import Image, ImageDraw

from thumbtune.duels.gallery_folder import write_lists
from thumbtune.evaluation.standings import ScorePair, standings

NAMES = ("cat", "rocket", "house with garden", "red balloon", "bicycle", "owl", "teapot", "mountain")
SIMULATED = "Someone who likes black ink drawings on white paper and dislikes colour."
VERDICT = "The tuned model draws more to this person's taste, and still draws what it is asked for."
EMOJI = Path(__file__).parents[2] / "build" / "sets"


def drawing(number: int, coloured: bool) -> Image.Image:
    """An image of 64 x 64: an emoji where the sets are built, else circles; set by its number."""
    style = EMOJI / ("flat.npy" if coloured else "line-art.npy")
    if style.exists():
        return Image.fromarray(np.load(style, mmap_mode="r")[(number * 37) % 900].copy())
    generator = np.random.default_rng(number)
    image = Image.new("RGB", (64, 64), "white")
    pen = ImageDraw.Draw(image)
    for x, y, size, *colour in generator.integers((5, 5, 8, 0, 0, 0), (40, 40, 24, 255, 255, 255), (3, 6)).tolist():
        fill = tuple(colour) if coloured else None
        pen.ellipse((x, y, x + size, y + size), fill=fill, outline="black", width=2)
    return image


def write_images(folder: Path, prompts: list[str], seeds: list[int]) -> None:
    """Write both models' images, and the examples of likes and dislikes."""
    for side in ("evaluation/a", "evaluation/b", "likes"):
        (folder / side).mkdir(parents=True)
    for index in range(len(prompts)):
        for seed in seeds:
            inked = (index * 7 + seed) % 9 > 0
            for side, coloured in (("a", True), ("b", not inked)):
                image = drawing(index, coloured).rotate(3 * seed, fillcolor="white")
                image.save(folder / "evaluation" / side / f"{index:03d}-{seed}.png")
    for number in range(12):
        drawing(100 + number, False).save(folder / "likes" / f"up-{number}.png")
        drawing(200 + number, True).save(folder / "likes" / f"down-{number}.png")


def write_evaluation(folder: Path, prompts: list[str], seeds: list[int]) -> None:
    """Write the files of a duel in which the taste goes up and faithfulness stays."""
    generator, shape = np.random.default_rng(0), (len(prompts), len(seeds))
    scores = {
        "line art": (generator.uniform(0.05, 0.3, shape), generator.uniform(0.2, 0.9, shape)),
        "faithfulness": (generator.uniform(0.6, 0.9, shape), generator.uniform(0.59, 0.89, shape)),
    }
    rows = standings({name: ScorePair(old.tolist(), new.tolist()) for name, (old, new) in scores.items()}, prompts)
    scorers = [{"id": name, "revision": "1", "preprocessing": "none", "failed": {}} for name in scores]
    result = {"a": "the bundled model", "b": "this run", "prompts": len(prompts), "per_prompt": len(seeds)}
    result |= {"tie": 0.0, "paper_ci": False, "scorer_names": list(scores), "scorers": scorers, "sentences": []}
    (folder / "result.json").write_text(json.dumps(result | {"standings": rows}))
    sides = {side: {"name": name, "kind": kind} for side, name, kind in (("a", "base", "model"), ("b", "RUN", "run"))}
    manifest = {"form": 2, "sides": sides, "base": None, "prompts": {"name": "held-out prompts", "count": len(prompts)}}
    manifest |= {"source": "", "seeds": {"first": 0, "per_prompt": len(seeds)}, "sampler": {"steps": 25, "guidance": 3}}
    (folder / "duel.json").write_text(json.dumps(manifest))
    places = [(side, p, seed) for side in ("a", "b") for p in range(len(prompts)) for seed in seeds]
    images = [(side, p, seed, f"{side}/{p:03d}-{seed}.png", "", prompts[p], "") for side, p, seed in places]
    values = [
        (name, side, p, seed, float(scores[name]["ab".index(side)][p, seeds.index(seed)]))
        for name in scores
        for side, p, seed in places
    ]
    write_lists(folder, images, values)
    verdict = {
        "decision": "do not ship",
        "sentence": VERDICT,
        "settings": [],
        "no_agreement": None,
        "agreement": {"auc": 0.86, "low": 0.8, "high": 0.91, "images": 180, "liked": 40, "prompts": 5},
        "gates": [
            {"name": "gain", "answer": "passed", "sentence": "The whole interval of its win-rate is above 50%."},
            {"name": "faithfulness", "answer": "failed", "sentence": "The object is named less often than before."},
        ],
    }
    (folder / "verdict.json").write_text(json.dumps(verdict))


def steps(count: int) -> list[dict[str, object]]:
    """A training that goes well, one batch without dislikes, one step skipped."""
    generator = np.random.default_rng(0)
    noise = generator.normal(0, 1, (count, 5))
    return [
        {
            "step": step,
            "loss": 0.5 - 0.2 * step / count + 0.05 * noise[step, 0],
            "liked_log_ratio": 3e-4 * step / count + 1e-4 * noise[step, 1],
            "disliked_log_ratio": None if step == 1 else -5e-4 * step / count + 1e-4 * noise[step, 2],
            "reference_point": 1e-4 * step / count,
            "policy_error": 0.05 + 0.002 * noise[step, 3],
            "reference_error": 0.0502 + 0.002 * noise[step, 3],
            "beta": 5000.0 if step < 20 else 4900.0,
            "gain": 0.7 + 0.1 * noise[step, 0],
            "saturation": 0.1,
            "synced": step == 30,
            "agreement": 0.5 + 0.4 * step / count if step % 10 == 0 else None,
            "grad_norm": None if step == 2 else float(np.exp(0.3 * noise[step, 4])),
            "lr": 1e-4,
            "skipped": int(step == 2),
            "seconds": 0.9,
        }
        for step in range(count)
    ]


def write_run(folder: Path, prompts: list[str], seeds: list[int], count: int = 40) -> Path:
    """All the files of a run."""
    write_images(folder, prompts, seeds)
    recipe = {
        "model": {"name": "bundled", "lora": {"rank": 8, "alpha": 8}},
        "objective": {"name": "kto", "beta": 5000, "utility": "kahneman_tversky", "reference_point": "batch"},
        "training": {
            "steps": count,
            "batch": 32,
            "learning_rate": 1e-4,
            "resume": False,
            "targets": ["to_q", "to_v"],
        },
        "seed": 0,
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    environment = {
        "python": "3.11.2",
        "torch": "2.9.1",
        "hardware": {"cpu": "2 cores", "gpu": None},
        "minutes": 14,
    }
    (folder / "environment.json").write_text(json.dumps(environment))
    likes = {
        "source": "the line-art taste over the bundled model's own images",
        "simulated": SIMULATED,
        "likes": 240, "dislikes": 260, "prompts": 60, "held_out": 12,
        "examples": {
            "liked": [f"likes/up-{number}.png" for number in range(12)],
            "disliked": [f"likes/down-{number}.png" for number in range(12)],
        },
    }  # fmt: skip
    (folder / "likes.json").write_text(json.dumps(likes))
    (folder / "steps.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps(count)))
    write_evaluation(folder / "evaluation", prompts, seeds)
    (folder / "lora.safetensors").write_bytes(b"")
    return folder

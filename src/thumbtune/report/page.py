"""Write the page of a run or a duel: verdict, images, numbers, feedback, training, settings, and how to repeat it."""

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import UndefinedError

from thumbtune.checksums import changed, check
from thumbtune.documents import brief, read_config
from thumbtune.errors import ThumbtuneError, note
from thumbtune.evaluation.duel_folder import DuelFolder, check_duel, is_duel, is_of_earlier_evaluation, read_duel
from thumbtune.files import write_text
from thumbtune.hub import INDEX
from thumbtune.report import images
from thumbtune.report.comparison import comparison
from thumbtune.report.reading import RunFolder, flat, is_run, read_run
from thumbtune.report.templates import template
from thumbtune.report.training import training
from thumbtune.training.records import prefix_in

PAGE = "report.html"
EVALUATION = "evaluation"  # the duel of a run with its base
NETWORKS = ("unet", "transformer")  # the folder of a result without a LoRA is called as the part that was trained
CARD = "README.md"
PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
WEIGHTS = "diffusion_pytorch_model.safetensors"


def write_page(folder: Path) -> Path:
    """Write `report.html` into the folder of a run or a duel: one file that loads nothing from elsewhere.

    Returns:
        The path of the page.

    Raises:
        UsageError: the folder holds neither a run nor a finished duel.
        ThumbtuneError: a file cannot be understood, or the page cannot be written.
    """
    if is_run(folder) or not (folder / "duel.json").is_file():
        contents = _of_run
    else:
        contents = _of_duel
    try:
        page = template("page.html.j2").render(**contents(folder))
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, UndefinedError) as error:
        for part in (folder, folder / EVALUATION):
            for file in changed(part):
                note(f"{file} has changed since it was written.")
        raise ThumbtuneError(
            f"{folder} contains files in an unknown format ({brief(error)}); create them again with this version of "
            "Thumbtune.",
            code="page-unknown-shape",
        ) from error
    # last, since what cannot be understood has a better sentence
    if contents is _of_run:
        check(folder)
    check_duel(folder / EVALUATION if contents is _of_run else folder)
    return write_text(folder / PAGE, page)


def _of_duel(folder: Path) -> dict[str, Any]:
    """Return everything that the page of a duel shows."""
    duel = read_duel(folder)
    return {
        "name": f"{duel.result['b']} against {duel.result['a']}",
        "found": comparison(duel),
        "run": None,
        "training": _training_of(duel),
        "environment": flat(duel.environment),
    }


def _training_of(duel: DuelFolder) -> dict[str, Any] | None:
    """Return the curves of `b`, where it is a run that is still there."""
    side = duel.manifest["sides"]["b"]
    if side["kind"] != "run" or not is_run(Path(side["name"])):
        return None
    return _training(read_run(Path(side["name"])))


def _training(run: RunFolder) -> dict[str, Any] | None:
    return training(run.steps, is_relative=dict(flat(run.recipe)).get("objective.log_ratio") == "relative")


def _of_run(folder: Path) -> dict[str, Any]:
    """Return everything that the page of a run shows."""
    run = read_run(folder)
    evaluation = folder / EVALUATION
    duel = read_duel(evaluation) if is_duel(evaluation) else None
    earlier = is_of_earlier_evaluation(evaluation)
    return {
        "name": folder.resolve().name,
        "found": None if duel is None else comparison(duel),
        "why_not": f"{evaluation} was written by an earlier Thumbtune; delete it, then run: thumbtune evaluate {folder}"
        if earlier
        else f"evaluation/result.json is missing; evaluate the run with: thumbtune evaluate {folder}",
        "run": _run(run, duel),
        "training": None,
        "environment": flat(run.environment),
    }


def _run(run: RunFolder, duel: DuelFolder | None) -> dict[str, Any]:
    likes = run.likes or {}
    whole = dict(flat(run.recipe)).get("train.weights") == "full"
    words = None if duel is None else next((row["words"] for row in duel.images.values()), None)
    return {
        "likes": run.likes,
        "examples": images.example_strips(run.folder, likes),
        "training": _training(run),
        "stopped": run.stopped,
        "measured": run.base,
        "recipe": _settings(run, duel),
        "environment": flat(run.environment),
        "base": _base(run.recipe),
        "prefix": prefix_in(likes),
        "prompt": words or "your prompt",
        "example": _example_in(run.folder),
        "lora": f"{_place(run.folder)}/{_lora(run.folder) or 'lora.safetensors'}",
        "network": _network(run.folder) if whole else None,
        "whole": whole,
        "result": any((run.folder / part / WEIGHTS).is_file() for part in NETWORKS) if whole else _lora(run.folder),
    }


def _settings(run: RunFolder, duel: DuelFolder | None) -> list[tuple[str, str]]:
    """Return the options of the recipe; those of the evaluation as the evaluation that is shown had them."""
    rows = dict(flat(run.recipe))
    if duel is not None and duel.verdict is not None:
        for setting in duel.verdict.get("settings", ()):
            name, _, value = setting.partition("=")
            rows[name] = value
        rows["evaluate.prompts"] = str(duel.manifest["prompts"]["name"])
    return list(rows.items())


def _network(folder: Path) -> dict[str, str]:
    """Return the part that a run trained whole, its class in diffusers, and its folder; without a result, a UNet."""
    part = next((part for part in NETWORKS if (folder / part / WEIGHTS).is_file()), NETWORKS[0])
    kind = (read_config(folder / part / "config.json") or {}).get("_class_name")
    return {"part": part, "kind": str(kind or "UNet2DConditionModel"), "folder": f"{_place(folder)}/{part}"}


def _example_in(folder: Path) -> dict[str, str] | None:
    """Return the example of the run's model card, and the folder that it runs in; None without one."""
    for part in ("lora", *NETWORKS):
        card = folder / part / CARD
        blocks = PYTHON.findall(card.read_text(encoding="utf-8", errors="replace")) if card.is_file() else ()
        for code in blocks:
            if "Pipeline.from_" in code:
                return {"folder": f"{_place(folder)}/{part}", "code": code}
    return None


def _base(recipe: Mapping[str, Any]) -> str:
    """Return the model that was tuned, as the example that loads it writes it in Python."""
    model = recipe.get("model")
    if isinstance(model, Mapping):
        model = next((model[key] for key in ("name", "path", "base") if isinstance(model.get(key), str)), None)
    if not isinstance(model, str):
        return repr("the base model of the recipe")
    if (resources.files("thumbtune") / "bundled" / model / INDEX).is_file():
        return f'files("thumbtune") / "bundled" / "{model}"'
    return repr(Path(model).name if Path(model).is_absolute() else model)  # pages show no path of one machine


def _place(folder: Path) -> str:
    """Return a run's folder as seen from where it was started; RUN for a path of one machine, which pages do not show.

    >>> _place(Path("runs/mine")), _place(Path.cwd())
    ('runs/mine', 'RUN')
    """
    return "RUN" if folder.is_absolute() else folder.as_posix()


def _lora(folder: Path) -> str | None:
    """Return the path of the LoRA inside the run, the file of diffusers before those of other programs."""
    files = sorted(folder.rglob("*.safetensors"), key=lambda path: (len(path.parts), path.name))
    named = [path for path in files if "lora" in path.name.lower()]
    usual = [path for path in named if path.name == "pytorch_lora_weights.safetensors"]
    return next((str(path.relative_to(folder)) for path in usual + named), None)

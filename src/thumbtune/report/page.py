"""Write the page of a run: verdict, images, numbers, what was learnt from, curves, settings."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import UndefinedError
from markupsafe import Markup

from thumbtune.errors import ThumbtuneError
from thumbtune.evaluation.verdict import LEAST_PROMPTS
from thumbtune.files import write_text
from thumbtune.report import images, plots
from thumbtune.report.reading import RunFolder, flat, read_run
from thumbtune.report.templates import template
from thumbtune.report.training import training

PAGE = "report.html"
WHOLE = Path("unet", "diffusion_pytorch_model.safetensors")  # where a run without a LoRA keeps its result


def write_report(run_folder: Path) -> Path:
    """Write `report.html` into a run directory: one file that loads nothing from anywhere.

    Returns:
        The path of the page.

    Raises:
        ThumbtuneError: there is no recipe, a file cannot be understood, or the page cannot be written.
    """
    run = read_run(run_folder)
    try:
        page = template("page.html.j2").render(**_contents(run))
    except (KeyError, IndexError, TypeError, UndefinedError) as error:
        raise ThumbtuneError(
            f"{run_folder} holds likes, steps or an evaluation in an unknown shape ({error}); "
            "write them again with this version of thumbtune."
        ) from error
    return write_text(run_folder / PAGE, page)


def _contents(run: RunFolder) -> dict[str, Any]:
    """Everything that the template shows."""
    return {
        "name": run.folder.resolve().name,
        "evaluation": run.evaluation,
        "rows": (rows := images.grid(run) if run.evaluation is not None else []),
        "least_prompts": LEAST_PROMPTS,
        "missing": images.missing(rows),
        "chart": _chart(run.evaluation),
        "likes": run.likes,
        "thumbs": images.thumb_strips(run.folder, run.likes or {}),
        "training": training(run.steps),
        "stopped": run.stopped,
        "recipe": flat(run.recipe),
        "environment": flat(run.environment),
        "base": _base(run.recipe),
        "mark": (run.likes or {}).get("mark"),
        "lora": _lora(run.folder),
        "whole": (whole := dict(flat(run.recipe)).get("train.weights") == "full"),
        "result": (run.folder / WHOLE).is_file() if whole else _lora(run.folder),
    }


def _chart(evaluation: Mapping[str, Any] | None) -> Markup | None:
    """The win-rates of the evaluation, if there are any."""
    if evaluation is None or not evaluation["comparisons"]:
        return None
    tastes = {name for name, score in evaluation["scores"].items() if score["role"] == "taste"}
    return Markup(plots.win_rates(evaluation["comparisons"], tastes))


def _base(recipe: Mapping[str, Any]) -> str:
    """What the recipe calls the model that was tuned, for the example of loading it."""
    model = recipe.get("model")
    if isinstance(model, Mapping):
        model = next((model[key] for key in ("name", "path", "base") if isinstance(model.get(key), str)), None)
    if not isinstance(model, str):
        return "the base model of the recipe"
    bundled = resources.files("thumbtune") / "bundled" / model
    return str(bundled) if (bundled / "model_index.json").is_file() else model


def _lora(folder: Path) -> str | None:
    """The LoRA file of the run as a path inside the run, diffusers' layout before other programs'."""
    found = sorted(folder.rglob("*.safetensors"), key=lambda path: (len(path.parts), path.name))
    named = [path for path in found if "lora" in path.name.lower()]
    usual = [path for path in named if path.name == "pytorch_lora_weights.safetensors"]
    return next((str(path.relative_to(folder)) for path in usual + named), None)

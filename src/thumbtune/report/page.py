"""Write the page of a run: verdict, pictures, numbers, what was learnt from, curves, settings."""

import math
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template, UndefinedError
from markupsafe import Markup

from thumbtune.errors import ThumbtuneError
from thumbtune.evaluation.verdict import LEAST_PROMPTS
from thumbtune.files import write_text
from thumbtune.report import pictures, plots
from thumbtune.report.reading import RunFolder, flat, read_run

PAGE = "report.html"
MINUTE, HOUR = 60, 3600
WHOLE = Path("unet", "diffusion_pytorch_model.safetensors")  # where a run without a LoRA keeps its result
MOST_DECIMALS = 6  # smaller numbers are written as 1.23e-7
MINUS = "\N{MINUS SIGN}"


def write_report(run_folder: Path) -> Path:
    """Write `report.html` into a run directory: one file that loads nothing from anywhere.

    Returns:
        The path of the page.

    Raises:
        ThumbtuneError: there is no recipe, a file cannot be understood, or the page cannot be written.
    """
    run = read_run(run_folder)
    try:
        page = _template().render(**_contents(run))
    except (KeyError, IndexError, TypeError, UndefinedError) as error:
        raise ThumbtuneError(
            f"{run_folder} holds likes, steps or an evaluation in an unknown shape ({error}); "
            "write them again with this version of thumbtune."
        ) from error
    return write_text(run_folder / PAGE, page)


def _template() -> Template:
    """The page's template, with every value escaped unless it is our own SVG."""
    environment = Environment(
        loader=PackageLoader("thumbtune", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": _percent,
        "number": _number,
        "signed": _signed,
        "signed_percent": _signed_percent,
        "duration": _duration,
        "python": repr,
    }
    return environment.get_template("page.html.j2")


def _contents(run: RunFolder) -> dict[str, Any]:
    """Everything that the template shows."""
    return {
        "name": run.folder.resolve().name,
        "evaluation": run.evaluation,
        "rows": (rows := pictures.grid(run) if run.evaluation is not None else []),
        "least_prompts": LEAST_PROMPTS,
        "missing": pictures.missing(rows),
        "chart": _chart(run.evaluation),
        "likes": run.likes,
        "thumbs": pictures.thumb_strips(run.folder, run.likes or {}),
        "training": _training(run.steps),
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


def _training(steps: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Curves and totals of the training, or None where no step was taken."""
    if not steps:
        return None
    return {
        "steps": len(steps),
        "seconds": sum(step.get("seconds") or 0.0 for step in steps),
        "broken": sum(step.get("grad_norm") is None for step in steps),
        "images": sum(step.get("skipped") or 0 for step in steps),
        "log_ratios": Markup(plots.log_ratios(steps)),
        "losses": Markup(plots.losses(steps)),
        "errors": Markup(plots.errors(steps)),
        "gradients": Markup(plots.gradients(steps)),
        "learning_rates": Markup(plots.learning_rates(steps)),
        "gains": _where_known("gain", plots.gains, steps),
        "saturation": _where_known("saturation", plots.saturation, steps),
        "betas": Markup(plots.betas(steps)) if len({step.get("beta") for step in steps}) > 1 else None,
        "agreement": _where_known("agreement", plots.agreement, steps),
        "refreshed": sum(bool(step.get("refreshed")) for step in steps),
    }


def _where_known(name: str, plot: Callable[[plots.Steps], str], steps: list[dict[str, Any]]) -> Markup | None:
    """A chart of a quantity that some trainings have not."""
    return Markup(plot(steps)) if any(step.get(name) is not None for step in steps) else None


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


def _percent(share: float) -> str:
    """0.8333 -> 83%."""
    return f"{round(100 * share)}%".replace("-", MINUS)


def _number(value: float) -> str:
    """Three significant digits, with as many decimals as that takes."""
    if value == 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{decimals}f}" if decimals <= MOST_DECIMALS else f"{value:.2e}"
    return text.replace("-", MINUS)


def _signed(value: float) -> str:
    """A number that shows its sign, plus as well."""
    return ("+" if value > 0 else "") + _number(value)


def _signed_percent(share: float) -> str:
    """A share that shows its sign, plus as well."""
    return ("+" if round(100 * share) > 0 else "") + _percent(share)


def _duration(seconds: float) -> str:
    """In the unit a person would use."""
    if seconds < MINUTE:
        return f"{seconds:.0f} s"
    if seconds < HOUR:
        return f"{seconds / MINUTE:.0f} min"
    return f"{seconds / HOUR:.1f} h"

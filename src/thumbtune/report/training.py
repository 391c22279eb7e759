"""The training part of a page: curves and totals."""

from collections.abc import Callable
from typing import Any

from markupsafe import Markup

from thumbtune.report import plots


def training(steps: list[dict[str, Any]], is_relative: bool = False) -> dict[str, Any] | None:
    """Return curves and totals of the training, or None if it took no step.

    is_relative: whether gains, and so the reference point, are of relative log-ratios
    """
    if not steps:
        return None
    return {
        "steps": len(steps),
        "seconds": sum(step.get("seconds") or 0.0 for step in steps),
        "broken": sum(step.get("grad_norm") is None for step in steps),
        "images": sum(step.get("skipped") or 0 for step in steps),
        "log_ratios": Markup(plots.log_ratios(steps, is_relative)) if _knows(steps, *plots.LOG_RATIOS) else None,
        "is_relative": is_relative,
        "losses": Markup(plots.losses(steps)),
        "errors": Markup(plots.errors(steps)),
        "gradients": Markup(plots.gradients(steps)),
        "learning_rates": Markup(plots.learning_rates(steps)),
        "gains": _where_known("gain", plots.gains, steps),
        "saturation": _where_known("saturation", plots.saturation, steps),
        "betas": Markup(plots.betas(steps)) if len({step.get("beta") for step in steps}) > 1 else None,
        "agreement": _where_known("agreement", plots.agreement, steps),
        "held_out_liked": _where_known("held_out_liked", plots.held_out_liked, steps),
        "synced": sum(bool(step.get("synced")) for step in steps),
    }


def _where_known(name: str, plot: Callable[[plots.Steps], str], steps: list[dict[str, Any]]) -> Markup | None:
    """Return a chart of a quantity, or None if the training did not measure it."""
    return Markup(plot(steps)) if _knows(steps, name) else None


def _knows(steps: list[dict[str, Any]], *names: str) -> bool:
    return any(step.get(name) is not None for step in steps for name in names)

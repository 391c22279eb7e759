"""Charts as inline SVG that take their colours and font from the page, so light and dark both work.

matplotlib is told stand-in colours; they become CSS variables in the SVG that it writes.
"""

import io
import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Stand-in -> name of the CSS variable. Lower-case hex, as matplotlib writes it.
INK, MUTED, LINE = "#010101", "#020202", "#030303"
ACCENT, LIKED, DISLIKED = "#040404", "#050505", "#060606"
VARIABLES = {
    INK: "ink", MUTED: "muted", LINE: "line", ACCENT: "accent", LIKED: "liked", DISLIKED: "disliked"
}  # fmt: skip
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.axisbelow": True,
    "axes.spines.left": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.use_mathtext": False,
    "axes.formatter.useoffset": False,
    "ytick.major.size": 0,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}
LEAST_AXIS = 0.1  # of a share whose values are all the same, and at an end
POINTS = 240  # the most points of a line: enough for the eye, small on the page
SMOOTHING = 12  # the bold line averages a twelfth of the run, so that the trend is seen through the noise

Steps = Sequence[Mapping[str, Any]]
LOG_RATIOS = ("liked_log_ratio", "disliked_log_ratio")


def win_rates(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return one dot for each scorer with Wilson's interval (thin) and the bootstrap's (thick), and a line at 50%.

    Args:
        rows: standings, one for each scorer (see `evaluation.standings`).
    """
    figure, axes = _canvas(height=0.75 + 0.42 * len(rows))
    axes.axvline(50, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    for place, row in enumerate(reversed(rows)):
        for interval, width in (("wilson", 1.4), ("bootstrap", 5)):
            ends = [100 * row[interval][end] for end in ("low", "high")]
            axes.plot(ends, [place, place], color=ACCENT, linewidth=width, solid_capstyle="butt")
        axes.plot(100 * row["rate"], place, "o", color=ACCENT, markersize=9, clip_on=False)
    axes.set(xlim=(-2, 102), ylim=(-0.6, len(rows) - 0.4), xticks=[0, 25, 50, 75, 100], yticks=range(len(rows)))
    axes.set_xticklabels(["0%", "25%", "50%", "75%", "100%"])
    axes.set_yticklabels([row["scorer"] for row in reversed(rows)], color=INK, parse_math=False)
    described = "; ".join(f"{row['scorer']} {100 * row['rate']:.0f}%" for row in rows)
    return _svg(figure, "win-rates", f"Win-rates of the tuned model: {described}.")


def distributions(before: Sequence[float], after: Sequence[float], name: str) -> str:
    """Return histograms of both models' scores, on shared bins: `before` filled in grey, `after` as a line."""
    figure, axes = _canvas(height=2.1)
    edges = np.histogram_bin_edges([*before, *after], bins=min(24, 4 + len(before) // 2))
    axes.hist(before, bins=list(edges), color=MUTED, alpha=0.45)
    axes.hist(after, bins=list(edges), histtype="step", color=ACCENT, linewidth=1.8)
    axes.set(yticks=[])
    told = f"{name}: mean {np.mean(before):.3g} before, {np.mean(after):.3g} after."
    return _svg(figure, "scores-" + re.sub(r"\W+", "-", name), told)


def log_ratios(steps: Steps, is_relative: bool = False) -> str:
    """Return the liked and disliked log-ratios over the steps; with a beta, the reference point between them.

    is_relative: whether the reference point is in units of the reference's error, so that it has no place here
    """
    curves = {"liked": ("liked_log_ratio", LIKED), "disliked": ("disliked_log_ratio", DISLIKED)}
    between = (
        {"reference_point": ("reference point", MUTED)}
        if not is_relative and any(step.get("beta") is not None for step in steps)
        else {}
    )
    return _curves(steps, curves | between, "log-ratios")


def losses(steps: Steps) -> str:
    """Return the loss over the steps."""
    return _curves(steps, {"loss": ("loss", ACCENT)}, "loss")


def errors(steps: Steps) -> str:
    """Return the denoising errors of both models over the steps; both get the same noise, so only means."""
    curves = {"reference": ("reference_error", MUTED), "tuned": ("policy_error", ACCENT)}
    return _curves(steps, curves, "errors", single_steps=False)


def gains(steps: Steps) -> str:
    """Return the median gain over the steps."""
    return _curves(steps, {"median gain": ("gain", ACCENT)}, "gains")


def saturation(steps: Steps) -> str:
    """Return the share of images whose utility is flat, over the steps."""
    return _curves(steps, {"saturated share": ("saturation", ACCENT)}, "saturation", least=0, most=1)


def betas(steps: Steps) -> str:
    """Return beta over the steps."""
    return _curves(steps, {"beta": ("beta", ACCENT)}, "beta", single_steps=False)


def agreement(steps: Steps) -> str:
    """Return the agreement with held-out likes, at the steps that measured it."""
    return _curves(steps, {"agreement": ("agreement", ACCENT)}, "agreement", least=0, most=1)


def held_out_liked(steps: Steps) -> str:
    """Return how much better held-out likes are denoised than by the base, at the steps that measured it."""
    return _curves(steps, {"error that is gone": ("held_out_liked", ACCENT)}, "held-out-liked", most=1)


def learning_rates(steps: Steps) -> str:
    """Return the learning rate over the steps."""
    return _curves(steps, {"learning rate": ("lr", ACCENT)}, "learning-rates", single_steps=False)


def gradients(steps: Steps) -> str:
    """Return the norm of the gradient over the steps."""
    return _curves(steps, {"gradient norm": ("grad_norm", ACCENT)}, "gradients")


def _curves(
    steps: Steps,
    curves: Mapping[str, tuple[str, str]],
    name: str,
    single_steps: bool = True,
    least: float = -math.inf,
    most: float = math.inf,
) -> str:
    """Return each quantity's moving mean, and its single steps as faint lines; the axis ends at `least` and `most`."""
    figure, axes = _canvas(height=2.5)
    told = []
    for label, (field, colour) in curves.items():
        known = [(step["step"], step[field]) for step in steps if _finite(step.get(field))]
        if not known:
            continue
        at, values = np.array(known, dtype=float).T
        if single_steps:
            axes.plot(*_thinned(at, values), color=colour, linewidth=0.8, alpha=0.3)
        smooth = _moving_mean(values, max(1, len(values) // SMOOTHING))
        style = "--" if label == "reference point" else "-"
        axes.plot(
            *_thinned(at, smooth),
            color=colour,
            label=label,
            linestyle=style,
            marker="o" if len(at) == 1 else "",
            clip_on=False,
        )
        told.append(f"{label} from {smooth[0]:.3g} to {smooth[-1]:.3g}")
    low, high = axes.get_ylim()
    axes.set_ylim(*_within(low, high, least, most))
    axes.set_xlabel("step")
    axes.grid(axis="y", color=LINE, linewidth=0.7)
    if len(told) > 1:
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=3,
            frameon=False,
            labelcolor=INK,
            borderpad=0,
            handlelength=1.4,
        )
    return _svg(figure, name, f"Smoothed over the run: {'; '.join(told) or 'no finite value'}.")


def _within(low: float, high: float, least: float, most: float) -> tuple[float, float]:
    """Return the ends of an axis without what its quantity cannot be; of one value, an axis a tenth long at least.

    >>> _within(0.96, 1.04, 0, 1), _within(-0.02, 0.5, 0, 1), _within(-3, 7, -math.inf, math.inf)
    ((0.9, 1), (0, 0.5), (-3, 7))
    """
    low, high = max(low, least), min(high, most)
    if high == most and math.isfinite(most):
        low = min(low, most - LEAST_AXIS)
    if low == least and math.isfinite(least):
        high = max(high, least + LEAST_AXIS)
    return low, high


def _finite(value: float | None) -> bool:
    """Return whether the value is a finite number."""
    return value is not None and math.isfinite(value)


def _moving_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Return the mean of a window centred on each entry and cut off at the ends; same length as `values`."""
    total = np.concatenate([[0.0], values.cumsum()])
    index = np.arange(len(values))
    start, stop = np.maximum(0, index - width // 2), np.minimum(len(values), index + width // 2 + 1)
    return (total[stop] - total[start]) / (stop - start)


def _thinned(at: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return at most `POINTS` of the points, evenly spread, ends included."""
    keep = np.unique(np.linspace(0, len(at) - 1, min(POINTS, len(at))).round().astype(int))
    return at[keep], values[keep]


def _canvas(height: float) -> "tuple[Figure, Axes]":
    """Return an empty chart, 4.2 inches wide: a small size keeps its letters readable on a phone."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(4.2, height), layout="constrained", facecolor="none")
        return figure, figure.add_subplot(facecolor="none")


def _svg(figure: "Figure", name: str, description: str) -> str:
    """Return the figure as an SVG element for a page of HTML with several of them."""
    from matplotlib import rc_context

    written = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with rc_context({**STYLE, "svg.hashsalt": name}):
        figure.savefig(written, format="svg", metadata=nothing)
    body = written.getvalue()
    body = body[body.index("<svg") :]
    # Metadata and the default style would name outside addresses and fonts; the page has its own.
    body = re.sub(r"<(metadata|style)\b.*?</\1>\s*|<!--.*?-->\s*", "", body, flags=re.DOTALL)
    body = re.sub(r" font-family: [^;\"]*;?", "", body)
    body = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{name}-", body)  # one page, many charts: no id twice
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, f"var(--{variable})")
    width, height = figure.get_size_inches() * 72  # SVG points
    opening = f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(description)}">'
    return re.sub(r"^<svg[^>]*>", lambda _: opening, body)

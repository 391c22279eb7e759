"""Figure 9 of the paper: the three utilities, centred, and their slopes.

U_c(x) = U(x) - U(0)        the paper centres for the eye; a constant moves no gradient (section 4.2, D.4)
slope  = dU / dx            the gradient weight of an image whose gain is x
"""

import torch
from torch import Tensor

from thumbtune.experiments.experiments import Order, Progress, Say
from thumbtune.experiments.figures import COLOURS, PALE, panels
from thumbtune.experiments.result_page import Claim, Result, verdict_of
from thumbtune.objective.utility import UTILITIES, Utility

REACH = 6.0  # gains from -6 to 6: both ends of the sigmoid are flat there
POINTS = 601
SHOWN_GAINS = (-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0)
FADED = 0.02  # a slope of at most this share of the largest: such an image has next to no gradient
BOTH_ENDS = 2


def curve(utility: Utility, gains: Tensor) -> tuple[Tensor, Tensor]:
    """Return the centred utility and its slope, by differentiating the utility that training uses."""
    x = gains.double().requires_grad_()
    worth = utility(x)
    (slope,) = torch.autograd.grad(worth.sum(), x)
    return (worth - utility(torch.zeros((), dtype=torch.float64))).detach(), slope


def table(gains: Tensor) -> list[dict[str, float]]:
    """Return a row for each gain: every utility's centred value and slope."""
    curves = {name: curve(utility, gains) for name, utility in UTILITIES.items()}
    return [
        {"gain": float(gain)}
        | {f"{name}, {what}": float(c[k][i]) for name, c in curves.items() for k, what in enumerate(("value", "slope"))}
        for i, gain in enumerate(gains)
    ]


def claims() -> list[Claim]:
    """Return the shapes that the paper names, tested on the curves."""
    gains = torch.linspace(-REACH, REACH, POINTS)
    slopes = {name: curve(utility, gains)[1] for name, utility in UTILITIES.items()}
    bends = {name: slope.diff() for name, slope in slopes.items()}
    loss, gain = gains[1:] <= 0, gains[:-1] >= 0
    faded = {name: [end for end in (0, -1) if slope[end] <= FADED * slope.max()] for name, slope in slopes.items()}

    def ends(name: str) -> str:
        most = float(slopes[name].max())
        return (
            f"its slope is {float(slopes[name][0]):.4f} at -6, {float(slopes[name][-1]):.4f} at 6, {most:.4f} at most"
        )

    kt = bends["kahneman-tversky"]
    peak = float(gains[slopes["kahneman-tversky"].argmax()])
    return [
        Claim(
            "Loss-averse is concave and fades only at high gains",
            "the slope falls from each gain to the next, and only the right end is faded.",
            verdict_of(bool((bends["loss-averse"] < 0).all()), faded["loss-averse"] == [-1]),
            f"{ends('loss-averse')}.",
        ),
        Claim(
            "Risk-seeking is convex and fades only at low gains",
            "the slope rises from each gain to the next, and only the left end is faded.",
            verdict_of(bool((bends["risk-seeking"] > 0).all()), faded["risk-seeking"] == [0]),
            f"{ends('risk-seeking')}.",
        ),
        Claim(
            "Kahneman-Tversky is convex in losses, concave in gains, and fades at both ends",
            "the slope rises below 0, falls above 0, and both ends are faded.",
            verdict_of(
                bool((kt[loss] > 0).all()) and bool((kt[gain] < 0).all()),
                len(faded["kahneman-tversky"]) == BOTH_ENDS,
            ),
            f"{ends('kahneman-tversky')}, reached at {peak + 0.0:.1f}.",
        ),
    ]


def make(order: Order, progress: Progress, say: Say) -> Result:
    """Plot both panels and test the shapes."""
    gains = torch.linspace(-REACH, REACH, POINTS)
    figure, axes = panels(1, 2, (3.6, 2.9))
    for name, utility in UTILITIES.items():
        for panel, values in zip(axes, curve(utility, gains), strict=True):
            panel.plot(gains, values, color=COLOURS[name], label=name)
    for panel, title in zip(axes, ("utility, centred: U(x) - U(0)", "its slope: dU / dx"), strict=True):
        panel.axvline(0, color=PALE, linewidth=1, zorder=0)
        panel.axhline(0, color=PALE, linewidth=1, zorder=0)
        panel.set(title=title, xlabel="gain x = sign · beta · (log-ratio - reference point)")
    axes[0].set_ylim(-3, 3)
    axes[0].legend(loc="upper left")
    return Result(
        title="Figure 9: utilities and their slopes",
        about="The value of a gain under each of the paper's three utilities (arXiv 2404.04465, section 4.2 and D.4), "
        "plotted from the functions that training uses: `thumbtune.objective.utility`.",
        figure=figure,
        caption="Left: the utilities, centred as in the paper; a constant changes no gradient. Right: the slope is the "
        "gradient weight of an image with that gain.",
        rows=table(torch.tensor(SHOWN_GAINS)),
        claims=claims(),
        notes=(
            f"Faded: the slope is at most {FADED:.0%} of that utility's largest slope on -6..6.",
            "The largest slope of Kahneman-Tversky is 1/4, and that of the other two is 1. Without Adam, they would "
            "also differ in step size at one learning rate.",
        ),
    )

"""The shared look of all figures: empty panels, and one colour for each utility and objective."""

from typing import TYPE_CHECKING, Any

from thumbtune.experiments.result_page import STYLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which people with any kind of colour vision can tell apart
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, INK = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#222222"
PALE = "#d9d9d9"
COLOURS = {
    "kahneman-tversky": BLUE,
    "loss-averse": RED,
    "risk-seeking": ORANGE,
    "dpo": PURPLE,
    "sft": GREEN,
    "reference": INK,
}


def panels(rows: int, columns: int, size: tuple[float, float], **options: Any) -> "tuple[Figure, list[Any]]":
    """Return a figure and its panels, row by row; `size` is the size of one panel in inches."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(columns * size[0], rows * size[1]), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, list(axes.flat)

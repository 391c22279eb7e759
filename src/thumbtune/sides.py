"""The two sides of an image in pixels: as people write them, and what they must be multiples of. Knows no torch."""

from thumbtune.errors import UsageError

Size = int | tuple[int, int]  # pixels: of both sides, or (height, width)
PIPELINE_UNIT = 8  # diffusers' pipelines ask for sides that are multiples of it, whatever the VAE


def height_and_width(size: Size) -> tuple[int, int]:
    """Return the two sides of a size in pixels."""
    return (size, size) if isinstance(size, int) else size


def size_text(size: Size) -> str:
    """Return a size as people write it, width first.

    >>> size_text(512), size_text((512, 768))
    ('512x512', '768x512')
    """
    height, width = height_and_width(size)
    return f"{width}x{height}"


def check_size(size: Size, unit: int, what: str) -> None:
    """Refuse a size whose sides are no multiples of a unit; `what` begins the sentence.

    Raises:
        UsageError: it names the nearest sizes that can be used.
    """
    sides = height_and_width(size)
    if not any(side % unit for side in sides):
        return
    below = tuple(max(unit, side // unit * unit) for side in sides)
    above = tuple(-(-side // unit) * unit for side in sides)
    nearest = " or ".join(dict.fromkeys(size_text(near) for near in (below, above)))  # type: ignore[arg-type]
    raise UsageError(
        f"{what} is {size_text(sides)}, but this model needs sides that are multiples of {unit}; take {nearest}.",
        code="size-not-multiple",
    )

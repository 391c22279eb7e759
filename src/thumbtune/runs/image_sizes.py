"""The size in which each image is trained, what people must know of that, and sizes that a model cannot have."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from thumbtune.clips import usable
from thumbtune.errors import UsageError, plural
from thumbtune.feedback.clips import Clips, frames_in_each
from thumbtune.feedback.likes import sizes_of
from thumbtune.models.buckets import Placement, Shape, bucket_of, placed
from thumbtune.models.pipeline_files import units_of
from thumbtune.models.protocol import PipelineModel
from thumbtune.runs.recipe import Recipe
from thumbtune.runs.values import height_and_width_of
from thumbtune.sides import check_size, height_and_width, size_text
from thumbtune.training.cache import Cache
from thumbtune.training.encoded import Encoded

SHOWN_SIZES = 6
LONGEST_OF_SIDE = 2  # a bucket of 1:4 has twice the side of the square of its area
LOOKED_AT = 256  # rows whose files are opened for advice that training does not need
NAMED_FRAMES = 33  # of a clip at most, in advice: the example of docs/clips.md


def check_sizes(recipe: Recipe, model: str, units: tuple[int, int] | None = None) -> None:
    """Refuse sizes of a recipe that its model cannot have, as far as its VAE is known.

    Args:
        model: the folder, file or hub id of the base.
        units: of the model, in training and in drawing; None: read from its settings.

    Raises:
        UsageError: a side is no multiple of what the model needs.
    """
    trained, drawn = recipe.train.size, height_and_width_of(recipe.evaluate.size)
    if trained is None and drawn is None:
        return
    units = units or units_of(model)
    if units is None:
        return
    if trained is not None:
        check_size(trained, units[0], "train.size")
    if drawn is not None:
        check_size(drawn, units[1], "evaluate.size")


def placements_of(recipe: Recipe, model: PipelineModel, sizes: Sequence[Shape]) -> list[Placement]:
    """Return how images of these sizes, (height, width), are resized and cropped.

    Raises:
        UsageError: a bucket is longer than the table of positions of the model.
    """
    own, unit = height_and_width(recipe.train.size or model.size), model.trained_unit
    if not recipe.train.buckets:
        return [placed(size, own) for size in sizes]
    placements = [placed(size, bucket_of(size, own, unit)) for size in sizes]
    _check_longest(model, sizes, placements)
    return placements


def _check_longest(model: PipelineModel, sizes: Sequence[Shape], placements: Sequence[Placement]) -> None:
    """Refuse buckets beyond the table of positions of a model: a long image has a longer side than `train.size`."""
    longest = model.longest
    if longest is None:
        return
    image, bucket = max(
        zip(sizes, (each.bucket for each in placements), strict=True),
        key=lambda pair: max(pair[1]),
        default=((0, 0), (0, 0)),
    )
    if max(bucket) > longest:
        half = longest // LONGEST_OF_SIDE // model.trained_unit * model.trained_unit
        raise UsageError(
            f"An image of {size_text(image)} would be trained at {size_text(bucket)}, and the positions that this "
            f"model knows end at {longest} pixels to a side; set train.size to {half} or less, or train.buckets to "
            "false.",
            code="size-too-long",
        )


def sizes_to_encode(model: PipelineModel, placements: Sequence[Placement]) -> list[Shape | None]:
    """Return the size in which each image is encoded; None for the model's own."""
    own = height_and_width(model.size)
    return [None if each.bucket == own else each.bucket for each in placements]


def encoded_as_trained(recipe: Recipe, model: PipelineModel, likes: Any, cache: Cache) -> Encoded:
    """Return held-out likes in the sizes in which a recipe trains such images; nothing is encoded yet.

    Raises:
        ThumbtuneError: an image is missing.
    """
    sizes = sizes_to_encode(model, placements_of(recipe, model, sizes_of(likes)))
    return Encoded(likes, model, cache, sizes=sizes).taking(clips_of(recipe, model, likes))


def clips_of(recipe: Recipe, model: PipelineModel, likes: Any) -> Clips:
    """Return how many frames of each row a recipe trains: what its file has at the model's rate, cut for its VAE.

    Raises:
        ThumbtuneError: a file is missing, or damaged; or one is a video, and PyAV is missing.
    """
    if recipe.frames == 1:
        return Clips()
    counts = frames_in_each(likes, model.frame_rate, recipe.frames)
    return Clips([usable(count, model.frame_step) for count in counts], model.frame_rate)


def clips_note(clips: Clips) -> str | None:
    """Return a sentence if clips are asked for, and all rows are images; else None."""
    if not clips.frames or not clips.are_images:
        return None
    return (
        f"All {len(clips.frames):,} rows are images, or clips too short for two latents at {clips.rate} frames a "
        "second, so the model learns no motion; import clips, or leave frames out."
    )


def stills_note(model: PipelineModel, likes: Any) -> str | None:
    """Return a sentence if rows are clips, and a model of clips would train their first frames alone; else None.

    Of many rows it opens `LOOKED_AT`, evenly spaced.

    Raises:
        ThumbtuneError: as `clips_of`.
    """
    if model.frame_step == 1:
        return None
    looked_at = likes.select(range(0, len(likes), -(-len(likes) // LOOKED_AT))) if len(likes) > LOOKED_AT else likes
    counts = frames_in_each(looked_at, model.frame_rate, NAMED_FRAMES)
    usable_counts = [count for each in counts if (count := usable(each, model.frame_step)) > 1]
    if not usable_counts:
        return None
    sampled = f" looked at, of {len(likes):,}," if len(counts) < len(likes) else ""
    return (
        f"{len(usable_counts):,} of {plural(len(counts), 'row')}{sampled} are clips, and frames is 1, so only their "
        f"first frames are trained; set frames={max(usable_counts)} for their motion."
    )


def line_of_frames(clips: Clips) -> str:
    """Return how many rows have how many frames, the most frequent ones first, in words.

    >>> line_of_frames(Clips([81, 81, 1, 17], 16))
    '2 of 81 at 16 a second, 1 of 17, 1 image'
    """
    counts = Counter(frames for frames in clips.frames if frames > 1).most_common()
    named = [f"{count:,} of {frames}" for frames, count in counts[:SHOWN_SIZES]]
    named[:1] = [f"{each} at {clips.rate} a second" for each in named[:1]]
    more = sum(count for _, count in counts[SHOWN_SIZES:])
    images = sum(frames == 1 for frames in clips.frames)
    others = [f"{more:,} of other numbers"] if more else []
    return ", ".join([*named, *others, *([plural(images, "image")] if images else [])])


def line_of_sizes(placements: Sequence[Placement]) -> str:
    """Return how many images are trained in each size, the most frequent ones first, in words.

    >>> line_of_sizes([placed((64, 64), (64, 64)), placed((32, 96), (32, 96)), placed((70, 70), (64, 64))])
    '2 in 64x64, 1 in 96x32 (width x height in pixels)'
    """
    counts = Counter(each.bucket for each in placements).most_common()
    named = ", ".join(f"{count:,} in {size_text(size)}" for size, count in counts[:SHOWN_SIZES])
    others = counts[SHOWN_SIZES:]
    more = f", {sum(count for _, count in others):,} in {plural(len(others), 'other size')}" if others else ""
    return f"{named}{more} (width x height in pixels)"


def size_notes(likes: Any, sizes: Sequence[Shape], placements: Sequence[Placement]) -> list[str]:
    """Return a sentence on images that are too small, and one on images that are cropped by more than 5 %."""
    pairs = list(zip(sizes, placements, strict=True))
    small = [row for row, (_, each) in enumerate(pairs) if each.is_enlarged]
    cut = [row for row, (_, each) in enumerate(pairs) if each.is_cut]
    notes = []
    if small:
        notes.append(
            f"{_of(small, pairs)} too few pixels and {'is' if len(small) == 1 else 'are'} enlarged; the first is "
            f"{_named(likes, small[0], pairs)}. Leave such images out, or lower train.size."
        )
    if cut:
        notes.append(
            f"{_of(cut, pairs, 'loses', 'lose')} more than 5 % of the area by cropping; the first is "
            f"{_named(likes, cut[0], pairs)}."
        )
    return notes


def _of(rows: Sequence[int], pairs: Sequence[Any], one: str = "has", several: str = "have") -> str:
    return f"{len(rows):,} of {len(pairs):,} images {one if len(rows) == 1 else several}"


def _named(likes: Any, row: int, pairs: Sequence[tuple[Shape, Placement]]) -> str:
    """Return an image's file or id, its size, and the size in which it is trained."""
    size, placement = pairs[row]
    path = likes.select_columns(["image"]).with_format("arrow")[row : row + 1]["image"][0]["path"].as_py()
    name = path or likes[row : row + 1]["image_id"][0]
    return f"{name}, {size_text(size)}, trained in {size_text(placement.bucket)}"

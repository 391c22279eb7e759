"""A change of how prompts are read encodes prompts again, and no image; caches of earlier versions are found."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from thumbtune.models.families import adapter_of
from thumbtune.models.loading import load_pipeline
from thumbtune.models.prompt_chunks import PromptEncoding
from thumbtune.training.cache import Cache
from thumbtune.training.encoded import Encoded

FAMILIES = ["epsilon", "xl-epsilon"]
WAYS = [
    PromptEncoding(),
    PromptEncoding(over_length="chunks"),
    PromptEncoding(syntax="a1111"),
    PromptEncoding(over_length="chunks", clip_skip=2),
]
IDS, PROMPTS = ["one", "two", "three"], ["a cat", "a dog", "a cat"]


def counted(own: Callable[..., Any], counts: dict[str, int], name: str) -> Callable[..., Any]:
    def counting(items: Any, *rest: Any, **options: Any) -> Any:
        counts[name] += len(items)
        return own(items, *rest, **options)

    return counting


@pytest.fixture(params=FAMILIES)
def encode(
    request: pytest.FixtureRequest,
    tiny_pipeline: Callable[[str], Path],
    make_likes: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., tuple[Encoded, int, int]]:
    """(way of reading, flips) -> likes in one cache, and how many images and prompts were encoded for it."""
    likes = make_likes([Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "white")], [True, False, True])
    likes = likes.remove_columns(["prompt", "image_id"]).add_column("prompt", PROMPTS).add_column("image_id", IDS)
    pipeline = load_pipeline(str(tiny_pipeline(request.param)))

    def make(way: PromptEncoding, flips: bool = False) -> tuple[Encoded, int, int]:
        model: Any = adapter_of(pipeline)
        model.read_prompts(way)
        counts = {"encode": 0, "embed": 0}
        for name in counts:
            monkeypatch.setattr(model, name, counted(getattr(model, name), counts, name))
        encoded = Encoded(likes, model, Cache(tmp_path / "cache"), flips=flips).fill()
        return encoded, counts["encode"], counts["embed"]

    return make


def test_images_are_encoded_once_for_all_ways_of_reading(encode: Callable[..., Any]) -> None:
    first, *found = [encode(way) for way in WAYS]
    assert first[1:] == (3, 3)
    for other, images, prompts in found:
        assert (images, prompts) == (0, 3)
        assert torch.equal(other.latents(range(3)), first[0].latents(range(3)))
        for name, value in first[0].images([0, 2])[1].items():
            assert torch.equal(other.images([0, 2])[1][name], value)
    assert encode(WAYS[1], flips=True)[1:] == (3, 0)
    assert encode(WAYS[2], flips=True)[1:] == (0, 0)


def test_the_embeddings_are_those_of_each_way(encode: Callable[..., Any]) -> None:
    one, two = encode(WAYS[0])[0], encode(PromptEncoding(clip_skip=2))[0]
    again = encode(WAYS[0])
    assert again[1:] == (0, 0)
    for name, value in one.condition(["a cat"]).items():
        assert torch.equal(again[0].condition(["a cat"])[name], value)
    assert one.model.fingerprint() != two.model.fingerprint()
    assert one.model.fingerprints()[0] == one.model.fingerprint() == two.model.fingerprints()[0]

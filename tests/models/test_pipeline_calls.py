"""`predict` asks a network what its pipeline asks it, and `generate` gives the images of its pipeline."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_transformers import BUILDERS
from torch import Tensor

from thumbtune.models.protocol import Sampler

PROMPTS, SEEDS = ["a cat", "red dog in the snow"], [3, 14]
NAMES = ["epsilon", "v_prediction", "xl-epsilon", *BUILDERS]
GUIDED_BY_NUMBER = {"flux", "flux2"}  # they have no unconditional call


class Captured:
    """The rows that a model's networks answer inside the `with` block, call by call."""

    def __init__(self, model: Any) -> None:
        self.calls: list[list[Tensor]] = []
        self._hooks = [network.register_forward_hook(self._keep) for network in model.networks.values()]

    def _keep(self, _network: Any, _inputs: Any, output: Any) -> None:
        first = output[0] if isinstance(output, tuple) else output.sample
        self.calls.append([row.detach().clone() for row in first])

    def __enter__(self) -> "Captured":
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()


def of_pipeline(model: Any, guidance: float) -> Captured:
    with Captured(model) as calls:
        model.generate(PROMPTS, SEEDS, Sampler(steps=2, guidance=guidance))
    return calls


def ours(model: Any, prompts: list[str]) -> list[Tensor]:
    """The network's rows at the pipeline's first time, for its initial noise."""
    images = [Image.new("RGB", (model.size, model.size))] * len(SEEDS)
    shape = model.encode(images[:1]).shape[1:]
    noise = torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in SEEDS])
    t = model.pipeline.scheduler.timesteps[:1].expand(len(SEEDS))
    with Captured(model) as calls, torch.no_grad():
        model.predict(noise, t, model.embed(prompts) | model.image_condition(images))
    return calls.calls[0]


def is_close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_predict_asks_what_the_pipeline_asks(name: str, make_diffusion: Callable[..., Any]) -> None:
    model = make_diffusion(name)
    theirs = of_pipeline(model, 1.0).calls[0]
    found = ours(model, PROMPTS)
    assert len(theirs) == len(found) == len(SEEDS)
    assert all(map(is_close, found, theirs))
    assert not is_close(*found)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in GUIDED_BY_NUMBER])
def test_no_prompt_is_what_the_pipeline_guides_away_from(name: str, make_diffusion: Callable[..., Any]) -> None:
    model = make_diffusion(name)
    theirs = of_pipeline(model, 3.0)
    rows = [row for call in theirs.calls for row in call][: 2 * len(SEEDS)]  # of the first step, in one call or two
    for found in (ours(model, PROMPTS), ours(model, [""] * len(SEEDS))):
        assert all(any(is_close(one, other) for other in rows) for one in found)


def drawn_by_the_pipeline(model: Any, sampler: Sampler, **options: Any) -> Any:
    """The pixels that a model's own pipeline draws, 0 to 1; `options` go before those of the adapter."""
    return model.pipeline(
        **model.texts(PROMPTS, sampler),
        **{**model.guided(sampler.guidance), **options},
        num_inference_steps=sampler.steps,
        height=model.size,
        width=model.size,
        generator=[torch.Generator().manual_seed(seed) for seed in SEEDS],
        output_type="np",
    )[0]


@pytest.mark.parametrize("name", NAMES)
def test_images_are_those_of_the_pipeline(name: str, make_diffusion: Callable[..., Any]) -> None:
    model = make_diffusion(name)
    sampler = Sampler(steps=2, guidance=1.0 if name in GUIDED_BY_NUMBER else 3.0)
    images = model.generate(PROMPTS, SEEDS, sampler)
    theirs = drawn_by_the_pipeline(model, sampler)
    for image, their in zip(images, theirs.reshape(len(SEEDS), model.size, model.size, 3), strict=True):
        assert np.abs(np.array(image).astype(int) - 255 * their).max() <= 1


@pytest.mark.parametrize(("name", "guidance"), [("z-image", 0.0), ("krea2", 0.0), ("klein", 1.0), ("sd3", 1.0)])
def test_a_guidance_of_1_is_none_in_every_pipeline(
    name: str, guidance: float, make_diffusion: Callable[..., Any]
) -> None:
    model = make_diffusion(name)
    assert model.guided(1.0) == {"guidance_scale": guidance}
    assert len(of_pipeline(model, 1.0).calls) == 2  # one call a step
    assert sum(map(len, of_pipeline(model, 3.0).calls)) == 2 * 2 * len(SEEDS)

"""Gradient checkpointing changes no output and no gradient, of any family, with masks of prompts of unequal lengths."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tiny_transformers import BUILDERS
from torch import Tensor

from thumbtune.models.families import adapter_of
from thumbtune.models.loading import load_pipeline
from thumbtune.models.lora import LoRA


def output_and_gradients(model: Any) -> tuple[Tensor, list[Tensor]]:
    images = [Image.new("RGB", (model.size, model.size))] * 2
    shape = model.encode(images[:1]).shape[1:]
    noisy = torch.randn(2, *shape, generator=torch.Generator().manual_seed(5))
    condition = model.embed(["a cat", "red dog in the snow"]) | model.image_condition(images)
    out = model.predict(noisy, torch.tensor([40, 900]), condition)
    out.pow(2).sum().backward()
    return out.detach(), [weight.grad for _, weight in model.trainable()]


def assert_equal_gradients(plain: tuple[Tensor, list[Any]], again: tuple[Tensor, list[Any]]) -> None:
    """Compare outputs and gradients, without checkpointing and with it; the gradients are not all small."""
    torch.testing.assert_close(again[0], plain[0], rtol=1e-5, atol=1e-5)
    for one, other in zip(plain[1], again[1], strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)
    assert max(gradient.abs().max() for gradient in plain[1]) > 0.01


@pytest.mark.parametrize("name", ["epsilon", "xl-epsilon", *BUILDERS])
def test_it_changes_nothing(name: str, tiny_pipeline: Callable[[str], Path], perturb: Callable[..., None]) -> None:
    results = []
    for checkpointing in (False, True):
        pipeline = load_pipeline(str(tiny_pipeline(name)))
        model = adapter_of(pipeline, LoRA(rank=2), gradient_checkpointing=checkpointing)
        assert pipeline.components[model.family.denoiser].is_gradient_checkpointing == checkpointing
        model.size = 32
        perturb(model)
        results.append(output_and_gradients(model))
    assert_equal_gradients(*results)


def test_a_forward_pass_keeps_its_own_mask_until_its_backward_pass(
    tiny_pipeline: Callable[[str], Path], perturb: Callable[..., None]
) -> None:
    results = []
    for checkpointing in (False, True):
        model = adapter_of(
            load_pipeline(str(tiny_pipeline("chroma"))), LoRA(rank=2), gradient_checkpointing=checkpointing
        )
        perturb(model)
        loss = torch.zeros(())
        for sides, prompts in (((8, 12), ["a cat", "red dog in the snow"]), ((12, 8), ["a bird in the tree", "b"])):
            noisy = torch.randn(2, 4, *sides, generator=torch.Generator().manual_seed(5))
            loss = loss + model.predict(noisy, torch.tensor([40, 900]), model.embed(prompts)).pow(2).sum()
        loss.backward()
        results.append([weight.grad for _, weight in model.trainable()])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)

"""What several tests of models share: a tiny model of SD 1.x, and a VAE for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def base(tiny_pipeline: Callable[[str], Path]) -> str:
    return str(tiny_pipeline("epsilon"))


@pytest.fixture
def vae(base: str) -> Any:
    """A VAE of the same kind with other weights."""
    import torch
    from diffusers import AutoencoderKL

    torch.manual_seed(5)
    config = dict(AutoencoderKL.from_pretrained(base, subfolder="vae").config)
    return AutoencoderKL.from_config(config)

"""A model of points in the plane, for tests and figures: it trains in a second, without a download.

An image is one pixel, whose red and green are a point (x, y) of the unit square.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from thumbtune.files import write_tensors
from thumbtune.images import rgb
from thumbtune.models.process import Latents, Times, VPProcess
from thumbtune.models.protocol import Condition, Sampler, Size
from thumbtune.models.schedulers import betas_from, process_of

SCHEDULE = {"beta_schedule": "linear", "beta_start": 0.0005, "beta_end": 0.1, "num_train_timesteps": 100}
CENTRE, SCALE = 0.5, 4.0  # points in 0..1 -> latents near -2..2


class _Denoiser(nn.Module):
    """A small perceptron of the point and the time."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2 + 16, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2)
        )

    def forward(self, noisy: Tensor, t: Tensor) -> Tensor:
        angles = t.float()[:, None] / 100 * torch.pi * 2.0 ** torch.arange(-1, 7)
        return self.layers(torch.cat([noisy, angles.sin(), angles.cos()], dim=1))


def point(image: Image.Image) -> tuple[float, float]:
    """Return the point of an image of 1 x 1 pixel."""
    red, green, _ = rgb(image).getpixel((0, 0))  # type: ignore[misc]
    return red / 255, green / 255


def image_of_point(x: float, y: float) -> Image.Image:
    """Return the image of a point of the unit square."""
    return Image.new("RGB", (1, 1), tuple(round(255 * min(max(v, 0.0), 1.0)) for v in (x, y, 0.0)))  # type: ignore[arg-type]


class Plane:
    """The adapter: full fine-tuning, with a frozen copy as reference; prompts are ignored."""

    def __init__(self, seed: int = 0) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.denoiser = _Denoiser()
        self.network: nn.Module = self.denoiser
        process = process_of(SCHEDULE)
        assert isinstance(process, VPProcess)
        self.process = process
        self._frozen = deepcopy(self.denoiser).requires_grad_(False)
        self._first: nn.Module | None = None  # the first reference, once there is a synced one
        self._in_use: nn.Module | None = None

    def begin(self) -> "Plane":
        """Make the present weights the first reference."""
        self._frozen, self._first = deepcopy(self.denoiser).requires_grad_(False), None
        return self

    def freeze_reference(self) -> None:
        self._first = self._first or self._frozen
        self._frozen = deepcopy(self.denoiser).requires_grad_(False)

    def reference_state(self) -> dict[str, Tensor]:
        return dict(self._frozen.state_dict()) if self._first is not None else {}

    def restore_reference(self, state: dict[str, Tensor]) -> None:
        if not state:
            self._frozen, self._first = self._first or self._frozen, None
            return
        self.freeze_reference()
        self._frozen.load_state_dict(state)

    def fit(self, points: Tensor, steps: int = 1500, seed: int = 0) -> "Plane":
        """Pretrain on points [n, 2] of the unit square with the plain denoising loss; freeze and return the model."""
        clean = (points - CENTRE) * SCALE
        optimizer = torch.optim.Adam(self.denoiser.parameters(), 3e-3)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(steps):
            x = clean[torch.randint(len(clean), (256,), generator=generator)]
            t = self.process.times(torch.rand(256, generator=generator))
            noise = torch.randn(x.shape, generator=generator)
            loss = (self.denoiser(self.process.noised(x, noise, t), t) - noise).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return self.begin()

    def fingerprint(self) -> str:
        return f"plane-{CENTRE}-{SCALE}"

    def fingerprints(self) -> tuple[str, str]:
        return self.fingerprint(), self.fingerprint()

    def encode(self, images: Sequence[Image.Image], size: Size | None = None) -> Latents:
        return (torch.tensor([point(image) for image in images]) - CENTRE) * SCALE

    def image_condition(self, images: Sequence[Image.Image], size: Size | None = None) -> Condition:
        return {}

    def embed(self, prompts: Sequence[str]) -> Condition:
        return {"text": torch.zeros(len(prompts), 1)}

    def predict(self, noisy: Latents, t: Times, condition: Condition) -> Latents:
        return (self._in_use or self.network)(noisy, t)

    @contextmanager
    def _use_frozen(self) -> Iterator[None]:
        before, self._in_use = self._in_use, self._frozen
        try:
            yield
        finally:
            self._in_use = before

    def reference(self) -> AbstractContextManager[None]:
        return self._use_frozen()

    def trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        return self.denoiser.named_parameters()

    @torch.no_grad()
    def generate(self, prompts: Sequence[str], seeds: Sequence[int], sampler: Sampler) -> list[Image.Image]:
        noise = [torch.randn(2, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        points = self.denoise(torch.stack(noise), sampler.steps) / SCALE + CENTRE
        return [image_of_point(x, y) for x, y in points.tolist()]

    def denoise(self, x: Latents, steps: int) -> Latents:
        """Return samples from noise by deterministic DDIM, arXiv 2010.02502, eq. 12 with sigma = 0."""
        bar = (1 - betas_from(SCHEDULE)).cumprod(0).float()
        grid = torch.linspace(len(bar) - 1, 0, min(steps, len(bar))).long()
        for now, then in zip(grid, [*grid[1:], None], strict=True):
            t = now.expand(len(x))
            noise = self.predict(x, t, {})
            clean = self.process.clean(x, noise, t)
            x = clean if then is None else bar[then].sqrt() * clean + (1 - bar[then]).sqrt() * noise
        return x

    def save(self, folder: Path) -> None:
        write_tensors(folder / "plane.safetensors", self.denoiser.state_dict())

    def load(self, folder: Path) -> None:
        self.denoiser.load_state_dict(load_file(folder / "plane.safetensors"))

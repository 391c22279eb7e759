"""The model of the small vector world: a perceptron that denoises vectors, behind the `Model` that training asks for.

An image is 8 pixels; red, green and blue of a pixel are the digits of one number to the base 256. So vectors go through
the likes, the cache, the batches and the trainer of any training. All weights are trained.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from thumbtune.experiments.vector_world import EMBEDDING, PROMPTS, SIZE, embeddings, true_samples
from thumbtune.files import write_tensors
from thumbtune.images import rgb
from thumbtune.models.full import Full
from thumbtune.models.process import Latents, Times, VPProcess
from thumbtune.models.protocol import Condition, Sampler, Size
from thumbtune.models.schedulers import betas_from, process_of
from thumbtune.objective.baselines import GOOD_OR_BAD
from thumbtune.objective.prompt_prefix import prefixed

SCHEDULE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}  # of SD 1.5
WIDTH, FREQUENCIES = 128, 8
WEIGHTS = "vectors.safetensors"
RANGE = 16.0  # images hold numbers in -16..16, in steps of 2e-6
DIGITS, BASE = 3, 256
PREFIXES = {None: 0.0, GOOD_OR_BAD.good: 1.0, GOOD_OR_BAD.bad: -1.0}  # what the network is told of CSFT's words
BATCH, LR, DROPOUT = 256, 2e-3, 0.1  # of pretraining


def prompt_of(number: int) -> str:
    """Return the text of a prompt."""
    return f"prompt {number}"


def vector_of(image: Image.Image) -> list[float]:
    """Return the 8 numbers of an image of 8 x 1 pixels."""
    digits = rgb(image).tobytes()
    values = (int.from_bytes(digits[start : start + DIGITS]) for start in range(0, DIGITS * SIZE, DIGITS))
    return [(value / (BASE**DIGITS - 1) * 2 - 1) * RANGE for value in values]


def image_of(vector: Sequence[float]) -> Image.Image:
    """Return the image of 8 numbers; those beyond -16..16 become the nearest end, and NaN becomes 0."""
    shares = ((min(max(0.0 if math.isnan(x) else x, -RANGE), RANGE) / RANGE + 1) / 2 for x in vector)
    digits = b"".join(round(share * (BASE**DIGITS - 1)).to_bytes(DIGITS) for share in shares)
    return Image.frombytes("RGB", (SIZE, 1), digits)


class _Denoiser(nn.Module):
    """A perceptron of the noisy vector, the prompt and the time."""

    def __init__(self) -> None:
        super().__init__()
        prefix, is_given = 1, 1
        self.first = nn.Linear(SIZE + EMBEDDING + prefix + is_given + 2 * FREQUENCIES, WIDTH)
        self.rest = nn.Sequential(
            *(nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU()),
            nn.Linear(WIDTH, SIZE),
        )
        # pretraining has no prefix, so these weights stay: words that the base does not know change nothing at first
        nn.init.zeros_(self.first.weight[:, SIZE + EMBEDDING])

    def forward(self, noisy: Tensor, t: Tensor, text: Tensor) -> Tensor:
        angles = (t.float() / 1000)[:, None] * math.pi / 2 * 2.0 ** torch.arange(FREQUENCIES, device=t.device)
        is_given = (text != 0).any(1, keepdim=True).float()
        return self.rest(self.first(torch.cat([noisy, text, is_given, angles.sin(), angles.cos()], 1)))


class VectorModel:
    """The adapter. Its present weights are the reference; without `weights` they are random.

    weights: of the network, by name
    seed:    of random weights
    """

    def __init__(self, weights: Mapping[str, Tensor] | None = None, seed: int = 0) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network: nn.Module = _Denoiser()
        if weights is not None:
            self.network.load_state_dict(weights)
        process = process_of(SCHEDULE)
        assert isinstance(process, VPProcess)
        self.process = process
        self._tuned = Full().on(self.network)
        words = {prompt_of(k): row for k, row in enumerate(embeddings())}
        self._text = {"": torch.zeros(EMBEDDING + 1)} | {
            prefixed(prompt, prefix): torch.cat([row, torch.tensor([told])])
            for prompt, row in words.items()
            for prefix, told in PREFIXES.items()
        }

    def on(self, device: torch.device) -> "VectorModel":
        """Move the network to a device; return the model."""
        self.network.to(device)
        return self

    def fingerprint(self) -> str:
        return f"vectors-{SIZE}-{RANGE}-{EMBEDDING}-{PROMPTS}"

    def fingerprints(self) -> tuple[str, str]:
        return self.fingerprint(), self.fingerprint()

    def encode(self, images: Sequence[Image.Image], size: Size | None = None) -> Latents:
        return torch.tensor([vector_of(image) for image in images])

    def image_condition(self, images: Sequence[Image.Image], size: Size | None = None) -> Condition:
        return {}

    def embed(self, prompts: Sequence[str]) -> Condition:
        return {"text": torch.stack([self._text[prompt] for prompt in prompts])}

    def predict(self, noisy: Latents, t: Times, condition: Condition) -> Latents:
        return self.network(noisy, t, condition["text"])

    def reference(self) -> AbstractContextManager[None]:
        return self._tuned.reference()

    def freeze_reference(self) -> None:
        self._tuned.freeze_reference()

    def reference_state(self) -> dict[str, Tensor]:
        return self._tuned.reference_state()

    def restore_reference(self, state: dict[str, Tensor]) -> None:
        self._tuned.restore_reference(state)

    def trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        return self._tuned.trainable()

    def generate(self, prompts: Sequence[str], seeds: Sequence[int], sampler: Sampler) -> list[Image.Image]:
        noise = [torch.randn(SIZE, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return [image_of(row) for row in self.denoise(torch.stack(noise), prompts, sampler).tolist()]

    @torch.no_grad()
    def denoise(self, x: Float[Tensor, "n 8"], prompts: Sequence[str], sampler: Sampler) -> Float[Tensor, "n 8"]:
        """Return samples from noise by deterministic DDIM, arXiv 2010.02502, eq. 12 with sigma = 0, under guidance."""
        bar = (1 - betas_from(SCHEDULE)).cumprod(0).float()
        grid = torch.linspace(len(bar) - 1, 0, sampler.steps).round().long()
        device = next(self.network.parameters()).device
        x, texts = x.to(device), [self.embed(given)["text"].to(device) for given in (prompts, [""] * len(prompts))]
        for now, then in zip(grid, [*grid[1:], None], strict=True):
            t = now.to(device).expand(len(x))
            noise = self.predict(x, t, {"text": texts[0]})
            if sampler.guidance != 1:
                unguided = self.predict(x, t, {"text": texts[1]})
                noise = unguided + sampler.guidance * (noise - unguided)
            clean = self.process.clean(x, noise, t)
            x = clean if then is None else bar[then].sqrt() * clean + (1 - bar[then]).sqrt() * noise
        return x.cpu()

    def save(self, folder: Path) -> None:
        write_tensors(folder / WEIGHTS, self.network.state_dict())

    def load(self, folder: Path) -> None:
        self.network.load_state_dict(load_file(folder / WEIGHTS))


def pretrain(model: VectorModel, steps: int, seed: int) -> Iterator[int]:
    """Train on true samples of all prompts with the denoising loss; yield the number of steps after each of them.

    The learning rate falls to zero over the last three quarters. The model's reference stays as it was.
    """
    optimizer = torch.optim.Adam([weight for _, weight in model.trainable()], LR)
    generator, text = torch.Generator().manual_seed(seed), model.embed([prompt_of(k) for k in range(PROMPTS)])["text"]
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LR * min(1.0, (steps - step) / steps * 4 / 3)
        prompts = torch.randint(PROMPTS, (BATCH,), generator=generator)
        clean, noise = true_samples(prompts, generator), torch.randn(BATCH, SIZE, generator=generator)
        t = model.process.times(torch.rand(BATCH, generator=generator))
        told = text[prompts] * (torch.rand(BATCH, 1, generator=generator) >= DROPOUT)
        output = model.predict(model.process.noised(clean, noise, t), t, {"text": told})
        optimizer.zero_grad()
        (output - noise).pow(2).mean().backward()
        optimizer.step()
        yield step + 1

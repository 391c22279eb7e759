"""The base of the screen: trained once from a fixed seed, kept in the folder; its error, and the pool that it draws."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from thumbtune.errors import note
from thumbtune.experiments import vector_world
from thumbtune.experiments.vector_model import VectorModel, image_of, pretrain, prompt_of
from thumbtune.experiments.vector_world import SIZE, labels, rated
from thumbtune.feedback.likes import likes_features
from thumbtune.files import DamagedFile, sealed_tensors, sha256, write_tensors
from thumbtune.models.protocol import Sampler
from thumbtune.objective.prompt_prefix import prefixed
from thumbtune.training.progress import Progress, Sized
from thumbtune.training.sampling import seeded_generator

BASE_SEED = 1
POOL = Sampler(steps=25, guidance=1.0)  # of samples to rate: what the base draws by itself
EVALUATION = Sampler(steps=25, guidance=1.5)
ERROR_SAMPLES, EIGHTHS = 4800, 8  # samples among which errors are measured, each at a noise level of its own
HASH_DIGITS = 16


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is trained, labelled and sampled; `per_prompt`: labels on each of the 24 rated prompts."""

    pretraining: int = 6000
    per_prompt: int = 16
    samples: int = 4800

    def facts(self) -> dict[str, Any]:
        """Return what decides a row beside a recipe, as rows store it."""
        samplers = {name: [one.steps, one.guidance] for name, one in (("pool", POOL), ("evaluation", EVALUATION))}
        return {**vector_world.facts(), **asdict(self), **samplers, "base_seed": BASE_SEED}


@dataclass(frozen=True)
class Base:
    """A pretrained model's weights, their hash, and the mean errors on its own samples in each eighth of the noise."""

    weights: Mapping[str, Tensor]
    hash: str
    errors: tuple[float, ...]

    @property
    def error(self) -> float:
        """The mean error over uniform noise levels."""
        return sum(self.errors) / len(self.errors)


def base_of(folder: Path, sizes: Sizes, progress: Progress) -> Base:
    """Return the base in a folder; one that is missing, damaged or made otherwise is trained and written."""
    made_of = {**vector_world.facts(), "seed": BASE_SEED, "steps": sizes.pretraining}
    file = folder / f"base-{sha256(json.dumps(made_of).encode())[:8]}.safetensors"
    try:
        weights = sealed_tensors(file.read_bytes()) if file.exists() else None
    except DamagedFile as error:
        note(f"The base {file} was damaged ({error}) and is trained again.")
        weights = None
    if weights is None:
        weights = _pretrained(sizes, progress)
        write_tensors(file, weights)
    numbers = b"".join(weights[name].numpy().tobytes() for name in sorted(weights))
    return Base(weights, sha256(numbers)[:HASH_DIGITS], tuple(errors_of(VectorModel(weights)).tolist()))


def _pretrained(sizes: Sizes, progress: Progress) -> dict[str, Tensor]:
    model = VectorModel(seed=BASE_SEED)
    for _ in progress(Sized(pretrain(model, sizes.pretraining, BASE_SEED), sizes.pretraining), "Training the base"):
        pass
    return {name: weight.detach() for name, weight in model.trainable()}


def draw(
    model: VectorModel, prompts: Int[Tensor, "n"], sampler: Sampler, seed: tuple[str, int], prefix: str | None = None
) -> Float[Tensor, "n 8"]:
    """Return a sample of each prompt; equal seeds give equal noise to any model.

    prefix: the words before each prompt; None: no words
    """
    noise = torch.randn(len(prompts), SIZE, generator=seeded_generator(*seed))
    return model.denoise(noise, [prefixed(prompt_of(number), prefix) for number in prompts.tolist()], sampler)


@torch.no_grad()
def errors_of(model: VectorModel) -> Float[Tensor, "8"]:
    """Return the mean squared error of a model on samples of its own at rated prompts, in each eighth of the noise."""
    prompts = rated()[torch.arange(ERROR_SAMPLES) % len(rated())]
    clean = draw(model, prompts, POOL, ("error", BASE_SEED))
    noise = torch.randn(clean.shape, generator=seeded_generator("noise", BASE_SEED))
    t = model.process.times(torch.arange(ERROR_SAMPLES) / ERROR_SAMPLES)
    text = model.embed([prompt_of(number) for number in prompts.tolist()])
    squared = (model.predict(model.process.noised(clean, noise, t), t, text) - noise).pow(2).mean(1)
    return squared.view(EIGHTHS, -1).mean(1)


def labelled_pool(base: Base, seed: int, sizes: Sizes) -> Any:
    """Return the base's samples at the rated prompts with the person's labels, as a table that training reads."""
    from datasets import Dataset

    prompts = rated().repeat_interleave(sizes.per_prompt)
    samples = draw(VectorModel(base.weights), prompts, POOL, ("pool", seed))
    liked = labels(samples, prompts, seeded_generator("labels", seed))
    features = likes_features()
    columns: dict[str, Any] = {name: [None] * len(samples) for name in features}
    columns |= {
        "image": [image_of(sample) for sample in samples.tolist()],
        "image_id": [f"seed-{seed}-{place}" for place in range(len(samples))],
        "prompt": [prompt_of(number) for number in prompts.tolist()],
        "label": liked.tolist(),
        "weight": [1.0] * len(samples),
    }
    return Dataset.from_dict(columns, features=features)

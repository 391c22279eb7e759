"""A pipeline of diffusers as a `Model`: what all families share. Each family is a file in `families/`.

images   -> pixels_of -> VAE -> scaled latents        encode      the same numbers in training and in drawing
prompts  -> tokens -> text encoders                   embed       of each family
noisy latents, times, condition -> the network        predict     of each family
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from thumbtune.clips import Clip, frames_of, usable
from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.hub import INDEX
from thumbtune.images import rgb
from thumbtune.models.devices import bring, device_of
from thumbtune.models.drawing import decoded, draw, images_of
from thumbtune.models.experts import tuned
from thumbtune.models.family import VAE, Family
from thumbtune.models.fingerprints import fingerprints
from thumbtune.models.frame_vae import AXES, fitting
from thumbtune.models.half import computing, keep_range, store
from thumbtune.models.noise_levels import NoiseLevels, refused_levels
from thumbtune.models.process import Latents, Process, Times
from thumbtune.models.prompt_chunks import PromptEncoding
from thumbtune.models.protocol import Condition, Sampler, Size, Trained, Tuning
from thumbtune.models.schedulers import process_of
from thumbtune.models.sizes import drawn_unit, longest_side
from thumbtune.models.transformer_checks import check_channels, default_size
from thumbtune.models.vae_settings import has_moments
from thumbtune.sides import height_and_width

LEVELS = ("block_out_channels", "encoder_block_out_channels", "dim_mult")  # of a VAE: each but one halves the sides


class LatentDiffusion:
    """A pipeline as a `Model`. Only the weights that `tuning` chooses are trained; everything else is frozen.

    A family says what it is (`family`), embeds prompts and calls its network (`embed`, `predict`), and overrides what
    else differs.

    complete: what `generate` makes of each prompt, such as the prefix that a training put before prompts; `embed` takes
        prompts as they are.
    encoding: how prompts are read.
    half: the type in which frozen weights are stored, and all but `predict` computes, where it is not float32.
    trained_unit, unit: pixels, of which the sides of images are multiples, in training and in drawing.
    """

    family: ClassVar[Family]
    patch = 1  # positions of a latent to a side of one token of the network
    channels_together = 1  # positions of a latent whose channels the network takes as those of one
    multiple = 1  # of pixels, of which the pipeline asks for sides beside that
    positions_per_token = 1  # for a shift of noise levels that grows with the number of tokens

    def __init__(
        self,
        pipeline: Any,
        tuning: Tuning | None = None,
        seed: int = 0,
        gradient_checkpointing: bool = False,
        half: torch.dtype | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.complete: Callable[[str], str] = str
        self.encoding = PromptEncoding()
        named = {part: getattr(pipeline, part) for part in self.family.denoisers}
        self.networks: dict[str, nn.Module] = {part: network for part, network in named.items() if network is not None}
        self.network = self.joined(self.networks)
        freeze((self.network, *self.beside))
        self.half = half
        self._device: torch.device | None = None  # that of the network
        # some VAEs exceed the range of fp16
        self._half_of_vae = None if half == torch.float16 or VAE in self.family.float32 else half
        if VAE in self.family.float32:
            pipeline.vae.float()
        self._trained = tuned(tuning, self.networks, seed, self.family.experts) if tuning else None
        store((self.network, *self.encoders), half)
        if half == torch.float16:
            for encoder in self.encoders:
                keep_range(encoder)
        store((pipeline.vae,), self._half_of_vae)
        if gradient_checkpointing:
            for network in self.networks.values():
                network.enable_gradient_checkpointing()  # type: ignore[operator]
        self.process: Process = self.process_in(pipeline)
        self.trained_unit, self.unit = self.units_of(self.factor)
        self.size: Size = self.size_in(pipeline)

    # what a family says

    @classmethod
    def check_settings(cls, name: str, configs: Mapping[str, Mapping[str, Any]]) -> None:
        """Refuse a model that cannot be tuned, by the settings of its parts, before its weights are read.

        configs: of each part, and of the pipeline under `INDEX`; {} for one whose settings are not here

        Raises:
            ThumbtuneError: its networks do not fit each other, or it is distilled.
        """
        check_channels(name, configs.get(cls.family.denoiser) or {}, configs.get(VAE) or {}, cls.channels_together)

    @classmethod
    def size_in(cls, pipeline: Any) -> Size:
        """Return the pixels of a pipeline's images, once its networks were found to fit each other.

        Raises:
            ThumbtuneError: they do not.
        """
        parts = [part for part in (*cls.family.denoisers, VAE) if getattr(pipeline, part) is not None]
        configs = {INDEX: dict(pipeline.config)} | {part: dict(getattr(pipeline, part).config) for part in parts}
        cls.check_settings(str(pipeline.config.get("_name_or_path")), configs)
        return default_size(pipeline)

    def joined(self, networks: Mapping[str, nn.Module]) -> nn.Module:
        """Return the module that `predict` calls, given the networks that are trained."""
        return networks[self.family.denoiser]

    def embed(self, prompts: Sequence[str]) -> Condition:
        raise NotImplementedError

    def predict(self, noisy: Latents, t: Times, condition: Condition) -> Latents:
        raise NotImplementedError

    def facts(self) -> tuple[object, ...]:
        """Return what `encode` and `embed` depend on besides the sums of weights and the vocabularies."""
        raise NotImplementedError

    @classmethod
    def units_of(cls, factor: int) -> tuple[int, int]:
        """Return the pixels of which the sides of images are multiples, in training and in drawing.

        factor: pixels to a side of one position of a latent of the VAE
        """
        drawn = math.lcm(drawn_unit(factor * cls.patch), cls.multiple)
        return (factor if cls.patch == 1 else drawn), drawn

    @classmethod
    def positions_in(cls, config: Mapping[str, Any]) -> int | None:
        """Return the positions to a side in the network's table, by its settings; None: they say none."""
        return None

    @property
    def longest(self) -> int | None:
        """Return the longest side in pixels for which the network's table has positions; None: it has no table."""
        network: Any = next(iter(self.networks.values()))
        return longest_side(self.positions_in(network.config), self.factor * self.patch)

    @classmethod
    def factor_in(cls, vae: Mapping[str, Any]) -> int | None:
        """Return the pixels to a side of one position of a latent, by the settings of a VAE; None if they lack it."""
        if isinstance(told := vae.get("scale_factor_spatial"), int):
            return told
        levels = next((vae[name] for name in LEVELS if isinstance(vae.get(name), list | tuple) and vae[name]), None)
        return None if levels is None else 2 ** (len(levels) - 1)

    def latent_shape(self, size: Size, frames: int = 1) -> tuple[int, ...]:
        """Return the shape of the latents of images of a size: channels, those of a clip's frames, height, width."""
        height, width = height_and_width(size)
        config = self.pipeline.vae.config
        channels = config.get("latent_channels") or config.z_dim
        inside = (1 + (frames - 1) // self.frame_step,) if frames > 1 else ()
        return channels, *inside, height // self.factor, width // self.factor

    @property
    def frame_step(self) -> int:
        """Return the frames of which a clip has a multiple and one more; only of families with clips."""
        return 1

    @property
    def frame_rate(self) -> int:
        """Return the frames a second of a clip; 0 of families without clips."""
        return 0

    def image_condition(self, images: Sequence[Image.Image], size: Size | None = None) -> Condition:
        return {}

    def process_in(self, pipeline: Any) -> Process:
        """Return the noise process of a pipeline's scheduler.

        Raises:
            ThumbtuneError: it cannot be trained with.
        """
        try:
            return process_of(pipeline.scheduler.config, self.positions_per_token)
        except ValueError as error:
            raise ThumbtuneError(
                f"The model's scheduler cannot be trained with: {error}", code="model-scheduler"
            ) from error

    def moments(self) -> tuple[Any, Any]:
        """Return what latents are shifted by and then multiplied with: numbers, or tensors of a shape that fits."""
        return scaling_of(self.pipeline.vae, self.device)

    def posterior_mean(self, pixels: Tensor) -> Tensor:
        """Return the VAE's latents of pixels, [b, 3, (frames,) height, width], not yet shifted and multiplied."""
        return self.pipeline.vae.encode(pixels).latent_dist.mean

    def pixels(self, latents: Latents) -> Tensor:
        """Return the pixels of latents, [b, 3, height, width], of about -1..1."""
        shift, scale = self.moments()
        # a pipeline in half precision gives such latents
        return decoded(self.pipeline.vae, latents.float() / scale + shift, self._half_of_vae)

    def texts(self, prompts: Sequence[str], sampler: Sampler) -> Mapping[str, Any]:
        """Return what the pipeline is told of prompts, and of what images should not show."""
        negative = {"negative_prompt": [sampler.negative] * len(prompts)} if sampler.negative else {}
        return {"prompt": list(prompts), **negative}

    def guided(self, guidance: float) -> Mapping[str, Any]:
        """Return what the pipeline is told of guidance, u + guidance * (c - u), 1 for none."""
        return {"guidance_scale": guidance}

    def unpacked(self, latents: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the latents of a pipeline's result as `encode` gives them; `size` is (height, width) in pixels."""
        return latents

    @property
    def factor(self) -> int:
        """Return the pixels to a side of one position of a latent of the VAE."""
        return self.pipeline.vae_scale_factor

    def read_prompts(self, encoding: PromptEncoding) -> None:
        if not encoding.is_usual:
            raise UsageError(
                f"{self.family.name} reads prompts in one way only; leave out prompts.over_length, prompts.syntax and "
                "prompts.clip_skip.",
                code="prompts-one-way",
            )

    # what all families share

    def choose_noise_levels(self, levels: NoiseLevels) -> None:
        try:
            self.process = levels.on(self.process)
        except ValueError as error:
            raise refused_levels(str(error), self.family.name) from error

    @property
    def device(self) -> torch.device:
        """Return the device that computes."""
        return self._device or device_of(self.network)

    def to(self, device: torch.device | str) -> "LatentDiffusion":
        """Move every part to a device, and return the model."""
        self.pipeline.to(device)
        return self.on(device)

    def on(self, device: torch.device | str) -> "LatentDiffusion":
        """Compute on a device from now on, to which each part moves when it is used; return the model."""
        self._device = torch.device(device)
        return self

    @property
    def encoders(self) -> tuple[Any, ...]:
        """Return the text encoders."""
        parts = (getattr(self.pipeline, part) for part in self.family.texts)
        return tuple(part for part in parts if part is not None)

    @property
    def tokenizers(self) -> tuple[Any, ...]:
        """Return the tokenizer of each text encoder."""
        parts = (getattr(self.pipeline, part) for part in self.family.tokenizers)
        return tuple(part for part in parts if part is not None)

    @property
    def beside(self) -> tuple[nn.Module, ...]:
        """Return the networks that training needs only until all is encoded: the VAE and the text encoders."""
        return self.pipeline.vae, *self.encoders

    def rest(self) -> None:
        bring(self.device, [self.network], away=self.beside)

    def bring_encoders(self) -> None:
        """Move the text encoders to the device, after the VAE has left it."""
        bring(self.device, self.encoders, away=[self.pipeline.vae])

    def fingerprint(self) -> str:
        return self.fingerprints()[1]

    def fingerprints(self) -> tuple[str, str]:
        """Return hashes of the sizes, weights and vocabularies that `encode` and `embed` use, and of what computes."""
        facts = self.facts() if self.half is None else (*self.facts(), self.half)
        return fingerprints(facts, self.encoding.tag, self.beside, self.tokenizers, self.device)

    @torch.no_grad()
    def encode(self, images: Sequence[Image.Image], size: Size | None = None) -> Latents:
        bring(self.device, [self.pipeline.vae], away=self.encoders)
        pixels = torch.stack([self._pixels_in(image, size or self.size) for image in images]).to(self.device)
        with computing(self.device, self._half_of_vae):
            mean = self.posterior_mean(pixels).float()
        shift, scale = (fitting(moment, mean) for moment in self.moments())
        return ((mean - shift) * scale).float().cpu()

    def _pixels_in(self, image: Image.Image, size: Size) -> Tensor:
        """Return the pixels of an image, [3, height, width], or of a clip, [3, frames, height, width]."""
        frames = frames_of(image) if self.family.clips else (image,)
        frames = frames[: usable(len(frames), self.frame_step)]
        pixels = [pixels_of(frame, size) for frame in frames]
        return torch.stack(pixels, dim=1) if len(pixels) > 1 else pixels[0]

    @torch.no_grad()
    def generate(self, prompts: Sequence[str], seeds: Sequence[int], sampler: Sampler) -> list[Image.Image]:
        latents = draw(self, prompts, seeds, sampler)
        bring(self.device, [self.pipeline.vae])
        pixels = self.pixels(latents)
        if pixels.dim() < AXES:
            return images_of(self.pipeline, pixels)
        return [Clip(images_of(self.pipeline, clip.transpose(0, 1)), self.frame_rate) for clip in pixels]

    @property
    def trained(self) -> Trained:
        """Return the trained part of the network.

        Raises:
            ThumbtuneError: the model was loaded for generating images only.
        """
        if self._trained is None:
            raise ThumbtuneError(
                "This model was loaded without a tuning, so it cannot be trained; pass LoRA() or Full() as its tuning.",
                code="model-not-trainable",
            )
        return self._trained

    def reference(self) -> AbstractContextManager[None]:
        return self.trained.reference()

    def freeze_reference(self) -> None:
        self.trained.freeze_reference()

    def reference_state(self) -> dict[str, Tensor]:
        return self.trained.reference_state()

    def restore_reference(self, state: dict[str, Tensor]) -> None:
        self.trained.restore_reference(state)

    def trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        return self.trained.trainable()

    def save(self, folder: Path) -> None:
        self.trained.save(folder)

    def load(self, folder: Path) -> None:
        self.trained.load(folder)


def freeze(networks: Iterable[nn.Module]) -> None:
    """Train none of the networks, and use them as they are used to draw."""
    for network in networks:
        network.requires_grad_(False)
        network.eval()


def pixels_of(image: Image.Image, size: Size) -> Tensor:
    """Return an image as centre-cropped and resized RGB in -1..1, [3, height, width], on white."""
    image = rgb(image)
    height, width = height_and_width(size)
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 127.5 - 1


def ids_of(tokenizer: Any, prompts: Sequence[str], device: torch.device) -> Tensor:
    """Return the tokens of prompts, cut or padded to the tokenizer's length, [b, tokens]."""
    tokens = tokenizer(
        list(prompts),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    return tokens.input_ids.to(device)


def scaling_of(vae: Any, device: torch.device) -> tuple[Any, Any]:
    """Return what encoded latents are shifted by, and what they are then multiplied with; decoding does the reverse.

    Returns:
        Two numbers; or two tensors, [1, channels, 1, 1], of a VAE with a mean and a deviation for each channel.
    """
    if not has_moments(vae.config):
        return vae.config.get("shift_factor") or 0.0, vae.config.scaling_factor
    numbers = (vae.config["latents_mean"], vae.config["latents_std"])
    mean, deviation = (torch.tensor(one, device=device).view(1, -1, 1, 1) for one in numbers)
    return mean, vae.config.scaling_factor / deviation


def moments_in(vae: Any) -> tuple[object, ...]:
    """Return the mean and the deviation of each channel of a VAE's latents, for hashes; () if there are none."""
    return (list(vae.config["latents_mean"]), list(vae.config["latents_std"])) if has_moments(vae.config) else ()

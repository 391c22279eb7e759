"""SD 1.x and 2.x through diffusers: a UNet, an AutoencoderKL, a CLIP text encoder, a tokenizer and a scheduler."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from thumbtune.errors import ThumbtuneError
from thumbtune.images import rgb
from thumbtune.models.pipeline_files import Size, check_configs, check_pipeline, height_and_width, size_of
from thumbtune.models.process import Latents, Times, process_of
from thumbtune.models.protocol import Condition, Sampler, Trained, Tuning


def load_pipeline(name: str, dtype: torch.dtype = torch.float32) -> Any:
    """Return a StableDiffusionPipeline from a folder or a hub id; weights from safetensors only.

    Raises:
        ThumbtuneError: the model does not exist, cannot be reached, or is of another family or for another task.
    """
    from diffusers import StableDiffusionPipeline
    from diffusers.utils import logging

    logging.disable_progress_bar()  # five bars, each gone too soon to read
    variant = {"variant": found} if (found := check_pipeline(name)) else {}
    try:
        pipeline = StableDiffusionPipeline.from_pretrained(
            name, dtype=dtype, use_safetensors=True, safety_checker=None, requires_safety_checker=False, **variant
        )
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise ThumbtuneError(
            f"The model {name!r} could not be loaded ({_reason(name, error)}); give a folder in diffusers' layout, "
            "a hub id that this machine can reach, or `tiny-emoji-64`.",
            code="model-unloadable",
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _reason(name: str, error: Exception) -> str:
    """Return briefly why a model did not load; diffusers reports an unreachable hub as a missing cache."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if not Path(name).exists() and "not fully cached" in str(error):
        if isinstance(error.__cause__, GatedRepoError):
            return "the Hugging Face hub has it behind a gate: accept its terms there, then log in with `hf auth login`"
        if isinstance(error.__cause__, RepositoryNotFoundError):
            return "there is no such folder, and the Hugging Face hub has none of that name, or a private one"
        return "there is no such folder, and the Hugging Face hub could not be reached"
    return str(error).strip().split("\n")[0][:200]


def _hardware(device: torch.device) -> str:
    """Return the name of what computes on a device: the GPU, or the instructions of the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} {torch.backends.cpu.get_cpu_capability()}"


class StableDiffusion:
    """SD 1.x and 2.x as a `Model`. Only the weights that `tuning` chooses are trained; everything else is frozen.

    Shapes: latents [b, channels, height / f, width / f]; condition {"text": [b, tokens, width]}.

    complete: what `generate` makes of each prompt, such as the prefix that a training put before prompts; `embed` takes
        prompts as they are.
    """

    def __init__(
        self, pipeline: Any, tuning: Tuning | None = None, seed: int = 0, gradient_checkpointing: bool = False
    ) -> None:
        self.pipeline = pipeline
        self.complete: Callable[[str], str] = str
        name, unet, vae = str(pipeline.config.get("_name_or_path")), pipeline.unet.config, pipeline.vae.config
        for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
            part.requires_grad_(False)
            part.eval()
        self.network: nn.Module = pipeline.unet
        self._trained = tuning.on(pipeline.unet, seed) if tuning else None
        if gradient_checkpointing:
            pipeline.unet.enable_gradient_checkpointing()
        try:
            self.process = process_of(pipeline.scheduler.config)
        except ValueError as error:
            raise ThumbtuneError(
                f"The model's scheduler cannot be trained with: {error}", code="model-scheduler"
            ) from error
        check_configs(name, unet, vae, pipeline.text_encoder.config.to_dict())
        self.size: Size = size_of(name, unet, vae, pipeline.vae_scale_factor)

    @property
    def device(self) -> torch.device:
        """Return the device of the network."""
        return self.pipeline.unet.device

    def to(self, device: torch.device | str) -> "StableDiffusion":
        """Move every part to a device, and return the model."""
        self.pipeline.to(device)
        return self

    def fingerprint(self) -> str:
        """Return a hash of the sizes, weights and vocabulary that `encode` and `embed` use, and of what computes them.

        The last bits of a latent are those of the hardware and of the version of torch.
        """
        vae, tokenizer = self.pipeline.vae.config, self.pipeline.tokenizer
        sizes = (self.size, vae.scaling_factor, getattr(vae, "shift_factor", None), tokenizer.model_max_length)
        digest = hashlib.sha256(str((*sizes, torch.__version__, _hardware(self.device))).encode())
        for part in (self.pipeline.vae, self.pipeline.text_encoder):
            for name, weight in part.state_dict().items():
                digest.update(f"{name}{tuple(weight.shape)}{weight.cpu().double().sum().item():.9e}".encode())
        digest.update(str(sorted(tokenizer.get_vocab().items())).encode())
        return digest.hexdigest()

    def _pixels(self, image: Image.Image) -> Tensor:
        """Return an image as centre-cropped and resized RGB in -1..1, [3, height, width], on white."""
        image = rgb(image)
        height, width = height_and_width(self.size)
        if image.size != (width, height):
            image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 127.5 - 1

    @torch.no_grad()
    def encode(self, images: Sequence[Image.Image]) -> Latents:
        vae = self.pipeline.vae
        pixels = torch.stack([self._pixels(image) for image in images]).to(self.device, vae.dtype)
        latents = vae.encode(pixels).latent_dist.mean - (getattr(vae.config, "shift_factor", None) or 0.0)
        return (latents * vae.config.scaling_factor).float().cpu()

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Condition:
        tokens = self.pipeline.tokenizer(
            list(prompts),
            padding="max_length",
            max_length=self.pipeline.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        text = self.pipeline.text_encoder(tokens.input_ids.to(self.device))
        return {"text": text.last_hidden_state.float().cpu()}

    def predict(self, noisy: Latents, t: Times, condition: Condition) -> Latents:
        return self.network(noisy, t, encoder_hidden_states=condition["text"], return_dict=False)[0]

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

    @torch.no_grad()
    def generate(self, prompts: Sequence[str], seeds: Sequence[int], sampler: Sampler) -> list[Image.Image]:
        height, width = height_and_width(sampler.size or self.size)
        pixels = self.pipeline(
            [self.complete(prompt) for prompt in prompts],
            num_inference_steps=sampler.steps,
            guidance_scale=sampler.guidance,
            height=height,
            width=width,
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            output_type="np",
        ).images
        if not np.isfinite(pixels).all():  # Pillow would make them black, and a scorer would score that
            raise ThumbtuneError(
                "The model generates NaN or infinite values and no image; check its weights and those of its LoRA.",
                code="model-not-finite",
            )
        return self.pipeline.image_processor.numpy_to_pil(pixels)

    def save(self, folder: Path) -> None:
        self.trained.save(folder)

    def load(self, folder: Path) -> None:
        self.trained.load(folder)

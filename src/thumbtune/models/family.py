"""What is known of a family of pipelines before any weights: how a folder of it is told, loaded and checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from thumbtune.models.lora_targets import PRESETS
from thumbtune.models.vae_settings import SCALING

SCHEDULER, SCHEDULER_CONFIG = "scheduler", "scheduler_config.json"
OWN_FAMILIES = (
    "Thumbtune reads Stable Diffusion 1.x, 2.x, XL and 3, FLUX.1, FLUX.2, FLUX.2 Klein, Krea 2, Z-Image, Qwen-Image, "
    "Chroma, Sana, PixArt-Sigma, Lumina-Image 2.0, Wan and LTX-Video 0.9 (docs/own-family.md says how to add one)"
)
UNET, TRANSFORMER, TRANSFORMER_2, VAE = "unet", "transformer", "transformer_2", "vae"
TEXT, TEXT_2, TEXT_3 = "text_encoder", "text_encoder_2", "text_encoder_3"
CLIP, CLIP_2, T5 = "CLIPTextModel", "CLIPTextModelWithProjection", "T5EncoderModel"


@dataclass(frozen=True, kw_only=True)
class Family:
    """A family of pipelines.

    name:       what people call it
    classes:    what `_class_name` in model_index.json may be, with * for any letters
    hub:        what names of its models on the hub contain, in small letters; it counts where the hub does not answer
    pipeline:   the class of diffusers that loads it
    networks:   the parts with weights, and the only classes that the adapter understands; the one that is trained first
    experts:    the networks that are trained where a pipeline has several, by part, and what people call each of them
    tokenizers: one for each text encoder, in the same order
    embeds:     what the UNet adds to its time (addition_embed_type)
    options:    what the pipeline's class is told when it loads a model
    float32:    the parts that give NaN or black images in half precision
    scaling:    by which latents are multiplied, where a model has no VAE of its own that says it
    moments:    whether its pipeline reads the mean and the deviation of latents in the settings of a VAE
    optional:   the parts that a pipeline may lack
    targets:    the layers of each set that a LoRA may have
    own_file:   whether ComfyUI needs a LoRA in a file of its own; else it reads the file for diffusers
    native:     what to replace in the names of layers for that file, in this order
    comfyui:    whether ComfyUI reads a LoRA of this family at all
    reads:      the tokenizer whose text counts, and its tokens; None: each tokenizer has its own length
    guidance:   in drawing, u + guidance * (c - u), or the number that the network takes; the default of the pipeline
    steps:      of drawing; the default of the pipeline
    clips:      whether its images may have frames
    """

    name: str
    classes: Sequence[str]
    pipeline: str
    networks: Mapping[str, str]
    hub: str | None = None
    experts: Mapping[str, str] = field(default_factory=dict)
    tokenizers: Sequence[str] = ("tokenizer",)
    embeds: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    float32: Sequence[str] = ()
    scaling: float = SCALING
    moments: bool = False
    optional: Sequence[str] = ()
    targets: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: PRESETS)
    own_file: bool = False
    native: Sequence[tuple[str, str]] = ()
    comfyui: bool = True
    reads: tuple[str, int] | None = None
    guidance: float = 7.5
    steps: int = 50
    clips: bool = False

    @property
    def architecture(self) -> str:
        """Return its name in the header of a LoRA.

        >>> Family(name="FLUX.2 Klein", classes=(), pipeline="", networks={}).architecture
        'flux.2-klein'
        """
        return self.name.lower().replace(" ", "-")

    @property
    def denoiser(self) -> str:
        """Return the name of the network that is trained, of several the first."""
        return next(iter(self.networks))

    @property
    def denoisers(self) -> list[str]:
        """Return the names of all networks that are trained."""
        return list(self.experts) or [self.denoiser]

    @property
    def texts(self) -> list[str]:
        """Return the names of the text encoders."""
        return [part for part in self.networks if part.startswith(TEXT)]

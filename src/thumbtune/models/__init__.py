"""Networks behind one protocol, and their noise processes. These names are for users.

    from thumbtune.models import LoRA, adapter_of, load_pipeline

families     adapter_of(load_pipeline(NAME)) gives one of these: StableDiffusion (SD 1.x and 2.x) · StableDiffusionXL
             · Plane, of points; `Model` is their protocol
tuning       LoRA · Full; `Tuning` is their protocol
processes    VPProcess · FlowProcess, and process_of a scheduler's config; `Process` is their protocol
sampling     Sampler: denoising steps, guidance and size of images to generate
loading      ModelOptions: a VAE of one's own, what files do not say; PromptEncoding: how prompts are read
"""

from thumbtune.models.families import adapter_of
from thumbtune.models.families.stable_diffusion import StableDiffusion
from thumbtune.models.families.stable_diffusion_xl import StableDiffusionXL
from thumbtune.models.full import Full
from thumbtune.models.loading import load_pipeline
from thumbtune.models.lora import LoRA
from thumbtune.models.model_options import ModelOptions
from thumbtune.models.plane import Plane
from thumbtune.models.process import FlowProcess, Process, VPProcess
from thumbtune.models.prompt_chunks import PromptEncoding
from thumbtune.models.protocol import Model, Sampler, Tuning
from thumbtune.models.schedulers import process_of

__all__ = [
    "FlowProcess",
    "Full",
    "LoRA",
    "Model",
    "ModelOptions",
    "Plane",
    "Process",
    "PromptEncoding",
    "Sampler",
    "StableDiffusion",
    "StableDiffusionXL",
    "Tuning",
    "VPProcess",
    "adapter_of",
    "load_pipeline",
    "process_of",
]

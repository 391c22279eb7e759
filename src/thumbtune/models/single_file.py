"""A whole checkpoint in one .safetensors file, in the original (LDM) layout: SD 1.x, SD 2.x and SDXL.

The names, shapes and metadata in the file's header give every setting, so that nothing is asked of the hub; diffusers
converts the weights. Numbers of heads are no shape: they are those of the published models.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from thumbtune.errors import ThumbtuneError
from thumbtune.hub import INDEX
from thumbtune.models.clip_tokens import CLIP_LENGTH, WORDS, clip_tokenizer
from thumbtune.models.early_names import named_as_today, today
from thumbtune.models.model_options import EPSILON, V
from thumbtune.models.told_prediction import told_by_checkpoint
from thumbtune.models.vae_settings import SCALING, SCALING_OF_XL, of_shapes, published
from thumbtune.models.weight_files import is_checkpoint, keys_in, metadata_in, refuse_as_model

Shapes = Mapping[str, tuple[int, ...]]
UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP_L, OPEN_CLIP = "cond_stage_model.transformer.text_model.", "cond_stage_model.model."
XL_L, XL_G = "conditioner.embedders.0.transformer.text_model.", "conditioner.embedders.1.model."
REFINER = "conditioner.embedders.0.model."
SD1, SD2, SDXL = "Stable Diffusion 1.x", "Stable Diffusion 2.x", "Stable Diffusion XL"
HEAD = 64  # numbers of one head, in all text encoders and in the UNets of SD 2.x and SDXL
SD1_HEADS = 8
SD2_WHOLE, SD2_USED = 24, 23  # layers of the text encoder: of the last one but one, SD 2.x takes the output
SCALINGS = {SD1: SCALING, SD2: SCALING, SDXL: SCALING_OF_XL}
PIPELINES = {SD1: "StableDiffusionPipeline", SD2: "StableDiffusionPipeline", SDXL: "StableDiffusionXLPipeline"}
SCHEDULERS = {SD1: "PNDMScheduler", SD2: "DDIMScheduler", SDXL: "EulerDiscreteScheduler"}
PADS = {SD1: ["<|endoftext|>"], SD2: ["!"], SDXL: ["<|endoftext|>", "!"]}
EDM = ("edm_", "edm_vpred.")  # tensors beside the networks that name the schedule
CONDITION = 6  # sizes and crops that SDXL is told


@dataclass(frozen=True)
class Plan:
    """What a file holds.

    family:     SD1, SD2 or SDXL
    configs:    the settings of each part, as diffusers and transformers write them
    tokenizers: the padding of each tokenizer
    is_told:    whether it is known what the UNet predicts; if not, the settings are those for noise
    has_vae:    whether the file has a VAE; if not, its settings are those of its family's
    """

    family: str
    configs: Mapping[str, dict[str, Any]]
    tokenizers: Mapping[str, str]
    is_told: bool = True
    has_vae: bool = True

    @property
    def pipeline(self) -> str:
        """Return the name of diffusers' class."""
        return PIPELINES[self.family]


def plan_of(file: Path, prediction: str | None = None, vae: Mapping[str, Any] | None = None) -> Plan:
    """Return the settings of a checkpoint, from its header alone.

    Args:
        file: a whole checkpoint in .safetensors.
        prediction: what the UNet predicts, as diffusers writes it; None: what the file says.
        vae: the settings of a VAE in the place of the file's own.

    Raises:
        ThumbtuneError: it is no checkpoint, a part beside the VAE is missing, or its vocabulary is not CLIP's.
    """
    if not is_checkpoint(file):
        refuse_as_model(file)
    shapes = {today(key): shape for key, shape in keys_in(file).items()}
    if any(key.startswith(EDM) for key in shapes):
        raise ThumbtuneError(
            f"{file} was trained on an EDM schedule, as Playground v2.5 and CosXL, which training does not know; name "
            "another model.",
            code="single-edm",
        )
    family, has_vae, texts = check_shapes(file, shapes)
    told = prediction or told_by_checkpoint(file) or (EPSILON if family != SD2 else None)
    scheduler = _scheduler(shapes, family, told or EPSILON)
    size = _pixels(file, family, scheduler["prediction_type"])
    own = published(SCALINGS[family]) | (of_shapes(_inside(shapes, VAE)) if has_vae else {}) | {"sample_size": size}
    used = {**(vae or own)}
    factor = 2 ** (len(used["block_out_channels"]) - 1)
    unet = _unet(shapes, family, size // factor, texts)
    configs = {"unet": unet, "vae": used, **texts, "scheduler": scheduler}
    pads = zip(("tokenizer", "tokenizer_2"), PADS[family], strict=False)
    return Plan(family, configs, dict(pads), told is not None, has_vae)


def check_shapes(file: Path, shapes: Shapes) -> tuple[str, bool, dict[str, dict[str, Any]]]:
    """Return the family of a checkpoint, whether it has a VAE, and the settings of its text encoders.

    Args:
        file: that has them, or will have them.
        shapes: of its tensors, in the original names of today.

    Raises:
        ThumbtuneError: a part beside the VAE is missing, or its vocabulary is not CLIP's.
    """
    family = _family(file, shapes)
    has_vae = _check_parts(file, shapes, family)
    texts = _texts(shapes, family)
    if words := next((text["vocab_size"] for text in texts.values() if text["vocab_size"] != WORDS), None):
        raise ThumbtuneError(
            f"The text encoder in {file} knows {words:,} tokens, and CLIP's vocabulary has {WORDS:,}; get the model as "
            "a folder in diffusers' layout, which has its own tokenizer.",
            code="single-vocabulary",
        )
    return family, has_vae, texts


def refuse_untold(file: Path, plan: Plan) -> None:
    """Refuse a checkpoint if it is not known what it predicts.

    Raises:
        ThumbtuneError: it is not.
    """
    if not plan.is_told:
        raise ThumbtuneError(
            f"{file} is a {SD2} checkpoint that does not say whether it predicts noise (512 pixels) or v (768 pixels); "
            "set prediction=NAME (--prediction NAME), v or epsilon, or write `model: {params: {parameterization: v}}`, "
            f"with `eps` for noise, into {file.with_suffix('.yaml').name} beside it.",
            code="single-prediction",
        )


def refuse_without_vae(file: Path, plan: Plan) -> None:
    """Refuse a checkpoint without a VAE.

    Raises:
        ThumbtuneError: it has none.
    """
    if not plan.has_vae:
        raise ThumbtuneError(
            f"{file} is a {plan.family} checkpoint without a VAE; set vae=NAME (--vae NAME), which may be a folder, a "
            "hub id or a .safetensors file, or get the file that holds the whole model.",
            code="single-part-missing",
        )


def load(file: Path, dtype: torch.dtype = torch.float32, prediction: str | None = None, vae: Any = None) -> Any:
    """Return the pipeline of a checkpoint, converted by diffusers; the hub is not asked.

    Args:
        file: a whole checkpoint in .safetensors.
        dtype: of the weights.
        prediction: as in `plan_of`.
        vae: a VAE in the place of the file's own.

    Raises:
        ThumbtuneError: as `plan_of`; it does not say what it predicts; or weights are missing or of other shapes.
    """
    import diffusers

    plan = plan_of(file, prediction, None if vae is None else dict(vae.config))
    refuse_untold(file, plan)
    given: dict[str, Any] = {name: clip_tokenizer(pad) for name, pad in plan.tokenizers.items()}
    if vae is None:
        refuse_without_vae(file, plan)
    else:
        given["vae"] = vae
    with TemporaryDirectory() as folder, named_as_today(file) as named, _quiet():
        write_configs(plan, Path(folder))
        try:
            pipeline = getattr(diffusers, plan.pipeline).from_single_file(
                str(named), config=folder, local_files_only=True, dtype=dtype, **given
            )
            _complete(pipeline, plan)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
            why = "some of its weights are missing" if "meta tensor" in str(error) else str(error).strip()[:200]
            raise ThumbtuneError(
                f"{file} is a {plan.family} checkpoint that could not be read ({why}); get the "
                "file again, or the model as a folder in diffusers' layout.",
                code="single-unreadable",
            ) from error
    pipeline.register_to_config(_name_or_path=str(file))  # the folder of settings is gone
    return pipeline


def write_configs(plan: Plan, folder: Path) -> None:
    """Write the settings as a folder in diffusers' layout, without weights."""
    index: dict[str, Any] = {"_class_name": plan.pipeline}
    for part, config in plan.configs.items():
        library = "transformers" if part.startswith("text") else "diffusers"
        index[part] = [library, config.get("_class_name") or config["architectures"][0]]
        (folder / part).mkdir()
        name = "scheduler_config.json" if part == "scheduler" else "config.json"
        (folder / part / name).write_text(json.dumps(config), encoding="utf-8")
    index |= {name: ["transformers", "CLIPTokenizer"] for name in plan.tokenizers}
    if plan.family == SDXL:
        index["force_zeros_for_empty_prompt"] = True
    else:
        index |= {"safety_checker": [None, None], "feature_extractor": [None, None], "requires_safety_checker": False}
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep diffusers from warning of parts that it should keep in float32, of which it names none."""
    from diffusers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _complete(pipeline: Any, plan: Plan) -> None:
    """Refuse weights that the file lacks, which diffusers leaves without values; copy the others to aligned memory.

    Where a weight begins in the file decides the last bits of a product, and a folder's weights are aligned.
    """
    for part in plan.configs:
        network = getattr(pipeline, part)
        if isinstance(network, torch.nn.Module):
            for key, weight in network.named_parameters():
                if weight.is_meta:
                    raise ValueError(f"its {part} lacks {key}")
                weight.data = weight.data.clone()


def _family(file: Path, shapes: Shapes) -> str:
    if any(key.startswith(REFINER) for key in shapes):
        raise ThumbtuneError(
            f"{file} is the refiner of Stable Diffusion XL, which only finishes images; name the base model.",
            code="single-refiner",
        )
    if f"{UNET}label_emb.0.0.weight" in shapes:
        return SDXL
    linear = len(shapes.get(_first(shapes, r"input_blocks\.\d+\.1\.proj_in\.weight"), ())) == 2  # noqa: PLR2004
    return SD2 if any(key.startswith(OPEN_CLIP) for key in shapes) or linear else SD1


def _check_parts(file: Path, shapes: Shapes, family: str) -> bool:
    """Refuse a file without a UNet or a text encoder; return whether it has a VAE."""
    needed = {"a UNet": [f"{UNET}out.2.weight", f"{UNET}input_blocks.1.0.out_layers.3.weight"]}
    needed["a VAE"] = [f"{VAE}decoder.conv_in.weight", f"{VAE}encoder.conv_out.weight"]
    texts = {SD1: [CLIP_L], SD2: [OPEN_CLIP], SDXL: [XL_L, XL_G]}[family]
    ends = {CLIP_L: "final_layer_norm.weight", XL_L: "final_layer_norm.weight"}
    needed["a text encoder"] = [f"{text}{ends.get(text, 'ln_final.weight')}" for text in texts]
    missing = [part for part, keys in needed.items() if any(key not in shapes for key in keys)]
    if missing not in ([], ["a VAE"]):
        raise ThumbtuneError(
            f"{file} is a {family} checkpoint without {' and '.join(missing)}; get the file that holds the whole "
            "model, or the model as a folder in diffusers' layout.",
            code="single-part-missing",
        )
    return not missing


def _first(shapes: Shapes, pattern: str) -> str:
    return next((key for key in shapes if re.fullmatch(re.escape(UNET) + pattern, key)), "")


def _inside(shapes: Shapes, prefix: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes whose names begin so, without that beginning."""
    return {key.removeprefix(prefix): shape for key, shape in shapes.items() if key.startswith(prefix)}


def _count(shapes: Shapes, prefix: str) -> int:
    """Return how many numbers follow a prefix in the names."""
    return len({key.removeprefix(prefix).split(".")[0] for key in shapes if key.startswith(prefix)})


def _unet(shapes: Shapes, family: str, size: int, texts: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    own = _inside(shapes, UNET)
    inputs = _count(own, "input_blocks.")
    downs = [i for i in range(inputs) if f"input_blocks.{i}.0.op.weight" in own]
    layers = (downs[0] if downs else inputs) - 1
    starts = [1 + block * (layers + 1) for block in range(len(downs) + 1)]
    channels = [own[f"input_blocks.{i}.0.out_layers.3.weight"][0] for i in starts]
    depths = [_count(own, f"input_blocks.{i}.1.transformer_blocks.") for i in starts]
    keys = next(shape for key, shape in own.items() if key.endswith(".attn2.to_k.weight"))
    linear = next(len(shape) for key, shape in own.items() if key.endswith(".proj_in.weight")) == 2  # noqa: PLR2004
    config: dict[str, Any] = {
        "_class_name": "UNet2DConditionModel",
        "sample_size": size,
        "in_channels": own["input_blocks.0.0.weight"][1],
        "out_channels": own["out.2.weight"][0],
        "block_out_channels": channels,
        "layers_per_block": layers,
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "up_block_types": ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)],
        "cross_attention_dim": keys[1],
        "attention_head_dim": SD1_HEADS if family == SD1 else [max(1, width // HEAD) for width in channels],
        "use_linear_projection": linear,
    }
    if family == SDXL:
        told = own["label_emb.0.0.weight"][1]
        pooled = texts["text_encoder_2"]["projection_dim"]
        config |= {
            "transformer_layers_per_block": [max(1, depth) for depth in depths],
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": (told - pooled) // CONDITION,
            "projection_class_embeddings_input_dim": told,
        }
    return config


def _texts(shapes: Shapes, family: str) -> dict[str, dict[str, Any]]:
    if family == SD1:
        return {"text_encoder": _clip(shapes, CLIP_L)}
    if family == SD2:
        text = _open_clip(shapes, OPEN_CLIP, "CLIPTextModel")
        layers = text["num_hidden_layers"]
        return {"text_encoder": text | {"num_hidden_layers": SD2_USED if layers == SD2_WHOLE else layers}}
    second = _open_clip(shapes, XL_G, "CLIPTextModelWithProjection")
    return {"text_encoder": _clip(shapes, XL_L), "text_encoder_2": second}


def _clip(shapes: Shapes, prefix: str) -> dict[str, Any]:
    words, width = shapes[f"{prefix}embeddings.token_embedding.weight"]
    fc1 = shapes[f"{prefix}encoder.layers.0.mlp.fc1.weight"][0]
    sizes = (words, width, fc1, _count(shapes, f"{prefix}encoder.layers."))
    return _text_config("CLIPTextModel", "quick_gelu", sizes, width)


def _open_clip(shapes: Shapes, prefix: str, name: str) -> dict[str, Any]:
    words, width = shapes[f"{prefix}token_embedding.weight"]
    fc1 = shapes[f"{prefix}transformer.resblocks.0.mlp.c_fc.weight"][0]
    sizes = (words, width, fc1, _count(shapes, f"{prefix}transformer.resblocks."))
    return _text_config(name, "gelu", sizes, shapes.get(f"{prefix}text_projection", (0, width))[1])


def _text_config(name: str, act: str, sizes: tuple[int, int, int, int], projection: int) -> dict[str, Any]:
    words, width, inner, layers = sizes
    return {
        "architectures": [name],
        "model_type": "clip_text_model",
        "vocab_size": words,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": max(1, width // HEAD),
        "max_position_embeddings": CLIP_LENGTH,
        "hidden_act": act,
        "projection_dim": projection,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 1,
    }


def _scheduler(shapes: Shapes, family: str, prediction: str) -> dict[str, Any]:
    """Return the published schedule, with what the file predicts."""
    zero = "ztsnr" in shapes
    config: dict[str, Any] = {
        "_class_name": "DDIMScheduler" if zero and family == SD1 else SCHEDULERS[family],
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "num_train_timesteps": 1000,
        "prediction_type": prediction,
        "steps_offset": 1,
        "timestep_spacing": "trailing" if zero else "leading",
    }
    if family == SD1 and not zero:
        return config | {"skip_prk_steps": True, "set_alpha_to_one": False}
    if family != SDXL:
        config |= {"clip_sample": False, "set_alpha_to_one": False}
    return config | {"rescale_betas_zero_snr": True} if zero else config


def _pixels(file: Path, family: str, prediction: str) -> int:
    """Return the size of the images: of the metadata, or of the published model."""
    told = re.fullmatch(r"(\d+)x(\d+)", str(metadata_in(file).get("modelspec.resolution", "")))
    if told and told[1] == told[2] and int(told[1]) > 0:
        return int(told[1])
    return {SD1: 512, SD2: 768 if prediction == V else 512, SDXL: 1024}[family]


def tokenizer_of(file: Path, part: str = "tokenizer") -> Any:
    """Return a tokenizer of a checkpoint: `tokenizer`, or `tokenizer_2` of SDXL."""
    return clip_tokenizer(plan_of(file).tokenizers[part])

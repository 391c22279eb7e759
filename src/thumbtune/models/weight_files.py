"""What a file of weights is, told by its suffix and by the names of its tensors; nothing is read but its header.

A whole model in one file, a LoRA of another family and a textual inversion all end in .safetensors. Thumbtune loads
pipelines from folders and whole checkpoints, and LoRAs from files; each of the others gets a sentence.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import count
from pathlib import Path

from safetensors import SafetensorError, safe_open

from thumbtune.errors import ThumbtuneError, plural, reason

SAFETENSORS = ".safetensors"
LFS_POINTER = b"version https://git-lfs"
MIN_HEADER = 9  # bytes: the length of the header, and one character of it
LORA = "a LoRA"
OWN_FORMS = (
    "Thumbtune reads whole checkpoints of Stable Diffusion 1.x, 2.x and XL, and its other families from folders in "
    "diffusers' layout"
)
CKPT = ".ckpt"
# suffixes of files that hold no safetensors, with what they are and what to do
OTHER_FILES = {
    ".gguf": ("a GGUF file of quantised weights", "which cannot be tuned", "get the same model as a diffusers folder"),
    ".onnx": ("an ONNX graph", "which cannot be tuned", "get the same model as a diffusers folder"),
    ".msgpack": ("a file of Flax weights", "which Thumbtune does not read", "get the same model in safetensors"),
    ".h5": ("a file of TensorFlow weights", "which Thumbtune does not read", "get the same model in safetensors"),
}
PICKLES = (".bin", ".pt", ".pth")
# methods whose tensors are no LoRA, though trainers store them under a LoRA's names; the first match counts
METHODS = (
    (r"\.hada_w[12]", "LoHa"),
    (r"\.lokr_w[12]", "LoKr"),
    (r"\.boft_|\.boft_R", "BOFT"),
    (r"\.oft_(blocks|diag|r|R)|oft_unet_", "OFT"),
    (r"\.(a|b)[12]\.weight$", "GLoRA"),
    (r"\.on_input$|\.ia3_l", "IA3"),
    (r"\.vera_lambda_", "VeRA"),
    (r"\.randlora_", "RandLoRA"),
    (r"\.lora_E$|\.lora_E\.", "AdaLoRA"),
    (r"\.lora_embedding_[AB]", "a LoRA of embeddings"),
)
LORA_NAMES = re.compile(
    r"\.lora_(up|down|mid|A|B)(\.|$)|[._]lora\.(up|down)\.|_lora\.(up|down)\.|\.lora_linear_layer\.|\.dora_scale$"
    r"|\.lora_magnitude_vector"
)
# the first match counts
KINDS = (
    (r"^model\.diffusion_model\.(double|single)_blocks\.", "a FLUX checkpoint in one file"),
    (r"^model\.diffusion_model\.joint_blocks\.", "a Stable Diffusion 3 checkpoint in one file"),
    (r"^(conditioner\.embedders|model\.diffusion_model)\.", "a whole checkpoint in one file"),
    (r"^(double_blocks|single_transformer_blocks)\.", "a FLUX transformer"),
    (r"^(control_model|controlnet_|input_hint_block)", "a ControlNet"),
    (r"^(image_proj|ip_adapter)\.", "an IP-Adapter"),
    (r"motion_modules\.", "an AnimateDiff motion module"),
    (r"^(emb_params|string_to_param|<.*>|clip_[gl])$", "a textual inversion"),
    (r"^(down_blocks|up_blocks|mid_block|conv_in|time_embedding)\.", "a UNet in diffusers' form"),
    (r"^(first_stage_model|encoder|decoder|quant_conv|post_quant_conv)\.", "a VAE"),
    (r"^(text_model|embeddings|cond_stage_model)\.", "a text encoder"),
)
CHECKPOINT = "a whole checkpoint in one file"


class _Pointer(ValueError):
    """A file of Git LFS that names the weights and is not them."""


@lru_cache(maxsize=16)
def _header(file: Path, state: tuple[int, ...]) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Return the shapes and the metadata in a header, which is read once for a file in one state."""
    with file.open("rb") as opened:
        if opened.read(len(LFS_POINTER)) == LFS_POINTER:
            raise _Pointer
    with safe_open(file, "pt") as weights:
        shapes = {key: tuple(weights.get_slice(key).get_shape()) for key in weights.keys()}
        return shapes, weights.metadata() or {}


def _header_of(file: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    state = file.stat()
    return _header(file.absolute(), (state.st_ino, state.st_size, state.st_mtime_ns))


def keys_in(file: Path) -> dict[str, tuple[int, ...]]:
    """Return the names and the shapes of the tensors in a safetensors file.

    Raises:
        ThumbtuneError: it is no such file, or is cut off.
    """
    try:
        return dict(_header_of(file)[0])
    except _Pointer as error:
        raise ThumbtuneError(
            f"{file} is a pointer of Git LFS and not the weights themselves; get them with `git lfs pull`.",
            code="weights-lfs-pointer",
        ) from error
    except (SafetensorError, OSError, ValueError) as error:
        raise ThumbtuneError(
            f"{file} is not a readable safetensors file ({reason(error)}); get the file again.", code="side-misfit"
        ) from error


def stored_type(files: Iterable[Path]) -> str | None:
    """Return the one type of all weights in files, as their headers name it; None if there are several."""
    types = set()
    try:
        for file in files:
            with safe_open(file, "pt") as weights:
                types |= {weights.get_slice(key).get_dtype() for key in weights.keys()}
    except (SafetensorError, OSError, ValueError):
        return None
    return types.pop() if len(types) == 1 else None


def metadata_in(file: Path) -> dict[str, str]:
    """Return the metadata in the header of a safetensors file that `keys_in` can read."""
    return dict(_header_of(file)[1])


def kind_of(keys: dict[str, tuple[int, ...]]) -> str | None:
    """Return what tensors of these names are: LORA, the name of another method or part, or None.

    >>> kind_of({"model.diffusion_model.out.2.bias": (4,)})
    'a whole checkpoint in one file'
    >>> kind_of({"lora_unet_mid_block_proj_in.hada_w1_a": (4, 2)})
    'LoHa'
    """
    for pattern, method in METHODS:
        if any(re.search(pattern, key) for key in keys):
            return method
    if any(LORA_NAMES.search(key) for key in keys):
        return LORA
    return next((kind for pattern, kind in KINDS if any(re.search(pattern, key) for key in keys)), None)


def refuse_other_file(file: Path) -> None:
    """Refuse a file that can hold neither a pipeline nor a LoRA in safetensors, by what its suffix says.

    Raises:
        ThumbtuneError: the suffix is that of a pickle, of GGUF, of ONNX or of another framework.
    """
    suffix = file.suffix.lower()
    if suffix in OTHER_FILES:
        what, why, advice = OTHER_FILES[suffix]
        raise ThumbtuneError(f"{file} is {what}, {why}; {advice}.", code="weights-other-format")
    if suffix == CKPT:
        raise ThumbtuneError(f"{file} is a pickled checkpoint, {_unpickle(file)}.", code="weights-other-format")
    if suffix in PICKLES:
        raise ThumbtuneError(f"{file} is a pickle, {_unpickle(file)}.", code="weights-pickle")


def _unpickle(file: Path) -> str:
    """Return the way to convert a pickle in Python; its weights may be inside `state_dict`, and share memory."""
    return (
        "which may run any code when it is opened, so only .safetensors are read; if you trust it, convert it in "
        "Python with `import torch, safetensors.torch as s; "
        f"w = torch.load({str(file)!r}, 'cpu', weights_only=True); "
        "s.save_file({k: v.clone().contiguous() for k, v in w.get('state_dict', w).items() if torch.is_tensor(v)}, "
        f"{str(_free(file.with_suffix(SAFETENSORS)))!r})`"
    )


def _free(file: Path) -> Path:
    """Return a file that is not there: the one of that name, or one with a number behind it."""
    names = (file if number == 1 else file.with_stem(f"{file.stem}-{number}") for number in count(1))
    return next(name for name in names if not name.exists())


def is_checkpoint(path: Path) -> bool:
    """Return whether a path is a whole checkpoint in one safetensors file.

    Raises:
        ThumbtuneError: it ends in .safetensors, and cannot be read.
    """
    return path.suffix.lower() == SAFETENSORS and path.is_file() and kind_of(keys_in(path)) == CHECKPOINT


def refuse_as_model(file: Path) -> None:
    """Refuse a file that stands where a model belongs, by what it is; a checkpoint in one file is none of these.

    Raises:
        ThumbtuneError: always.
    """
    refuse_other_file(file)
    if file.suffix.lower() != SAFETENSORS:
        raise ThumbtuneError(f"{file} is not a model; name a folder in diffusers' layout.", code="weights-no-model")
    kind = kind_of(keys_in(file)) or "no file of weights that is known here"
    if kind == LORA:
        raise ThumbtuneError(f"{file} is a LoRA and not a model; {use_of_lora(file)}.", code="weights-lora-as-model")
    raise ThumbtuneError(
        f"{file} is {kind}, and {OWN_FORMS}; name one of these.",
        code="weights-no-model",
    )


def use_of_lora(name: object) -> str:
    """Return what can be done with a LoRA that stands where a model belongs."""
    return (
        f"name the model that it belongs to, and the LoRA as lora.start={name} to train it on, in `thumbtune merge "
        f"{name} OUT --base MODEL` for a whole model, which `generate --model OUT` draws with, or as a side of "
        "`thumbtune duel` with --base"
    )


def other_method(file: Path, kind: object) -> ThumbtuneError:
    """Return the error for a file of another method than LoRA and DoRA."""
    return ThumbtuneError(
        f"{file} holds the tensors of {kind}, which are not those of a LoRA, and only LoRA and DoRA are read; "
        "merge it into its model, and name the folder of that model.",
        code="lora-other-method",
    )


def refuse_as_lora(file: Path, kind: str | None) -> None:
    """Refuse a safetensors file that stands where a LoRA belongs, unless it is one.

    Raises:
        ThumbtuneError: it is another method, a whole model or a part of one.
    """
    if kind == LORA:
        return
    if kind == CHECKPOINT:
        raise ThumbtuneError(
            f"{file} is {kind} and not a LoRA; name it as a model.",
            code="weights-single",
        )
    if kind in {method for _, method in METHODS}:
        raise other_method(file, kind)
    if kind is not None:
        raise ThumbtuneError(
            f"{file} is {kind} and not a LoRA; name a LoRA.",
            code="weights-no-lora",
        )
    raise ThumbtuneError(
        f"{file} is not a LoRA: none of its {plural(len(keys_in(file)), 'tensor')} has the name of one; name another "
        "file.",
        code="side-misfit",
    )

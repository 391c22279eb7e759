"""ComfyUI's rules for the files that we write: each key is one that it knows, and its sums are the network we trained.

    module    found under a name, of which each kind of model has its own
    factors   NAME.lora_up.weight and NAME.lora_down.weight, or NAME.lora_B.weight and NAME.lora_A.weight
    scale     NAME.alpha / rank, or else 1; the header of the file is not read
    others    left out, with a line in a log

The names are those of comfy/lora.py and comfy/utils.py, mid 2026: what it maps to the parts of its own networks.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_transformers import BUILDERS
from torch import Tensor

from thumbtune.models.families import adapter_class_of, adapter_of
from thumbtune.models.loading import load_pipeline
from thumbtune.models.lora import LoRA
from thumbtune.models.lora_saving import COMFYUI_FILE, DIFFUSERS_FILE, KOHYA_FILE

QKVO = r"to_q|to_k|to_v|to_out\.0"
JOINT = rf"attn\.({QKVO}|add_[qkv]_proj|to_add_out)"
FLUX = rf"""
    transformer_blocks\.\d+\.({JOINT}|norm1\.linear|norm1_context\.linear|ff(_context)?\.(net\.0\.proj|net\.2|linear_in|linear_out))
    |single_transformer_blocks\.\d+\.(attn\.(to_q|to_k|to_v|to_qkv_mlp_proj|to_out)|proj_mlp|proj_out|norm\.linear)
    |x_embedder|context_embedder|proj_out|time_text_embed\.\w+\.linear_[12]
"""
# of each family: the file for ComfyUI, the prefix, and the names of modules that stand in its map
RULES: dict[str, tuple[str, str, str]] = {
    "sd3": (
        DIFFUSERS_FILE,
        "transformer.",
        rf"transformer_blocks\.\d+\.({JOINT}|attn2\.({QKVO})|ff(_context)?\.net\.(0\.proj|2)|norm1(_context)?\.linear)",
    ),
    **dict.fromkeys(("flux", "chroma", "klein", "flux2"), (DIFFUSERS_FILE, "transformer.", FLUX)),
    # its names are those of diffusers
    "qwen-image": (
        DIFFUSERS_FILE,
        "transformer.",
        rf"transformer_blocks\.\d+\.({JOINT}|(img|txt)_mlp\.net\.(0\.proj|2)|(img|txt)_mod\.1)|img_in|txt_in|proj_out",
    ),
    "krea2": (
        DIFFUSERS_FILE,
        "transformer.",
        rf"(transformer_blocks|text_fusion\.\w+_blocks)\.\d+\.(attn\.({QKVO}|to_gate)|ff\.(gate|up|down))"
        r"|img_in|final_layer\.linear|text_fusion\.projector|txt_in\.linear_[12]|time_embed\.linear_[12]|time_mod_proj",
    ),
    "z-image": (
        DIFFUSERS_FILE,
        "transformer.",
        rf"(layers|noise_refiner|context_refiner)\.\d+\.(attention\.({QKVO})|feed_forward\.w[123]|adaLN_modulation\.[01])",
    ),
    "pixart": (
        DIFFUSERS_FILE,
        "transformer.",
        rf"transformer_blocks\.\d+\.(attn[12]\.({QKVO})|ff\.net\.(0\.proj|2))",
    ),
    "ltx": (COMFYUI_FILE, "diffusion_model.", rf"transformer_blocks\.\d+\.(attn[12]\.({QKVO})|ff\.net\.(0\.proj|2))"),
    "wan": (
        COMFYUI_FILE,
        "diffusion_model.",
        r"blocks\.\d+\.((self|cross)_attn\.[qkvo]|ffn\.[02])",
    ),
}
NONE = ("sana", "lumina2")  # their names are not in ComfyUI's map
TWO_FILES = "wan-experts"  # test_experts holds them
NATIVE_OF_WAN = [
    ("self_attn.", "attn1."),
    ("cross_attn.", "attn2."),
    *(
        (f"attn{i}.{one}", f"attn{i}.{other}")
        for i in (1, 2)
        for one, other in zip("qkvo", QKVO.replace("\\", "").split("|"), strict=True)
    ),
    ("ffn.0", "ffn.net.0.proj"),
    ("ffn.2", "ffn.net.2"),
]


def sums(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """What ComfyUI adds to each module, by the names in the file; every tensor counts once."""
    names = {re.sub(r"\.(lora_(up|down|A|B)\.weight|alpha)$", "", key) for key in tensors}
    out, used = {}, set()
    for name in names:
        up, down = ("lora_up", "lora_down") if f"{name}.lora_up.weight" in tensors else ("lora_B", "lora_A")
        keys = [f"{name}.{up}.weight", f"{name}.{down}.weight"]
        first, second = (tensors[key].double() for key in keys)
        alpha = tensors.get(f"{name}.alpha")
        scale = 1.0 if alpha is None else alpha.item() / len(second)
        out[name] = scale * (first.flatten(1) @ second.flatten(1))
        used |= {*keys, f"{name}.alpha"}
    assert tensors.keys() <= used
    return out


def tuned(folder: Path, targets: str, perturb: Any) -> Any:
    pipeline = load_pipeline(str(folder))
    family = adapter_class_of(type(pipeline).__name__).family
    model = adapter_of(pipeline, LoRA(rank=4, alpha=1.5, targets=family.targets[targets]))
    perturb(model)
    return model


def trained_sums(model: Any) -> dict[str, Tensor]:
    parts = {key: value.detach().double() for key, value in model.trainable()}
    layers = {key.removesuffix(".lora_A.default.weight") for key in parts if ".lora_A." in key}
    pairs = {name: [parts[f"{name}.lora_{end}.default.weight"].flatten(1) for end in "BA"] for name in layers}
    return {name: 1.5 / 4 * (up @ down) for name, (up, down) in pairs.items()}


def diffusers_name(name: str) -> str:
    if ".self_attn." in name or ".cross_attn." in name or re.search(r"\.ffn\.[02]$", name):
        for theirs, ours in NATIVE_OF_WAN:
            name = re.sub(rf"{re.escape(theirs)}$" if theirs[-1] != "." else re.escape(theirs), ours, name)
    return name


@pytest.mark.parametrize("targets", ["attention", "attention-and-feed-forward"])
@pytest.mark.parametrize("name", [name for name in BUILDERS if name not in (*NONE, TWO_FILES)])
def test_every_key_is_known_and_every_sum_is_ours(
    name: str, targets: str, tiny_pipeline: Callable[[str], Path], perturb: Any, tmp_path: Path
) -> None:
    file, prefix, known = RULES[name]
    model = tuned(tiny_pipeline(name), targets, perturb)
    model.save(tmp_path)
    assert model.family.comfyui and (tmp_path / COMFYUI_FILE).exists() == (file == COMFYUI_FILE)
    assert not (tmp_path / KOHYA_FILE).exists()
    found = sums(load_file(tmp_path / file))
    form = re.compile(known, re.VERBOSE)
    unknown = [key for key in found if not key.startswith(prefix) or not form.fullmatch(key.removeprefix(prefix))]
    assert not unknown
    ours = trained_sums(model)
    assert {diffusers_name(key.removeprefix(prefix)) for key in found} == ours.keys()
    for key, value in found.items():
        torch.testing.assert_close(value, ours[diffusers_name(key.removeprefix(prefix))], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NONE)
def test_where_it_reads_no_file_it_is_told_none(
    name: str, tiny_pipeline: Callable[[str], Path], perturb: Any, tmp_path: Path
) -> None:
    model = tuned(tiny_pipeline(name), "attention", perturb)
    model.save(tmp_path)
    assert not model.family.comfyui and {file.name for file in tmp_path.iterdir()} == {DIFFUSERS_FILE}


@pytest.mark.parametrize("name", ["epsilon", "xl-epsilon"])
def test_the_file_of_a_unet_has_the_names_of_kohya(
    name: str, tiny_pipeline: Callable[[str], Path], perturb: Any, tmp_path: Path
) -> None:
    model = tuned(tiny_pipeline(name), "with-convolutions", perturb)
    model.save(tmp_path)
    found = sums(load_file(tmp_path / KOHYA_FILE))
    own = r"lora_unet_(input|output|middle)_block" if name == "xl-epsilon" else r"lora_unet_(down|up|mid)_block"
    assert all(re.match(rf"{own}(s_\d+)?_\w+$", key) for key in found)
    wanted = sorted(value.norm().item() for value in trained_sums(model).values())
    assert sorted(value.norm().item() for value in found.values()) == pytest.approx(wanted, abs=1e-6)

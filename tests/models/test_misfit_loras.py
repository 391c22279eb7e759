"""A LoRA that does not fit a transformer: which family it is for, or what does not fit, counted; nothing is put on."""

import copy
import functools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_loras import DOUBLE, FILES, FLUX, KOHYA, PEFT, Made, own, table, written
from foreign_loras import made as made_of
from refusals import refused
from safetensors.torch import load_file, save_file
from torch import Tensor

from thumbtune.duels.sides import side
from thumbtune.errors import ThumbtuneError
from thumbtune.models.loading import load_pipeline
from thumbtune.models.lora_files import find_lora
from thumbtune.models.lora_loading import place, put_on_pipeline
from thumbtune.models.lora_start import begin, files_of

Pipeline = Callable[[str], Path]
DIFFUSERS = {**PEFT, "prefix": "transformer."}


@functools.cache
def loaded(base: str) -> Any:
    return load_pipeline(base)


def file_of(
    name: str, tiny_pipeline: Pipeline, folder: Path, change: Callable[[dict[str, Tensor]], Any] = dict
) -> Path:
    """A file of `FILES` that fits the tiny model of its family, with a change of its tensors."""
    family, names, spelling, with_alpha = FILES[name]
    network = loaded(str(tiny_pipeline(family))).transformer
    tensors = written(made_of(network, names(network), with_alpha), **spelling)
    save_file(change(tensors), folder / "my.safetensors")
    return folder / "my.safetensors"


def sentence(file: Path, base: str, code: str) -> str:
    """The one sentence with which a file is refused, in the same words by a duel before any weights are read."""
    pipeline = copy.deepcopy(loaded(base))
    files = find_lora(file)
    assert files is not None
    before = {key: value.clone() for key, value in pipeline.transformer.state_dict().items()}
    with refused(code, ThumbtuneError, naming=[file, base]) as caught:
        put_on_pipeline(pipeline, files, base)
    assert pipeline.transformer.state_dict().keys() == before.keys()
    with refused(code, ThumbtuneError) as earlier:
        side(str(file), base).check()  # type: ignore[misc]
    assert str(earlier.value) == str(caught.value)
    return str(caught.value)


OTHERS = {
    ("flux kohya", "z-image"): "FLUX.1",
    ("flux kohya", "klein"): "FLUX.1",
    ("flux kohya", "chroma"): "FLUX.1",
    ("flux kohya without alpha", "sd3"): "FLUX",
    ("flux diffusers", "z-image"): "FLUX.1 or Chroma",
    ("flux diffusers", "qwen-image"): "FLUX.1 or Chroma",
    ("klein kohya", "wan"): "FLUX",
    ("z-image ComfyUI", "flux"): "Z-Image or Lumina",
    ("z-image diffusers", "krea2"): "Z-Image",
    ("lumina2 diffusers", "z-image"): "Lumina-Image 2.0",
    ("wan diffusers", "sd3"): "Wan",
    ("wan kohya", "flux"): "Wan",
    ("qwen-image kohya", "flux"): "Qwen-Image",
    ("qwen-image ComfyUI", "sd3"): "Qwen-Image",
    ("krea2 ComfyUI", "qwen-image"): "Krea 2",
    ("krea2 diffusers", "sd3"): "Krea 2",
    ("sana diffusers", "flux"): "Sana, PixArt-Sigma or LTX-Video",
    ("sd3 diffusers", "wan"): "a diffusion transformer, such as Stable Diffusion 3 or Qwen-Image",
}


@pytest.mark.parametrize(("name", "base"), OTHERS)
def test_a_lora_of_another_family_is_named(name: str, base: str, tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    told = sentence(file_of(name, tiny_pipeline, tmp_path), str(tiny_pipeline(base)), "lora-other-family")
    assert f"is a LoRA for {OTHERS[name, base]}, not for" in told and "tensors have no place there" in told


SD = {
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q": "Stable Diffusion",
    "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q": "Stable Diffusion",
    "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q": "Stable Diffusion XL",
    "lora_prior_unet_x": "a prior, such as that of Stable Cascade",
}


@pytest.mark.parametrize("base", ["flux", "z-image", "sana", "pixart"])
@pytest.mark.parametrize("layer", SD)
def test_a_lora_of_a_unet_is_named(layer: str, base: str, tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    parts = {f"{layer}.lora_{end}.weight": torch.ones(2, 2) for end in ("down", "up")}
    save_file(parts, tmp_path / "my.safetensors")
    told = sentence(tmp_path / "my.safetensors", str(tiny_pipeline(base)), "lora-other-family")
    assert f"is a LoRA for {SD[layer]}, not for" in told and "2 of its 2 tensors" in told


@pytest.mark.parametrize("name", ["flux diffusers", "z-image kohya", "wan ComfyUI", "klein kohya"])
def test_a_lora_of_a_transformer_is_named_for_a_unet(name: str, tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    file, base = file_of(name, tiny_pipeline, tmp_path), str(tiny_pipeline("epsilon"))
    with refused("lora-other-family", naming=[file, base]):
        side(str(file), base).check()  # type: ignore[misc]


@pytest.mark.slow
def test_a_lora_of_a_larger_model_of_the_family(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    def deeper(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {re.sub(r"blocks([._])0(?=[._])", r"blocks\g<1>7", key): value for key, value in tensors.items()}

    for name in ("flux diffusers", "klein kohya", "wan ComfyUI", "flux kohya", "qwen-image kohya", "wan kohya"):
        file = file_of(name, tiny_pipeline, tmp_path, deeper)
        told = sentence(file, str(tiny_pipeline(name.split(maxsplit=1)[0])), "side-misfit")
        assert "are of blocks that it does not have" in told and "as those of a larger model" in told, name


@pytest.mark.parametrize(
    "name", ["flux diffusers", "flux kohya", "z-image ComfyUI", "qwen-image kohya", "sana diffusers"]
)
def test_a_lora_of_a_wider_model_of_the_family(name: str, tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    def wider(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        names = [key for key in tensors if ("lora_A" in key or "lora_down" in key)]
        return tensors | {key: torch.cat([tensors[key]] * 2, dim=1) for key in names}

    told = sentence(
        file_of(name, tiny_pipeline, tmp_path, wider), str(tiny_pipeline(name.split(maxsplit=1)[0])), "side-misfit"
    )
    assert "the shapes of" in told and "and its weight in the base is" in told


@pytest.mark.parametrize("name", ["flux diffusers", "flux kohya", "z-image ComfyUI", "wan kohya", "pixart diffusers"])
def test_matrices_of_two_ranks(name: str, tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    def longer(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        key = next(key for key in tensors if "to_q" in key or "w1" in key or "txt_mlp_2" in key or "self_attn_q" in key)
        down = next(
            one for one in tensors if one.startswith(key.partition(".lora")[0]) and ("_A" in one or "down" in one)
        )
        return tensors | {down: torch.cat([tensors[down]] * 2)}

    pipeline = copy.deepcopy(loaded(base := str(tiny_pipeline(name.split(maxsplit=1)[0]))))
    file = file_of(name, tiny_pipeline, tmp_path, longer)
    with refused("side-misfit", naming=file) as caught:
        put_on_pipeline(pipeline, files_of(file), base)
    assert "cannot be multiplied" in str(caught.value)


EXTRA: Mapping[str, tuple[str, dict[str, tuple[int, ...]], int]] = {
    # what some converters of diffusers leave out without an error
    "a bias": ("flux kohya", {"lora_unet_double_blocks_0_img_mlp_0.diff_b": (8,)}, 1),
    "a norm": ("flux kohya", {"lora_unet_double_blocks_0_img_norm.diff": (8,)}, 1),
    "lengths of a DoRA": ("flux kohya", {"lora_unet_double_blocks_0_img_attn_qkv.dora_scale": (8, 1)}, 4),
    "half a layer": ("flux kohya", {"lora_unet_double_blocks_5_img_mlp_0.lora_down.weight": (2, 8)}, 1),
    "an alpha alone": ("qwen-image ComfyUI", {"diffusion_model.nowhere.alpha": ()}, 1),
    "an unknown layer": ("z-image kohya", {f"lora_unet_odd.lora_{end}.weight": (2, 2) for end in ("up", "down")}, 2),
    "a text encoder": ("wan kohya", {f"lora_te_odd.lora_{end}.weight": (2, 2) for end in ("up", "down")}, 2),
    "no layer of Krea": ("krea2 ComfyUI", {f"diffusion_model.odd.lora_{end}.weight": (2, 2) for end in "AB"}, 2),
}


@pytest.mark.parametrize("what", EXTRA)
def test_each_tensor_without_a_place_is_counted(what: str, tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    name, shapes, count = EXTRA[what]
    total = 0

    def more(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        nonlocal total
        out = tensors | {key: torch.ones(shape) for key, shape in shapes.items()}
        total = len(out)
        return out

    file, base = file_of(name, tiny_pipeline, tmp_path, more), str(tiny_pipeline(name.split(maxsplit=1)[0]))
    files = files_of(file)
    with pytest.raises(ThumbtuneError) as caught:
        put_on_pipeline(copy.deepcopy(loaded(base)), files, base)
    assert f"{count} of its {total} tensors" in str(caught.value), str(caught.value)
    assert next(iter(shapes)) in str(caught.value)
    with pytest.raises(ThumbtuneError, match=f"{count} of its {total} tensors"):
        begin(copy.deepcopy(loaded(base)), files, base)


def test_names_that_nobody_reads_are_said_to_be_so(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    joint = {"joint_blocks.0.x_block.attn.qkv": "transformer_blocks.0.attn.to_q"}
    network = loaded(base := str(tiny_pipeline("sd3"))).transformer
    save_file(written(made_of(network, table(joint)(network)), **KOHYA), tmp_path / "my.safetensors")
    told = sentence(tmp_path / "my.safetensors", base, "lora-other-names")
    assert "names layers of Stable Diffusion 3 in a way that neither Thumbtune nor diffusers reads: 3 of its 3" in told


@pytest.mark.slow
def test_the_fused_layer_of_flux_at_its_true_width(tmp_path: Path) -> None:
    """diffusers divides it at fixed rows, so it is tried at the width of the published network, without weights."""
    from diffusers import FluxTransformer2DModel

    with torch.device("meta"):
        network = FluxTransformer2DModel(num_layers=1, num_single_layers=2)
    of = "single_transformer_blocks.1"
    names = FLUX | {"single_blocks.1.linear1": f"{of}.attn.to_q {of}.attn.to_k {of}.attn.to_v {of}.proj_mlp"}
    layers = made_of(network, table(names)(network))
    save_file(written(layers, **KOHYA), tmp_path / "my.safetensors")
    files = find_lora(tmp_path / "my.safetensors")
    assert files is not None
    placed = place({"transformer": network}, files, "FLUX")
    for layer in layers.values():
        parts = [placed["transformer", module] for module in layer.modules]
        delta = torch.cat([part.scale * part.up.double() @ part.down.double() for part in parts])
        torch.testing.assert_close(delta, layer.delta, rtol=0, atol=2e-5)


def test_the_text_encoder_of_flux_belongs_to_the_lora(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline = copy.deepcopy(loaded(base := str(tiny_pipeline("flux"))))
    inside = own("q_proj", "fc1")(pipeline.text_encoder)
    flat = {f"text_model.{name.removeprefix('text_model.')}": modules for name, modules in inside.items()}
    text = made_of(pipeline.text_encoder, flat)
    image = made_of(pipeline.transformer, table(DOUBLE)(pipeline.transformer))
    tensors = written(image, **KOHYA) | written(text, **{**KOHYA, "prefix": "lora_te1_"})
    save_file(tensors, tmp_path / "my.safetensors")
    placed = put_on_pipeline(pipeline, files_of(tmp_path / "my.safetensors"), base)
    assert len(placed) == 8 + len(text)
    for (part, name), layer in placed.items():
        wanted = _delta(text if part == "text_encoder" else image, name)
        torch.testing.assert_close(layer.scale * layer.up.double() @ layer.down.double(), wanted, rtol=0, atol=1e-6)


def _delta(layers: Mapping[str, Made], module: str) -> Tensor:
    layer = next(layer for layer in layers.values() if module in layer.modules)
    return layer.delta.chunk(len(layer.modules))[layer.modules.index(module)]


def test_what_is_merged_twice_is_refused(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    network = loaded(base := str(tiny_pipeline("flux"))).transformer
    fused = written(made_of(network, table(DOUBLE)(network)), **KOHYA)
    apart = written(made_of(network, own("transformer_blocks.0.attn.to_q")(network)), **DIFFUSERS)
    save_file(fused | apart, tmp_path / "my.safetensors")
    with pytest.raises(ThumbtuneError, match="tensors"):
        put_on_pipeline(copy.deepcopy(loaded(base)), files_of(tmp_path / "my.safetensors"), base)


def test_the_header_of_our_own_file_names_its_family_where_layers_do_not(
    make_diffusion: Callable[..., Any], tiny_pipeline: Pipeline, tmp_path: Path
) -> None:
    make_diffusion("sd3").save(tmp_path)
    tensors = load_file(tmp_path / "pytorch_lora_weights.safetensors")
    save_file(tensors, tmp_path / "mine.safetensors", {"modelspec.architecture": "stable-diffusion-3/lora"})
    base = str(tiny_pipeline("klein"))
    for files in (find_lora(tmp_path / "mine.safetensors"), files_of(tmp_path / "mine.safetensors")):
        networks = {"transformer": loaded(base).transformer}
        assert files is not None
        with refused("lora-other-family", naming=["is a LoRA for Stable Diffusion 3", base]):
            place(networks, files, base)

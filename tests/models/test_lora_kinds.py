"""LoRAs on more layers, convolutions with their own rank, and DoRA: exact references, one network in all readers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from refusals import refused
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from thumbtune.models.families.stable_diffusion import StableDiffusion
from thumbtune.models.loading import load_pipeline
from thumbtune.models.lora import DIFFUSERS_FILE, KOHYA_FILE, LoRA, put_on, tensors_of
from thumbtune.models.lora_files import find_lora
from thumbtune.models.lora_loading import put_on_pipeline
from thumbtune.models.lora_targets import ATTENTION, CONVOLUTIONS, FEED_FORWARD, PRESETS

WIDE = {"targets": CONVOLUTIONS, "conv_rank": 2, "conv_alpha": 1.5}
KINDS: dict[str, dict[str, Any]] = {
    **{name: {"targets": targets} for name, targets in PRESETS.items()},
    "with-convolutions of their own rank": WIDE,
    "conv_rank alone": {"targets": CONVOLUTIONS, "conv_rank": 6},
    "DoRA of attention": {"dora": True},
    "DoRA of all": {**WIDE, "dora": True},
}


def output(unet: Any) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    noisy, text = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 8, 16, generator=generator)
    with torch.no_grad():
        return unet(noisy, torch.tensor([10, 700]), encoder_hidden_states=text, return_dict=False)[0]


@pytest.fixture
def made(tiny_pipeline: Callable[[str], Path], perturb: Any) -> Callable[..., StableDiffusion]:
    """(prediction, kind) -> a LoRA as if trained, rank 4 and alpha 3."""

    def make(prediction: str, kind: str, seed: int = 0, moved: bool = True) -> StableDiffusion:
        pipeline = load_pipeline(str(tiny_pipeline(prediction)))
        model = StableDiffusion(pipeline, LoRA(rank=4, alpha=3.0, **KINDS[kind]), seed)
        if moved:
            perturb(model, by=0.1)
        return model

    return make


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prediction", "kind"),
    [("epsilon", kind) for kind in KINDS]
    + [("v_prediction", "DoRA of all")]
    + [pytest.param("v_prediction", kind, marks=pytest.mark.slow) for kind in KINDS if kind != "DoRA of all"],
)
def test_a_kind_is_the_same_network_in_every_reader(
    made: Any, tiny_pipeline: Callable[[str], Path], tmp_path: Path, prediction: str, kind: str
) -> None:
    """diffusers with and without our settings, diffusers from kohya's names, our own reader, and our resume.

    `proj_in` is a convolution in the UNet of epsilon, and linear in that of v_prediction.
    """
    model = made(prediction, kind)
    ours = output(model.network)
    with model.reference():
        base = output(model.network)
    assert (ours - base).abs().max() > 0.05
    model.save(tmp_path)
    save_file(load_file(tmp_path / DIFFUSERS_FILE), tmp_path / "bare.safetensors")  # as after other tools
    folder = str(tiny_pipeline(prediction))
    names = [DIFFUSERS_FILE, "bare.safetensors", *([] if "DoRA" in kind else [KOHYA_FILE])]
    for name in names:
        pipeline = load_pipeline(folder)
        pipeline.load_lora_weights(str(tmp_path), weight_name=name)
        torch.testing.assert_close(output(pipeline.unet), ours, rtol=0, atol=1e-5, msg=name)
    for name in (DIFFUSERS_FILE, "bare.safetensors", KOHYA_FILE):
        pipeline, files = load_pipeline(folder), find_lora(tmp_path / name)
        assert files is not None
        put_on_pipeline(pipeline, files, folder)
        torch.testing.assert_close(output(pipeline.unet), ours, rtol=0, atol=1e-5, msg=name)
    again = made(prediction, kind, seed=5, moved=False)
    again.load(tmp_path)
    torch.testing.assert_close(output(again.network), ours, rtol=0, atol=1e-5)


def comfyui(weight: Tensor, tensors: dict[str, Tensor], name: str) -> Tensor:
    """ComfyUI's rule for a layer: scale alpha / rank where there is an alpha, else 1."""
    up, down = tensors[f"{name}.lora_up.weight"], tensors[f"{name}.lora_down.weight"]
    alpha = tensors.get(f"{name}.alpha")
    scale = 1.0 if alpha is None else alpha.item() / down.shape[0]
    return weight + scale * (up.flatten(1) @ down.flatten(1)).reshape(weight.shape)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "DoRA" not in kind])
def test_comfyui_s_rule_gives_our_network(made: Any, tmp_path: Path, kind: str) -> None:
    model = made("epsilon", kind)
    ours = output(model.network)
    model.save(tmp_path)
    tensors = load_file(tmp_path / KOHYA_FILE)
    pipeline = load_pipeline(str(model.pipeline.config["_name_or_path"]))
    layers = {f"lora_unet_{name.replace('.', '_')}": module for name, module in pipeline.unet.named_modules()}
    names = {key.split(".")[0] for key in tensors}
    assert len(tensors) == 3 * len(names) and names <= layers.keys()
    for name in names:
        layers[name].weight.data = comfyui(layers[name].weight.data, tensors, name)
    torch.testing.assert_close(output(pipeline.unet), ours, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_begins_at_the_base_and_its_reference_stays_there(made: Any, kind: str) -> None:
    model = made("epsilon", kind, moved=False)
    first = output(model.network)
    with model.reference():
        base = output(model.network)
    torch.testing.assert_close(first, base, rtol=0, atol=1e-6)
    with torch.no_grad():
        for _, weight in model.trainable():
            weight.add_(0.1)
    with model.reference():
        assert torch.equal(output(model.network), base)


def test_dora_trains_a_length_for_each_row(made: Any) -> None:
    model = made("epsilon", "DoRA of all", moved=False)
    lengths = {n: p for n, p in model.trainable() if "magnitude" in n}
    layers = {name.split(".lora_")[0] for name, _ in model.trainable()}
    assert len(lengths) == len(layers)
    for name, length in lengths.items():
        weight = model.network.get_submodule(name.split(".lora_")[0]).base_layer.weight
        torch.testing.assert_close(length.flatten(), weight.flatten(1).norm(dim=1))


def test_kohya_s_lengths_have_a_row_for_each_output(made: Any, tmp_path: Path) -> None:
    made("epsilon", "DoRA of all").save(tmp_path)
    tensors = load_file(tmp_path / KOHYA_FILE)
    for name, value in tensors.items():
        if name.endswith("dora_scale"):
            up = tensors[name.replace("dora_scale", "lora_up.weight")]
            assert value.shape == (up.shape[0], *(1,) * (up.dim() - 1))


@pytest.mark.parametrize("kind", ["with-convolutions of their own rank", "conv_rank alone"])
def test_convolutions_of_their_own_rank_have_their_own_alpha(made: Any, tmp_path: Path, kind: str) -> None:
    made("epsilon", kind).save(tmp_path)
    tensors = load_file(tmp_path / KOHYA_FILE)
    rank, alpha = KINDS[kind]["conv_rank"], KINDS[kind].get("conv_alpha", 4.5)
    for name, down in tensors.items():
        if name.endswith("lora_down.weight"):
            is_wide = down.dim() == 4 and down.shape[-1] == 3
            stored = tensors[name.replace("lora_down.weight", "alpha")].item()
            assert (down.shape[0], stored) == ((rank, alpha) if is_wide else (4, 3.0)), name
    with safe_open(tmp_path / KOHYA_FILE, "pt") as file:
        arguments = json.loads(file.metadata()["ss_network_args"])
    assert arguments == {"conv_dim": rank, "conv_alpha": alpha}


def test_another_alpha_of_convolutions_is_refused(made: Any, tmp_path: Path, tiny_pipeline: Any) -> None:
    made("epsilon", "with-convolutions of their own rank").save(tmp_path)
    lora = LoRA(rank=4, alpha=3.0, targets=CONVOLUTIONS, conv_rank=2, conv_alpha=1.0)
    other = StableDiffusion(load_pipeline(str(tiny_pipeline("epsilon"))), lora)
    with refused("result-other-alpha", naming=[tmp_path / DIFFUSERS_FILE, "lora.conv_alpha 1.5, not 1"]):
        other.load(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("rank", "alpha"), [(4, 8.0), (4, 3.0), (2, 2.0)])
def test_a_file_of_an_earlier_version_is_read_bit_for_bit(
    make_diffusion: Any, perturb: Any, tmp_path: Path, rank: int, alpha: float
) -> None:
    """Earlier ones wrote B as it was, under diffusers' old names, and alpha in PEFT's settings alone."""
    from diffusers import StableDiffusionPipeline
    from diffusers.utils import convert_state_dict_to_diffusers

    model = make_diffusion(rank=rank, alpha=alpha)
    perturb(model)
    config = model.network.peft_config["default"].to_dict()
    StableDiffusionPipeline.save_lora_weights(
        tmp_path,
        unet_lora_layers=convert_state_dict_to_diffusers(tensors_of(model.network)),
        unet_lora_adapter_metadata={k: sorted(v) if isinstance(v, set) else v for k, v in config.items()},
    )
    again = make_diffusion(rank=rank, alpha=alpha, seed=9)
    again.load(tmp_path)
    for (name, one), (_, other) in zip(model.trainable(), again.trainable(), strict=True):
        assert torch.equal(one, other), name
    with refused("result-other-alpha", naming=tmp_path / DIFFUSERS_FILE):
        make_diffusion(rank=rank, alpha=alpha + 1).load(tmp_path)


@pytest.mark.parametrize("alpha", [1.0, 2.0, 4.0, 8.0, 64.0])
def test_a_result_is_read_bit_for_bit_if_its_scale_is_a_power_of_two(
    make_diffusion: Any, perturb: Any, tmp_path: Path, alpha: float
) -> None:
    model = make_diffusion(rank=4, alpha=alpha)
    perturb(model)
    model.save(tmp_path)
    again = make_diffusion(rank=4, alpha=alpha, seed=9)
    again.load(tmp_path)
    for (name, one), (_, other) in zip(model.trainable(), again.trainable(), strict=True):
        assert torch.equal(one, other), name


# --- the layers at true size ------------------------------------------------------------------------


def unet_of(family: str) -> Any:
    """The published UNet, with the shapes of its weights and no values."""
    from diffusers import UNet2DConditionModel

    configs: dict[str, dict[str, Any]] = {
        "SD 1.5": {"cross_attention_dim": 768, "attention_head_dim": 8},
        "SD 2.1": {"cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True},
        "SDXL": {
            "cross_attention_dim": 2048,
            "attention_head_dim": (5, 10, 20),
            "use_linear_projection": True,
            "block_out_channels": (320, 640, 1280),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            "transformer_layers_per_block": (1, 2, 10),
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        },
    }
    with torch.device("meta"):
        return UNet2DConditionModel(**configs[family])


def sd_scripts(unet: nn.Module, convolutions: bool) -> set[str]:
    """Layers as sd-scripts chooses them, by the class of what they are in."""
    classes = ("Transformer2DModel", *(("ResnetBlock2D", "Downsample2D", "Upsample2D") if convolutions else ()))
    return {
        f"{name}.{own}"
        for name, module in unet.named_modules()
        if type(module).__name__ in classes
        for own, layer in module.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "counts"), [("SD 1.5", (128, 192, 278)), ("SD 2.1", (128, 192, 278)), ("SDXL", (560, 722, 788))]
)
def test_presets_at_true_size_are_those_of_sd_scripts(family: str, counts: tuple[int, int, int]) -> None:
    for targets, count in zip((ATTENTION, FEED_FORWARD, CONVOLUTIONS), counts, strict=True):
        unet = unet_of(family)
        theirs = sd_scripts(unet, convolutions=targets is CONVOLUTIONS)
        with torch.device("meta"):
            put_on(unet, LoRA(rank=1, targets=targets))
        layers = {name.split(".lora_A")[0] for name, _ in unet.named_parameters() if ".lora_A" in name}
        assert len(layers) == count
        assert layers == theirs or (targets is ATTENTION and layers < theirs)

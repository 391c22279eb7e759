"""LoRA files of many trainers: each is put on whole, equal to a merge by hand, or refused with a true sentence."""

import copy
import functools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from refusals import refused
from safetensors.torch import save_file
from torch import Tensor, nn

from thumbtune.models.families.stable_diffusion import StableDiffusion
from thumbtune.models.loading import load_pipeline
from thumbtune.models.lora_files import find_lora
from thumbtune.models.lora_loading import place, put_on_pipeline
from thumbtune.models.without_weights import networks_without_weights

Layer = tuple[str, str]
ATTENTION = "mid_block.attentions.0.transformer_blocks.0.attn1"
DOWN = "down_blocks.0.attentions.0.transformer_blocks.0"
LINEAR = [f"{ATTENTION}.{own}" for own in ("to_q", "to_k", "to_v", "to_out.0")] + [
    f"{DOWN}.attn2.to_k",
    f"{DOWN}.ff.net.2",
]
CONVS = ["down_blocks.0.resnets.0.conv1", "mid_block.attentions.0.proj_in", "down_blocks.0.downsamplers.0.conv"]
WORDS = ["encoder.layers.0.self_attn.q_proj", "encoder.layers.1.self_attn.out_proj", "encoder.layers.1.mlp.fc1"]


@dataclass
class Made:
    """A layer of a LoRA, and what its file says of it."""

    down: Tensor
    up: Tensor
    alpha: float | None = None
    magnitude: Tensor | None = None

    @property
    def scale(self) -> float:
        rank = self.down.shape[0]
        return (rank if self.alpha is None else self.alpha) / rank


@functools.cache
def loaded(base: str) -> Any:
    return load_pipeline(base)


def fresh(base: str) -> Any:
    """A pipeline of its own, which is quicker copied than loaded."""
    return copy.deepcopy(loaded(base))


def network(pipeline: Any, part: str) -> nn.Module:
    return pipeline.unet if part == "unet" else pipeline.text_encoder


def weight_of(pipeline: Any, part: str, name: str) -> Tensor:
    module: Any = network(pipeline, part).get_submodule(name)
    return module.weight


@pytest.fixture
def make(base: str) -> Callable[..., dict[Layer, Made]]:
    """(modules of the UNet, of the text encoder, rank of each layer, alpha of each, DoRA) -> random layers."""

    def layers(
        unet: list[str],
        text: list[str] = [],  # noqa: B006
        rank: Callable[[int], int] = lambda i: 2,
        alpha: Callable[[int], float | None] = lambda i: None,
        dora: Callable[[int], bool] = lambda i: False,
    ) -> dict[Layer, Made]:
        pipeline, generator, made = fresh(base), torch.Generator().manual_seed(0), {}
        names = [("unet", name) for name in unet] + [("text_encoder", name) for name in text]
        for i, (part, name) in enumerate(names):
            weight = weight_of(pipeline, part, name)
            down = torch.randn(rank(i), *weight.shape[1:], generator=generator) * 0.3
            up = torch.randn(weight.shape[0], rank(i), *(1 for _ in weight.shape[2:]), generator=generator) * 0.3
            magnitude = torch.rand(weight.shape[0], generator=generator) + 0.5 if dora(i) else None
            made[part, name] = Made(down, up, alpha(i), magnitude)
        return made

    return layers


def merged(base: str, layers: Mapping[Layer, Made]) -> Any:
    """A pipeline with the layers added to its weights by the formulas, in float64."""
    pipeline = fresh(base)
    for (part, name), own in layers.items():
        weight = weight_of(pipeline, part, name)
        delta = (own.up.double().flatten(1) @ own.down.double().flatten(1)).reshape(weight.shape)
        new = weight.data.double() + own.scale * delta
        if own.magnitude is not None:
            rows = new.flatten(1)
            new = (own.magnitude.double()[:, None] * rows / rows.norm(dim=1, keepdim=True)).reshape(weight.shape)
        weight.data = new.float()
    return pipeline


def outputs(pipeline: Any) -> tuple[Tensor, Tensor]:
    model = StableDiffusion(pipeline)
    with torch.no_grad():
        text = model.embed(["a cat", "red dog"])["text"]
        noisy = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3))
        return model.predict(noisy, torch.tensor([10, 700]), {"text": text}), text


def put_on(base: str, path: Path) -> tuple[Tensor, Tensor]:
    pipeline, files = fresh(base), find_lora(path)
    assert files is not None
    put_on_pipeline(pipeline, files, base)
    return outputs(pipeline)


def same(base: str, path: Path, layers: Mapping[Layer, Made]) -> None:
    ours, by_hand, plain = put_on(base, path), outputs(merged(base, layers)), outputs(fresh(base))
    assert (by_hand[0] - plain[0]).abs().max() > 0.02, "the LoRA does something"
    for one, other in zip(ours, by_hand, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-5)


# --- how trainers write it ------------------------------------------------------------------------


def kohya(layers: Mapping[Layer, Made], old_text: bool = True) -> dict[str, Tensor]:
    out: dict[str, Tensor] = {}
    for (part, name), own in layers.items():
        level = "text_model_" if part == "text_encoder" and old_text else ""
        flat = f"{'lora_unet' if part == 'unet' else 'lora_te'}_{level}{name.replace('.', '_')}"
        out |= {f"{flat}.lora_down.weight": own.down, f"{flat}.lora_up.weight": own.up}
        if own.alpha is not None:
            out[f"{flat}.alpha"] = torch.tensor(own.alpha)
        if own.magnitude is not None:
            out[f"{flat}.dora_scale"] = own.magnitude.reshape(-1, *(1 for _ in own.down.shape[1:]))
    return out


def dotted(layers: Mapping[Layer, Made], down: str, up: str, prefix: str | None = None) -> dict[str, Tensor]:
    out: dict[str, Tensor] = {}
    for (part, module), own in layers.items():
        start = f"{part}." if prefix is None else prefix
        name = f"{start}{'text_model.' if part == 'text_encoder' else ''}{module}"
        out |= {f"{name}{down}": own.down, f"{name}{up}": own.up}
        if own.alpha is not None:
            out[f"{name}.alpha"] = torch.tensor(own.alpha)
        if own.magnitude is not None:
            shape = (1, -1, 1, 1) if own.down.dim() == 4 else (-1,)
            out[f"{name}.lora_magnitude_vector"] = own.magnitude.reshape(shape)
    return out


FORMS: dict[str, Callable[[Mapping[Layer, Made]], dict[str, Tensor]]] = {
    "kohya": kohya,
    "kohya, short names of the text encoder": lambda layers: kohya(layers, False),
    "diffusers": lambda layers: dotted(layers, ".lora_A.weight", ".lora_B.weight"),
    "diffusers of before": lambda layers: dotted(layers, ".lora.down.weight", ".lora.up.weight"),
    "linear layers": lambda layers: dotted(layers, ".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"),
    "onetrainer": lambda layers: dotted(layers, ".lora_down.weight", ".lora_up.weight"),
    "no prefix": lambda layers: dotted(layers, ".lora.down.weight", ".lora.up.weight", ""),
    "name of an adapter": lambda layers: dotted(layers, ".lora_A.default.weight", ".lora_B.default.weight"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_equals_a_merge_by_hand(make: Any, base: str, tmp_path: Path, form: str) -> None:
    layers = make(LINEAR, WORDS)
    save_file(FORMS[form](layers), tmp_path / "my.safetensors")
    same(base, tmp_path / "my.safetensors", layers)


@pytest.mark.parametrize("form", ["kohya", "diffusers", "onetrainer", "no prefix"])
def test_ranks_and_alphas_may_differ_by_layer(make: Any, base: str, tmp_path: Path, form: str) -> None:
    layers = make(LINEAR + CONVS, WORDS, rank=lambda i: 1 + i % 4, alpha=lambda i: [0.5, 1.0, 8.0][i % 3])
    save_file(FORMS[form](layers), tmp_path / "my.safetensors")
    same(base, tmp_path / "my.safetensors", layers)


@pytest.mark.parametrize("form", ["kohya", "diffusers"])
@pytest.mark.parametrize("share", ["all", "half"])
def test_dora_is_put_on_by_its_formula(make: Any, base: str, tmp_path: Path, form: str, share: str) -> None:
    layers = make(
        LINEAR + CONVS,
        WORDS,
        rank=lambda i: 1 + i % 2,
        alpha=lambda i: 3.0,
        dora=lambda i: share == "all" or i % 2 == 0,
    )
    save_file(FORMS[form](layers), tmp_path / "my.safetensors")
    same(base, tmp_path / "my.safetensors", layers)


def test_a_mix_of_layers_with_and_without_alpha(make: Any, base: str, tmp_path: Path) -> None:
    layers = make(LINEAR, rank=lambda i: 2, alpha=lambda i: 0.5 if i % 2 else None)
    save_file(kohya(layers), tmp_path / "my.safetensors")
    same(base, tmp_path / "my.safetensors", layers)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_in_float32(make: Any, base: str, tmp_path: Path, dtype: torch.dtype) -> None:
    layers = make(LINEAR, alpha=lambda i: 1.0)
    for own in layers.values():
        own.down, own.up = own.down.to(dtype).float(), own.up.to(dtype).float()
    save_file({key: value.to(dtype) for key, value in kohya(layers).items()}, tmp_path / "my.safetensors")
    same(base, tmp_path / "my.safetensors", layers)


@pytest.mark.slow
def test_convolutions_of_1_x_1_may_be_written_as_linear_layers_and_the_other_way(
    make: Any, base: str, tmp_path: Path
) -> None:
    layers = make(["mid_block.attentions.0.proj_in", f"{ATTENTION}.to_q"])
    tensors = {
        key: value.flatten(1) if value.dim() == 4 else value[..., None, None] for key, value in kohya(layers).items()
    }
    save_file(tensors, tmp_path / "my.safetensors")
    same(base, tmp_path / "my.safetensors", layers)


def test_a_convolution_in_three_parts_is_folded(make: Any, base: str, tmp_path: Path) -> None:
    """LyCORIS: down 1 x 1, middle 3 x 3, up 1 x 1."""
    name = "down_blocks.0.resnets.0.conv1"
    layers = make([name])
    generator = torch.Generator().manual_seed(5)
    thin, middle = torch.randn(2, 8, 1, 1, generator=generator), torch.randn(2, 2, 3, 3, generator=generator)
    own = layers["unet", name]
    folded = torch.zeros(2, 8, 3, 3)
    for r in range(2):
        for i in range(8):
            folded[r, i] = middle[r, 0] * thin[0, i] + middle[r, 1] * thin[1, i]
    own.down = folded
    flat = "lora_unet_" + name.replace(".", "_")
    save_file(
        {f"{flat}.lora_down.weight": thin, f"{flat}.lora_mid.weight": middle, f"{flat}.lora_up.weight": own.up},
        tmp_path / "my.safetensors",
    )
    same(base, tmp_path / "my.safetensors", layers)


def test_attention_processors_of_before(make: Any, base: str, tmp_path: Path) -> None:
    layers = make(LINEAR[:4])
    tensors = {}
    for (_, name), own in layers.items():
        attention, _, layer = name.removesuffix(".0").rpartition(".")
        tensors |= {f"{attention}.processor.{layer}_lora.down.weight": own.down}
        tensors |= {f"{attention}.processor.{layer}_lora.up.weight": own.up}
    save_file(tensors, tmp_path / "pytorch_lora_weights.safetensors")
    same(base, tmp_path, layers)


# --- PEFT ------------------------------------------------------------------------------------------


def peft_folder(folder: Path, layers: Mapping[Layer, Made], **settings: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tensors = dotted(layers, ".lora_A.weight", ".lora_B.weight", "base_model.model.")
    save_file(
        {key: value for key, value in tensors.items() if not key.endswith(".alpha")},
        folder / "adapter_model.safetensors",
    )
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, **settings}))
    return folder


def test_a_folder_of_peft(make: Any, base: str, tmp_path: Path) -> None:
    layers = make(LINEAR, alpha=lambda i: 6.0)
    same(base, peft_folder(tmp_path / "peft", layers, lora_alpha=6), layers)
    same(base, tmp_path / "peft" / "adapter_model.safetensors", layers)


def test_a_folder_of_peft_for_each_network(make: Any, base: str, tmp_path: Path) -> None:
    layers = make(LINEAR, WORDS, alpha=lambda i: 3.0)
    for part in ("unet", "text_encoder"):
        peft_folder(tmp_path / "both" / part, {k: v for k, v in layers.items() if k[0] == part}, lora_alpha=3)
    same(base, tmp_path / "both", layers)


def test_patterns_and_rslora_of_peft(make: Any, base: str, tmp_path: Path) -> None:
    layers = make(LINEAR, rank=lambda i: 4 if i == 1 else 2)
    for i, own in enumerate(layers.values()):
        own.alpha = (5.0 if i in (1, 5) else 3.0) * math.sqrt(own.down.shape[0])  # alpha / sqrt(r)
    settings = {"lora_alpha": 3, "alpha_pattern": {f"{ATTENTION}.to_k": 5, "ff.net.2": 5}, "rank_pattern": {"to_k": 4}}
    same(base, peft_folder(tmp_path / "peft", layers, use_rslora=True, **settings), layers)


def test_peft_without_an_alpha_has_peft_s_own(make: Any, base: str, tmp_path: Path) -> None:
    from peft import LoraConfig

    layers = make(LINEAR, alpha=lambda i: float(LoraConfig().lora_alpha))
    same(base, peft_folder(tmp_path / "peft", layers), layers)


def test_settings_that_diffusers_keeps_in_the_file(make: Any, base: str, tmp_path: Path) -> None:
    layers = make(LINEAR, WORDS, alpha=lambda i: 4.0)
    tensors = {k: v for k, v in dotted(layers, ".lora_A.weight", ".lora_B.weight").items() if not k.endswith("alpha")}
    settings = json.dumps({"unet.lora_alpha": 4, "text_encoder.lora_alpha": 4, "unet.r": 2})
    save_file(tensors, tmp_path / "my.safetensors", {"lora_adapter_metadata": settings})
    same(base, tmp_path / "my.safetensors", layers)


def test_a_lora_of_diffusers_own_training_script(base: str, tmp_path: Path) -> None:
    """Through PEFT and diffusers' own writer, with mixed ranks."""
    from diffusers import StableDiffusionPipeline
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    pipeline = fresh(base)
    config = LoraConfig(
        r=2, lora_alpha=6, target_modules=["to_q", "to_k"], rank_pattern={"to_k": 4}, init_lora_weights=False
    )
    pipeline.unet.add_adapter(config)
    state = convert_state_dict_to_diffusers(get_peft_model_state_dict(pipeline.unet))
    metadata = {
        key: sorted(value) if isinstance(value, set) else value
        for key, value in pipeline.unet.peft_config["default"].to_dict().items()
    }
    StableDiffusionPipeline.save_lora_weights(tmp_path, unet_lora_layers=state, unet_lora_adapter_metadata=metadata)
    for one, other in zip(put_on(base, tmp_path), outputs(pipeline), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"peft_type": "LOHA"}, "lora-other-method"),
        ({"peft_type": "OFT"}, "lora-other-method"),
        ({"init_lora_weights": "pissa"}, "lora-changed-base"),
        ({"init_lora_weights": "olora"}, "lora-changed-base"),
        ({"lora_alpha": "many"}, "lora-bad-settings"),
        ({"lora_alpha": None}, "lora-bad-settings"),
        ({"alpha_pattern": {"to_q": "two"}}, "lora-bad-settings"),
        ({"alpha_pattern": [1]}, "lora-bad-settings"),
    ],
)
def test_settings_of_peft_that_mean_another_model(
    make: Any, base: str, tmp_path: Path, settings: dict[str, Any], code: str
) -> None:
    with refused(code, naming="adapter_model"):
        put_on(base, peft_folder(tmp_path / "peft", make(LINEAR), **settings))


@pytest.mark.parametrize("text", ["{", "[]", "\x00", '{"lora_alpha": ' + "[" * 100_000])
def test_settings_that_cannot_be_read(make: Any, base: str, tmp_path: Path, text: str) -> None:
    folder = peft_folder(tmp_path / "peft", make(LINEAR))
    (folder / "adapter_config.json").write_text(text)
    with refused("lora-bad-settings", naming="adapter_config.json"):
        put_on(base, folder)


def test_peft_without_settings_has_no_alpha(make: Any, base: str, tmp_path: Path) -> None:
    folder = peft_folder(tmp_path / "peft", make(LINEAR))
    (folder / "adapter_config.json").unlink()
    with refused("lora-no-settings", naming="adapter_config.json"):
        put_on(base, folder)


# --- what is not put on whole ----------------------------------------------------------------------


def leaves_the_model(base: str, path: Path, code: str, *naming: object) -> None:
    """The file is refused, without weights too, and the pipeline still gives what it gave."""
    pipeline, files = fresh(base), find_lora(path)
    assert files is not None
    with refused(code, naming=[path.name, *naming]):
        put_on_pipeline(pipeline, files, base)
    for one, other in zip(outputs(pipeline), outputs(fresh(base)), strict=True):
        assert one.equal(other)
    networks = networks_without_weights(base)
    assert networks is not None
    with refused(code):
        place(networks, files, base)


@pytest.mark.parametrize(
    ("rename", "code"),
    [
        (lambda key: key.replace("lora_unet_", "lora_nothing_"), "side-misfit"),
        (lambda key: key.replace("down_blocks", "dwn_blocks"), "side-misfit"),
        (lambda key: key.replace("lora_unet_", "lora_transformer_"), "lora-other-family"),
        (lambda key: key.replace("lora_unet_", "lora_te2_"), "lora-other-family"),
        (lambda key: key.replace("mid_block_attentions_0", "middle_block_1"), "lora-other-family"),
        (lambda key: key.replace("_to_q.lora_up", "_to_q.lora_upp"), "side-misfit"),
    ],
)
def test_layers_under_other_names_are_counted_and_refused(
    make: Any, base: str, tmp_path: Path, rename: Callable[[str], str], code: str
) -> None:
    tensors = {rename(key): value for key, value in kohya(make(LINEAR)).items()}
    moved = len(tensors.keys() - kohya(make(LINEAR)).keys())
    save_file(tensors, tmp_path / "my.safetensors")
    if code == "side-misfit" and moved == 1:
        moved = 2  # of a layer with one of its two matrices, neither is put on
    leaves_the_model(base, tmp_path / "my.safetensors", code, f"{moved} of its {len(tensors)} tensors")


@pytest.mark.parametrize(
    "extra",
    [
        "lora_unet_mid_block_proj.diff",
        "lora_unet_conv_in.alpha",
        f"lora_unet_{ATTENTION.replace('.', '_')}_to_q.diff_b",
    ],
)
def test_a_tensor_beside_the_lora_is_a_rest(make: Any, base: str, tmp_path: Path, extra: str) -> None:
    save_file({**kohya(make(LINEAR)), extra: torch.ones(1)}, tmp_path / "my.safetensors")
    leaves_the_model(base, tmp_path / "my.safetensors", "side-misfit", "1 of its 13 tensors", extra)


def test_one_layer_under_two_names_is_a_rest(make: Any, base: str, tmp_path: Path) -> None:
    layers = make(LINEAR)
    save_file(
        {k: v.clone() for k, v in {**kohya(layers), **FORMS["diffusers"](layers)}.items()}, tmp_path / "my.safetensors"
    )
    leaves_the_model(base, tmp_path / "my.safetensors", "side-misfit", "12 of its 24 tensors")


@pytest.mark.parametrize("transformer", ["transformer.single_transformer_blocks.0.attn.to_q", "transformer.x.to_q"])
def test_a_lora_of_a_transformer_is_named(base: str, tmp_path: Path, transformer: str) -> None:
    pair = {f"{transformer}.lora_A.weight": torch.ones(2, 3), f"{transformer}.lora_B.weight": torch.ones(3, 2)}
    save_file(pair, tmp_path / "my.safetensors")
    leaves_the_model(base, tmp_path / "my.safetensors", "lora-other-family", "FLUX", "2 of its 2 tensors")


@pytest.mark.parametrize(
    ("names", "method"),
    [
        (("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"), "LoHa"),
        (("lokr_w1", "lokr_w2_a", "lokr_w2_b"), "LoKr"),
        (("oft_blocks",), "OFT"),
        (("a1.weight", "a2.weight", "b1.weight", "b2.weight"), "GLoRA"),
        (("weight", "on_input"), "IA3"),
    ],
)
def test_other_methods_are_named(base: str, tmp_path: Path, names: tuple[str, ...], method: str) -> None:
    layer = "lora_unet_mid_block_attentions_0_proj_in"
    save_file({f"{layer}.{name}": torch.ones(2, 2) for name in names}, tmp_path / "my.safetensors")
    leaves_the_model(base, tmp_path / "my.safetensors", "lora-other-method", method)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("which", ["lora_down.weight", "alpha"])
def test_values_that_are_not_finite(make: Any, base: str, tmp_path: Path, value: float, which: str) -> None:
    tensors = kohya(make(LINEAR, alpha=lambda i: 1.0))
    key = next(key for key in tensors if key.endswith(which))
    tensors[key] = torch.full_like(tensors[key], value)
    save_file(tensors, tmp_path / "my.safetensors")
    leaves_the_model(base, tmp_path / "my.safetensors", "lora-not-finite", key, "1 of 18 tensors")


@pytest.mark.parametrize("layer", [f"{ATTENTION}.to_q", "down_blocks.0.resnets.0.conv1"])
def test_a_dora_by_inputs_is_refused(make: Any, base: str, tmp_path: Path, layer: str) -> None:
    """Early LyCORIS took the length of each column; on a square matrix only the shape tells the two apart."""
    tensors = kohya(make([layer], dora=lambda i: True))
    key = next(key for key in tensors if key.endswith("dora_scale"))
    tensors[key] = tensors[key].transpose(0, 1).contiguous()
    save_file(tensors, tmp_path / "my.safetensors")
    leaves_the_model(base, tmp_path / "my.safetensors", "lora-dora-by-input", layer)


def test_other_shapes_are_one_sentence(make: Any, base: str, tmp_path: Path) -> None:
    for number, change in enumerate([lambda t: torch.cat([t, t], 1), lambda t: t[:1], lambda t: t.flatten()]):
        tensors = kohya(make([f"{ATTENTION}.to_q"]))
        key = next(key for key in tensors if key.endswith("down.weight"))
        tensors[key] = change(tensors[key]).clone()
        save_file(tensors, tmp_path / f"{number}.safetensors")
        leaves_the_model(base, tmp_path / f"{number}.safetensors", "side-misfit", f"{ATTENTION}.to_q")


def test_whole_numbers_are_quantised(make: Any, base: str, tmp_path: Path) -> None:
    save_file({key: value.to(torch.int8) for key, value in kohya(make(LINEAR)).items()}, tmp_path / "my.safetensors")
    leaves_the_model(base, tmp_path / "my.safetensors", "lora-quantised", "int8")


# --- files and folders -----------------------------------------------------------------------------

OTHER_KEYS = {
    "model.diffusion_model.input_blocks.0.0.weight": ("weights-single", "whole checkpoint"),
    "conditioner.embedders.0.x": ("weights-single", "whole checkpoint"),
    "model.diffusion_model.double_blocks.0.x": ("weights-no-lora", "FLUX"),
    "double_blocks.0.x": ("weights-no-lora", "FLUX"),
    "emb_params": ("weights-no-lora", "textual inversion"),
    "down_blocks.0.resnets.0.conv1.weight": ("weights-no-lora", "UNet"),
    "decoder.conv_in.weight": ("weights-no-lora", "VAE"),
    "text_model.embeddings.position_embedding.weight": ("weights-no-lora", "text encoder"),
    "control_model.x": ("weights-no-lora", "ControlNet"),
}


@pytest.mark.parametrize("key", OTHER_KEYS)
def test_what_is_no_lora_is_named_as_what_it_is(base: str, tmp_path: Path, key: str) -> None:
    save_file({key: torch.ones(2, 2)}, tmp_path / "my.safetensors")
    code, what = OTHER_KEYS[key]
    leaves_the_model(base, tmp_path / "my.safetensors", code, what)


def test_a_folder_with_one_file_of_any_name_and_with_several(make: Any, base: str, tmp_path: Path) -> None:
    layers = make(LINEAR)
    save_file(kohya(layers), tmp_path / "my_style.safetensors")
    (tmp_path / "notes.md").write_text("")
    same(base, tmp_path, layers)
    save_file(kohya(layers), tmp_path / "my_style-000002.safetensors")
    with refused("lora-several-files", naming=[tmp_path, "my_style.safetensors"]):
        find_lora(tmp_path)


@pytest.mark.parametrize("name", ["pytorch_lora_weights.bin", "adapter_model.bin"])
def test_a_folder_with_a_pickle_says_how_to_convert_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with refused("weights-pickle", naming=[name, "save_file", "weights_only=True"]):
        find_lora(tmp_path)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("a.ckpt", "weights-other-format"),
        ("a.pt", "weights-pickle"),
        ("a.gguf", "weights-other-format"),
        ("a.onnx", "weights-other-format"),
    ],
)
def test_a_file_of_another_format_is_named(tmp_path: Path, name: str, code: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with refused(code, naming=name):
        find_lora(tmp_path / name)


def test_a_pointer_of_git_lfs_is_named(base: str, tmp_path: Path) -> None:
    (tmp_path / "my.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n")
    leaves_the_model(base, tmp_path / "my.safetensors", "weights-lfs-pointer", "git lfs pull")


def test_a_folder_of_images_is_no_lora(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(b"")
    assert find_lora(tmp_path) is None

"""A LoRA to begin from: at first the model is the one that the file gives; the result is the whole LoRA."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from refusals import refused
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_lora_files import (
    LINEAR,
    WORDS,
    Made,
    dotted,
    fresh,
    kohya,
    make,
    merged,
    outputs,
    peft_folder,
    put_on,
)
from test_lora_of_others import ALL, alpha, rank
from torch import Tensor

from thumbtune.models.families import adapter_of
from thumbtune.models.loading import load_pipeline
from thumbtune.models.lora import DIFFUSERS_FILE, KOHYA_FILE
from thumbtune.models.lora_files import find_lora
from thumbtune.models.lora_loading import put_on_pipeline
from thumbtune.models.lora_start import begin, copies_of, files_of
from thumbtune.models.without_weights import pipeline_without_weights

__all__ = ["make"]  # a fixture


def started(base: str, path: Path) -> Any:
    pipeline = fresh(base)
    return adapter_of(pipeline, begin(pipeline, files_of(path), base))


def nudge(model: Any) -> None:
    with torch.no_grad():
        for i, (_, weight) in enumerate(model.trainable()):
            weight.add_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(i)))


def told(model: Any) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        text = model.embed(["a cat", "red dog"])["text"]
        noisy = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3))
        return model.predict(noisy, torch.tensor([10, 700]), {"text": text}), text


def in_diffusers(base: str, path: Path) -> tuple[Tensor, Tensor]:
    pipeline: Any = StableDiffusionPipeline.from_pretrained(base, safety_checker=None)
    pipeline.load_lora_weights(path.parent, weight_name=path.name)
    return told(adapter_of(pipeline))


def close(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor], atol: float = 2e-5) -> None:
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=atol)


FORMS: dict[str, Callable[[Path, Any], Path]] = {}


def form(write: Callable[[Path, Any], Path]) -> Callable[[Path, Any], Path]:
    FORMS[write.__name__] = write
    return write


@form
def of_kohya(folder: Path, layers: Any) -> Path:
    save_file(kohya(layers), folder / "my.safetensors")
    return folder / "my.safetensors"


@form
def of_diffusers(folder: Path, layers: Any) -> Path:
    save_file(dotted(layers, ".lora_A.weight", ".lora_B.weight"), folder / DIFFUSERS_FILE)
    return folder


@form
def of_peft(folder: Path, layers: Any) -> Path:
    for part in ("unet", "text_encoder"):
        own = {name: layer for (where, name), layer in layers.items() if where == part}
        patterns = {"alpha_pattern": {name: layer.alpha for name, layer in own.items()}}
        peft_folder(folder / part, {(part, name): layer for name, layer in own.items()}, **patterns)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("name", FORMS)
def test_the_first_prediction_and_the_result_are_those_of_the_file(
    make: Any, base: str, tmp_path: Path, name: str, dora: bool
) -> None:
    layers: dict[Any, Made] = make(ALL, WORDS, rank=rank, alpha=alpha, dora=lambda i: dora)
    path = FORMS[name](tmp_path, layers)
    model = started(base, path)
    first = told(model)
    close(first, put_on(base, path))
    close(first, outputs(merged(base, layers)))
    with model.reference():
        assert all(torch.equal(a, b) for a, b in zip(told(model), first, strict=True))
    assert {p.dtype for _, p in model.trainable()} == {torch.float32}
    assert len(list(model.trainable())) == (3 if dora else 2) * len(ALL)  # those of the text encoder are not trained

    nudge(model)
    trained = told(model)
    assert (trained[0] - first[0]).abs().max() > 0.01 and torch.equal(trained[1], first[1])
    with model.reference():
        assert all(torch.equal(a, b) for a, b in zip(told(model), first, strict=True))
    model.save(tmp_path / "result")
    for file in (DIFFUSERS_FILE, KOHYA_FILE):
        close(put_on(base, tmp_path / "result" / file), trained)
    close(in_diffusers(base, tmp_path / "result" / DIFFUSERS_FILE), trained)

    again = started(base, path)
    again.load(tmp_path / "result")
    close(told(again), trained)
    with again.reference():
        close(told(again), first)
    chained = started(base, tmp_path / "result" / KOHYA_FILE)  # begin again from the result
    close(told(chained), trained)


def test_the_reference_may_be_the_base_whose_denoiser_has_no_lora(make: Any, base: str, tmp_path: Path) -> None:
    path = of_kohya(tmp_path, make(ALL, {}, rank=rank, alpha=alpha))
    pipeline = fresh(base)
    model = adapter_of(pipeline, replace(begin(pipeline, files_of(path), base), is_reference=False))
    close(told(model), put_on(base, path))
    with model.reference():
        assert all(torch.equal(a, b) for a, b in zip(told(model), told(adapter_of(fresh(base))), strict=True))
    assert (told(model)[0] - told(started(base, path))[0]).abs().max() == 0


def test_layers_of_the_text_encoder_are_written_as_they_were_read(make: Any, base: str, tmp_path: Path) -> None:
    layers = make(ALL, WORDS, rank=rank, alpha=alpha)
    model = started(base, of_kohya(tmp_path, layers))
    nudge(model)
    model.save(tmp_path / "result")
    given, written = load_file(tmp_path / "my.safetensors"), load_file(tmp_path / "result" / KOHYA_FILE)
    assert given.keys() == written.keys()
    for key, value in given.items():
        assert torch.equal(value.float(), written[key]) == (key.startswith("lora_te_") or key.endswith(".alpha")), key


def test_the_headers_tell_ranks_that_differ(make: Any, base: str, tmp_path: Path) -> None:
    def facts(folder: Path, **options: Any) -> dict[str, str]:
        folder.mkdir()
        started(base, of_kohya(folder, make(ALL, WORDS, **options))).save(folder / "result")
        with safe_open(folder / "result" / KOHYA_FILE, "pt") as opened:
            header = opened.metadata()
        return {key: header[key] for key in ("ss_network_dim", "ss_network_alpha", "ss_network_args") if key in header}

    assert facts(tmp_path / "a", rank=rank, alpha=alpha) == {"ss_network_dim": "Dynamic", "ss_network_alpha": "Dynamic"}
    assert facts(tmp_path / "b", alpha=lambda i: 0.3) == {"ss_network_dim": "2", "ss_network_alpha": "0.3"}
    assert facts(tmp_path / "c", alpha=alpha) == {"ss_network_dim": "2", "ss_network_alpha": "Dynamic"}
    wide = {6, 8}  # a convolution of 1 x 1 has the rank of linear layers
    own = facts(tmp_path / "d", rank=lambda i: 3 if i in wide else 2, alpha=lambda i: 1.5 if i in wide else 4.0)
    assert own | {"ss_network_args": json.loads(own["ss_network_args"])} == {
        "ss_network_dim": "2",
        "ss_network_alpha": "4.0",
        "ss_network_args": {"conv_dim": 3, "conv_alpha": 1.5},
    }


def test_a_layer_of_scale_0_learns(make: Any, base: str, tmp_path: Path) -> None:
    layers = make(LINEAR, alpha=lambda i: 0.0 if i % 2 else 2.0)
    model = started(base, of_kohya(tmp_path, layers))
    close(told(model), outputs(merged(base, layers)))
    nudge(model)
    model.save(tmp_path / "result")
    close(put_on(base, tmp_path / "result" / KOHYA_FILE), told(model))


def test_the_scale_of_the_text_encoder_tells_cached_prompts_apart(make: Any, base: str, tmp_path: Path) -> None:
    prints = set()
    for number in (1.0, 4.0):
        (tmp_path / str(number)).mkdir()
        path = of_kohya(tmp_path / str(number), make(LINEAR, WORDS, alpha=lambda i, number=number: number))
        prints.add(started(base, path).fingerprint())
    assert len(prints | {adapter_of(fresh(base)).fingerprint()}) == 3


def test_what_cannot_be_gone_on_with_is_one_sentence(make: Any, base: str, tmp_path: Path) -> None:
    save_file(kohya(make(LINEAR, dora=lambda i: i < 2)), tmp_path / "mixed.safetensors")
    with refused("lora-start-mixed", naming=["2 of 6 layers", "mixed.safetensors"]):
        started(base, tmp_path / "mixed.safetensors")
    save_file(kohya(make([], WORDS)), tmp_path / "text.safetensors")
    with refused("lora-start-text-alone", naming="text.safetensors"):
        started(base, tmp_path / "text.safetensors")
    with refused("lora-start-missing", naming=str(tmp_path / "none")):
        started(base, tmp_path / "none")
    layers = make(LINEAR)
    next(iter(layers.values())).up = torch.zeros(5, 2)
    save_file(kohya(layers), tmp_path / "other.safetensors")
    with refused("side-misfit", naming=["other.safetensors", "set model"]):
        started(base, tmp_path / "other.safetensors")


def test_the_base_of_a_plain_one_alone_is_quantised(make: Any, base: str, tmp_path: Path) -> None:
    def quantised(folder: Path, dora: bool) -> Any:
        folder.mkdir()
        pipeline = fresh(base)
        begun = begin(pipeline, files_of(of_kohya(folder, make(LINEAR, dora=lambda i: dora))), base)
        return adapter_of(pipeline, replace(begun, quantize="int8"))

    model = quantised(tmp_path / "plain", False)
    close(told(model), put_on(base, tmp_path / "plain" / "my.safetensors"), atol=0.05)
    with refused("option-unused", naming="train.quantize_base"):
        quantised(tmp_path / "dora", True)


def test_a_copy_is_found_as_the_same_lora(make: Any, base: str, tmp_path: Path) -> None:
    layers = make(LINEAR, WORDS, alpha=alpha)
    for i, write in enumerate(FORMS.values()):
        (tmp_path / f"given-{i}").mkdir()
        path = write(tmp_path / f"given-{i}", layers)
        copies = copies_of(files_of(path), tmp_path / f"copy-{i}")
        for source, copy in copies.items():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(source.read_bytes())
        assert set(copies.values()) == {file for file in (tmp_path / f"copy-{i}").rglob("*") if file.is_file()}
        close(put_on(base, tmp_path / f"copy-{i}"), put_on(base, path), atol=0)


def test_without_weights_it_has_the_same_shapes(make: Any, base: str, tmp_path: Path) -> None:
    path = of_kohya(tmp_path, make(ALL, WORDS, rank=rank))
    with torch.device("meta"):
        pipeline = pipeline_without_weights(base)
        shapes = adapter_of(pipeline, begin(pipeline, files_of(path), base))
    model = started(base, path)
    assert [(n, p.shape) for n, p in shapes.trainable()] == [(n, p.shape) for n, p in model.trainable()]


# --- SDXL ------------------------------------------------------------------------------------------


def conditions(model: Any) -> dict[str, Tensor]:
    return model.embed(["a cat", "red dog"]) | {"time_ids": torch.tensor([[16.0, 16, 0, 0, 16, 16]] * 2)}


def told_xl(model: Any) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        condition = conditions(model)
        noisy = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3))
        return model.predict(noisy, torch.tensor([10, 700]), condition), condition["text"]


@pytest.mark.slow
def test_sdxl_with_both_text_encoders(tiny_pipeline: Callable[[str], Path], tmp_path: Path) -> None:
    """As sd-scripts writes it: input_blocks, lora_te1_ and lora_te2_, an alpha and a rank of each layer."""
    folder = tiny_pipeline("xl-epsilon")
    pipeline, generator, tensors = load_pipeline(str(folder)), torch.Generator().manual_seed(0), {}
    names = {"text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}
    for part, prefix in names.items():
        name = next(n for n, _ in getattr(pipeline, part).named_modules() if n.endswith("layers.0.self_attn.q_proj"))
        width = getattr(pipeline, part).get_submodule(name).weight.shape[0]
        flat = f"{prefix}_text_model_encoder_layers_0_self_attn_q_proj"
        tensors |= {f"{flat}.lora_down.weight": torch.randn(2, width, generator=generator)}
        tensors |= {f"{flat}.lora_up.weight": torch.randn(width, 2, generator=generator)}
        tensors |= {f"{flat}.alpha": torch.tensor(1.5)}
    for i, (name, module) in enumerate(sorted(pipeline.unet.named_modules())):
        if name.endswith(("attn1.to_q", "attn2.to_k", "ff.net.2")):
            flat, shape = "lora_unet_" + name.replace(".", "_"), module.weight.shape
            tensors |= {f"{flat}.lora_down.weight": torch.randn(1 + i % 3, shape[1], generator=generator)}
            tensors |= {f"{flat}.lora_up.weight": torch.randn(shape[0], 1 + i % 3, generator=generator) * 0.3}
            tensors |= {f"{flat}.alpha": torch.tensor(0.5 + i % 2)}
    save_file(tensors, tmp_path / "xl.safetensors")
    base = str(folder)
    model = adapter_of(pipeline, begin(pipeline, files_of(tmp_path / "xl.safetensors"), base))
    first, plain = told_xl(model), told_xl(adapter_of(load_pipeline(base)))
    assert all((a - b).abs().max() > 0.01 for a, b in zip(first, plain, strict=True))
    nudge(model)
    trained = told_xl(model)
    model.save(tmp_path / "result")
    keys = load_file(tmp_path / "result" / KOHYA_FILE).keys()
    assert len(keys) == len(tensors) and {key.split("_")[1] for key in keys} == {"unet", "te1", "te2"}
    blocks = {"_".join(key.split("_")[2:4]) for key in keys if "unet" in key}
    assert blocks == {"input_blocks", "middle_block", "output_blocks"}
    for name in (DIFFUSERS_FILE, KOHYA_FILE):
        ours = load_pipeline(base)
        files = find_lora(tmp_path / "result" / name)
        assert files is not None
        put_on_pipeline(ours, files, base)
        close(told_xl(adapter_of(ours)), trained)
    theirs: Any = StableDiffusionXLPipeline.from_pretrained(base, add_watermarker=False)
    theirs.load_lora_weights(tmp_path / "result", weight_name=DIFFUSERS_FILE)
    close(told_xl(adapter_of(theirs)), trained)

"""A quantised base: its bytes, its error, its gradients, and a LoRA on it that is one for the base as it was."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from refusals import refused
from torch import Tensor, nn

from thumbtune.models.families import adapter_of
from thumbtune.models.loading import load_pipeline
from thumbtune.models.lora import LoRA
from thumbtune.models.lora_targets import PRESETS
from thumbtune.models.quantised import Bits, Quantised, count_of, quantise, to_int8


@pytest.fixture(params=["int8", "nf4"])
def bits(request: pytest.FixtureRequest) -> Bits:
    if request.param == "nf4":
        pytest.importorskip("bitsandbytes")
    return request.param


@pytest.fixture
def make(tiny_pipeline: Callable[[str], Path]) -> Callable[..., Any]:
    def made(kind: str, bits: Bits | None, **options: Any) -> Any:
        pipeline = load_pipeline(str(tiny_pipeline(kind)))
        tuning = LoRA(rank=4, quantize=bits, **{k: v for k, v in options.items() if k != "half"})
        return adapter_of(pipeline, tuning, half=options.get("half"))

    return made


def layer_of(*shape: int, bias: bool = True) -> nn.Linear:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Linear(*shape, bias=bias).requires_grad_(False)


def condition_of(kind: str) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = {"text": (8, 40), "pooled": (12,)} if kind.startswith("xl") else {"text": (8, 16)}
    condition = {name: torch.randn(2, *shape, generator=generator) for name, shape in shapes.items()}
    return condition | ({"time_ids": 16 * torch.ones(2, 6)} if kind.startswith("xl") else {})


def predicted(model: Any, kind: str) -> Tensor:
    noisy = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    return model.predict(noisy, torch.tensor([40, 900]), condition_of(kind)).float()


def test_weights_are_within_half_a_level_of_what_they_were() -> None:
    weight = torch.tensor([[1.27, -0.5, 0.004, 0.0], [0.0, 0.0, 0.0, 0.0], [-254.0, 3.1, 1.0, 200.0]])
    codes, scale = to_int8(weight)
    assert codes.tolist() == [[127, -50, 0, 0], [0, 0, 0, 0], [-127, 2, 0, 100]]
    assert scale[[0, 2]].flatten().tolist() == pytest.approx([0.01, 2.0])
    layer = nn.Linear(4, 3, bias=False).requires_grad_(False)
    layer.weight.data = weight
    small = Quantised(layer, "int8")
    assert small.weight.flatten().tolist() == pytest.approx([1.27, -0.5, 0, 0, 0, 0, 0, 0, -254.0, 4.0, 0, 200.0])
    assert (layer_of(70, 30).weight - Quantised(layer_of(70, 30), "int8").weight).abs().max() < 0.12 / 127 / 2 + 1e-6


def test_nf4_takes_the_nearest_of_its_levels_for_each_block_of_64() -> None:
    pytest.importorskip("bitsandbytes")
    layer = nn.Linear(64, 2, bias=False).requires_grad_(False)
    layer.weight.data = torch.zeros(2, 64)
    layer.weight.data[0, :4] = torch.tensor([2.0, -2.0, 0.9, 0.1])
    layer.weight.data[1, :3] = torch.tensor([-0.01, 0.0072, 0.0])
    found = Quantised(layer, "nf4").weight
    assert found[0, :4].tolist() == pytest.approx([2.0, -2.0, 2 * 0.440710, 2 * 0.0795803], rel=1e-4)
    assert found[1, :3].tolist() == pytest.approx([-0.01, 0.00722957, 0.0], rel=1e-3)
    assert found[0, 4:].abs().max() == 0


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(64, 32), (7, 5), (1, 1), (130, 3)])
def test_the_product_and_its_gradient_are_those_of_the_weights_that_the_codes_stand_for(
    bits: Bits, shape: tuple[int, int], bias: bool
) -> None:
    small = Quantised(layer_of(*shape, bias=bias), bits)
    plain = layer_of(*shape, bias=bias)
    plain.weight.data = small.weight
    assert small.weight.shape == plain.weight.shape and (small.bias is None) == (not bias)
    for dtype in (torch.float32, torch.bfloat16):
        found = []
        for layer in (small, plain):
            x = torch.randn(2, 3, shape[0], generator=torch.Generator().manual_seed(1)).requires_grad_()
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
                out = layer(x)
            out.float().pow(2).sum().backward()
            assert x.grad is not None
            found.append((out, x.grad))
        assert found[0][0].dtype == dtype
        assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))
    assert small.weight_in(torch.bfloat16).dtype == torch.bfloat16


def test_bytes_fall_and_every_weight_is_counted(make: Callable[..., Any], bits: Bits) -> None:
    layer = layer_of(256, 64, bias=False)
    small = Quantised(layer, bits)
    kept = sum(value.nbytes for value in small.buffers())
    assert kept == (256 * 64 + 4 * 64 if bits == "int8" else 256 * 64 // 2 + 4 * 256 * 64 // 64)
    assert list(small.parameters()) == []
    model, plain = make("epsilon", bits), make("epsilon", None)
    assert count_of(model.network) == count_of(plain.network) == sum(p.numel() for p in plain.network.parameters())
    layers = [layer for layer in model.network.modules() if isinstance(layer, nn.Linear)]
    trained = {id(layer) for name, layer in model.network.named_modules() if "lora_" in name}
    assert all(isinstance(layer, Quantised) for layer in layers if id(layer) not in trained)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "half", "checkpointing"),
    [
        ("epsilon", None, False),
        ("v_prediction", torch.bfloat16, True),
        ("xl-epsilon", torch.bfloat16, False),
        ("xl-epsilon", None, True),
    ],
)
def test_a_lora_learns_on_a_quantised_base_and_is_one_for_the_base_as_it_was(
    make: Callable[..., Any],
    perturb: Any,
    tmp_path: Path,
    bits: Bits,
    kind: str,
    half: torch.dtype | None,
    checkpointing: bool,
) -> None:
    targets = PRESETS["with-convolutions"]
    plain, small = (make(kind, used, half=half, targets=targets) for used in (None, bits))
    if checkpointing:
        small.network.enable_gradient_checkpointing()
    with torch.autocast("cpu", torch.bfloat16, enabled=half is not None):
        exact = predicted(plain, kind)
        found = predicted(small, kind)
        with torch.no_grad(), small.reference():
            assert torch.equal(predicted(small, kind), found)  # B is 0
        assert 0 < (found - exact).norm() < (0.02 if bits == "int8" else 0.2) * exact.norm()
        perturb(plain, by=0.05)
        perturb(small, by=0.05)
        moved = predicted(small, kind)
        moved.square().mean().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for _, weight in small.trainable())
    assert all(weight.dtype == torch.float32 for _, weight in small.trainable())
    assert [name for name, _ in small.trainable()] == [name for name, _ in plain.trainable()]
    for model, name in ((plain, "plain"), (small, "small")):
        model.save(tmp_path / name)
    for file in (tmp_path / "plain").iterdir():
        assert file.read_bytes() == (tmp_path / "small" / file.name).read_bytes()
    fresh = make(kind, None, targets=targets)
    fresh.load(tmp_path / "small")
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(fresh.trainable(), small.trainable(), strict=True))


def test_the_frozen_layers_alone_are_quantised_and_convolutions_stay(make: Callable[..., Any]) -> None:
    model = make("epsilon", "int8", half=torch.bfloat16)
    assert model.network.conv_in.weight.dtype == torch.bfloat16
    assert not any(isinstance(layer, Quantised) for layer in model.pipeline.text_encoder.modules())
    assert model.network.dtype == torch.bfloat16 and model.device == torch.device("cpu")


def test_nf4_without_its_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with refused("bitsandbytes-missing", naming="nf4"):
        quantise(nn.Sequential(layer_of(4, 4)), "nf4")
    quantise(nn.Sequential(layer_of(4, 4)), "int8")

"""Offloaded blocks change no bit of a step, of any family, and their weights are used only where the network is."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from refusals import refused
from tiny_transformers import BUILDERS, built
from torch import Tensor, nn

from thumbtune.errors import UsageError
from thumbtune.models import block_offload, drawing
from thumbtune.models.block_offload import SLAB, Offload, Slabs, blocks_of, bytes_offloaded, offload
from thumbtune.models.devices import bytes_that_move, device_of, stays
from thumbtune.models.families import adapter_of
from thumbtune.models.half import computing
from thumbtune.models.loading import load_pipeline
from thumbtune.models.lora import LoRA, put_on
from thumbtune.models.protocol import Sampler
from thumbtune.training.live_memory import LiveMemory, without_values

UNETS = ["epsilon", "xl-epsilon"]
QUICK = ("flux", "chroma", "pixart", "krea2")
PROMPTS = ["a cat", "red dog in the snow"]
Make = Callable[..., Any]


@pytest.fixture
def make(tiny_pipeline: Callable[[str], Path], perturb: Callable[..., None]) -> Make:
    """(kind, half, options of the LoRA) -> an adapter with checkpointing, as if it had been trained."""

    def made(kind: str, half: torch.dtype | None = None, **options: Any) -> Any:
        pipeline = load_pipeline(str(tiny_pipeline(kind)))
        model: Any = adapter_of(pipeline, LoRA(rank=2, **options), gradient_checkpointing=True, half=half)
        model.size = 32
        perturb(model)
        return model

    return made


def poisoned(model: Any, monkeypatch: pytest.MonkeyPatch, count: int | str = "all") -> Offload:
    """Offload blocks whose own weights are then NaN: only the copies have values."""
    offloading = offload(model.networks.values(), count)  # type: ignore[arg-type]
    offloading.always_copies = True
    layers = [layer for layer in model.network.modules() if stays(layer)]
    values = {layer: {name: value.clone() for name, value in block_offload._own(layer).items()} for layer in layers}
    for layer in layers:
        for value in block_offload._own(layer).values():
            value.data.fill_(float("nan") if value.is_floating_point() else 99)
    monkeypatch.setattr(block_offload, "_own", values.__getitem__)
    return offloading


def step(model: Any) -> list[Tensor]:
    """The errors of the reference and of the policy, and all gradients."""
    noisy = torch.randn(
        2, *model.encode([Image.new("RGB", (32, 32))]).shape[1:], generator=torch.Generator().manual_seed(5)
    )
    condition = model.embed(PROMPTS) | model.image_condition([Image.new("RGB", (32, 32))] * 2)
    t = torch.tensor([990, 40])

    def predicted() -> Tensor:
        with computing(model.device, model.half):
            return model.predict(noisy, t, condition).float()

    with torch.no_grad(), model.reference():
        reference = predicted()
    out = predicted()
    (out - reference).pow(2).sum().backward()
    gradients = [weight.grad for _, weight in model.trainable()]
    for _, weight in model.trainable():
        weight.grad = None
    return [reference, out.detach(), *gradients]


def assert_equal(one: list[Tensor], other: list[Tensor]) -> None:
    assert len(one) == len(other) > 2
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert max(float(gradient.abs().max()) for gradient in one[2:]) > 0


@pytest.mark.parametrize("kind", [*UNETS, *BUILDERS])
def test_a_step_is_the_same_bit_for_bit(kind: str, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = step(make(kind))
    model = make(kind)
    poisoned(model, monkeypatch)
    assert bytes_offloaded(model.network) > 0
    assert_equal(step(model), plain)
    assert_equal(step(model), plain)  # the second step knows the order of layers


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("flux", {"half": torch.bfloat16}),
        ("flux", {"quantize": "int8"}),
        ("flux", {"quantize": "nf4", "half": torch.bfloat16}),
        ("flux", {"dora": True}),
        ("epsilon", {"quantize": "int8", "half": torch.bfloat16}),
        ("wan-experts", {"half": torch.bfloat16}),
    ],
)
def test_it_is_also_with_halves_fewer_bits_and_dora(
    kind: str, options: dict[str, Any], make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    if options.get("quantize") == "nf4":
        pytest.importorskip("bitsandbytes")
    plain, model = step(make(kind, **options)), make(kind, **options)
    poisoned(model, monkeypatch)
    assert_equal(step(model), plain)


def test_it_is_also_without_checkpointing_and_after_the_reference_was_synced(
    make: Make, monkeypatch: pytest.MonkeyPatch, perturb: Callable[..., None]
) -> None:
    results = []
    for is_offloaded in (False, True):
        model = make("flux")
        if is_offloaded:
            poisoned(model, monkeypatch)
        model.pipeline.transformer.disable_gradient_checkpointing()
        model.freeze_reference()
        perturb(model, seed=4)
        results.append(step(model))
    assert_equal(*results)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow)  # tensors without values are slow
        for kind in [*UNETS, *BUILDERS]
    ],
)
def test_no_operation_mixes_devices(kind: str, make: Make) -> None:
    """The machine's memory is another device here than the one that computes, and tensors have no values."""
    model = make(kind)
    offload(model.networks.values())
    shape = model.encode([Image.new("RGB", (32, 32))]).shape[1:]
    condition = model.embed(PROMPTS[:1] * 2) | model.image_condition([Image.new("RGB", (32, 32))] * 2)
    with without_values(), LiveMemory() as memory:
        _place(model.network, elsewhere=stays)
        memory.number = condition["text"].shape[1]
        condition = {name: torch.empty(value.shape) for name, value in condition.items()}
        for _ in range(2):
            with torch.no_grad(), model.reference():
                reference = model.predict(torch.empty(2, *shape), torch.empty(2), condition)
            error = model.predict(torch.empty(2, *shape), torch.empty(2), condition) - reference
            error.pow(2).sum().backward()
        trained = [weight for _, weight in model.trainable() if weight.grad is not None]
        assert trained and {weight.grad.device.type for weight in trained} == {"cpu"}
        kept = [layer for layer in model.network.modules() if stays(layer)]
        assert {weight.device.type for layer in kept for weight in layer.parameters()} == {"cuda"}


def test_without_copies_devices_are_mixed(make: Make) -> None:
    model = make("flux")
    shape = model.encode([Image.new("RGB", (32, 32))]).shape[1:]
    condition = model.embed(PROMPTS)
    blocks = {layer for block in blocks_of(model.network) for layer in block.modules() if type(layer) is nn.Linear}
    with without_values(), LiveMemory():
        _place(model.network, elsewhere=blocks.__contains__)
        condition = {name: torch.empty(value.shape) for name, value in condition.items()}
        with pytest.raises(RuntimeError, match="same device"):
            model.predict(torch.empty(2, *shape), torch.empty(2), condition)


def _place(network: nn.Module, elsewhere: Callable[[nn.Module], bool]) -> None:
    for layer in network.modules():
        device = "cuda" if elsewhere(layer) else "cpu"
        for name, weight in layer._parameters.items():
            if weight is not None:
                made = torch.empty(weight.shape, dtype=weight.dtype, device=device)
                layer._parameters[name] = nn.Parameter(made, requires_grad=weight.requires_grad)
        for name, value in layer._buffers.items():
            layer._buffers[name] = None if value is None else torch.empty(value.shape, device=device)


@pytest.mark.slow
def test_the_copies_of_a_block_are_gone_before_those_of_the_next(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("qwen-image")  # of two equal blocks
    offloading = offload(model.networks.values())
    offloading.always_copies = True
    alive: dict[int, int] = {}
    peaks: list[int] = []
    sent = Offload._sent

    def counted(self: Offload, layer: nn.Module, device: torch.device) -> Any:
        found = sent(self, layer, device)
        for copy in found[2].values():
            storage = copy.untyped_storage()
            alive[storage._cdata] = copy.nbytes
            weakref.finalize(storage, alive.pop, storage._cdata)
        peaks.append(sum(alive.values()))
        return found

    monkeypatch.setattr(Offload, "_sent", counted)
    for _ in range(2):
        step(model)
    gc.collect()
    one, other = (bytes_offloaded(block) for block in blocks_of(model.network))
    layers = [layer for layer in model.network.modules() if stays(layer)]
    largest = max(sum(value.nbytes for value in block_offload._own(layer).values()) for layer in layers)
    assert one == other
    assert one / 2 < max(peaks) <= one + largest  # with the copy that is made ahead
    assert sum(alive.values()) <= largest


def test_the_layers_stay_where_they_are_when_their_network_moves(make: Make) -> None:
    model = make("flux")
    network, whole = model.network, sum(value.nbytes for value in model.network.parameters())
    assert bytes_that_move(network) == whole and bytes_offloaded(network) == 0
    offload([network])
    assert bytes_that_move(network) == whole - bytes_offloaded(network) < whole / 2
    network.to("meta")
    network.double()
    assert device_of(network).type == "meta"
    for layer in network.modules():
        for weight in layer.parameters(recurse=False):
            assert weight.device.type == ("cpu" if stays(layer) else "meta")
            assert weight.dtype == (torch.float32 if stays(layer) else torch.float64)
    assert not any(stays(layer) for name, layer in network.named_modules() if "lora_" in name or "norm" in name[-7:])


def test_only_the_first_blocks_of_each_network_stay(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, model = step(make("ltx")), make("ltx")
    poisoned(model, monkeypatch, 1)
    first, second = blocks_of(model.network)
    assert any(map(stays, first.modules())) and not any(map(stays, second.modules()))
    assert_equal(step(model), plain)


def test_more_blocks_than_there_are_are_refused(make: Make) -> None:
    model = make("ltx")
    with refused("offload-too-many", UsageError, naming=["train.blocks_to_swap is 3", "2 blocks", "all"]):
        offload(model.networks.values(), 3)
    offload(model.networks.values(), 2)


def test_images_are_the_same(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler, images = Sampler(steps=2, guidance=3.0), []
    for is_offloaded in (False, True):
        model = make("chroma")
        if is_offloaded:
            poisoned(model, monkeypatch)
        images += [image.tobytes() for image in model.generate(PROMPTS, [1, 2], sampler)]
    assert images[:2] == images[2:]


def test_a_network_that_a_device_cannot_hold_is_drawn_with_block_by_block(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make("flux")
    whole = bytes_that_move(model.network)
    parts = [*model.networks.values(), *model.beside]
    before = model.generate(PROMPTS[:1], [1], Sampler(steps=2))
    for limit, expected in ((sum(map(bytes_that_move, parts)), False), (whole - 1, True)):
        monkeypatch.setattr("thumbtune.models.drawing.takes_turns", lambda size, _, most=limit: size > most)
        monkeypatch.setattr(model.pipeline, "enable_model_cpu_offload", lambda device: None)
        after = model.generate(PROMPTS[:1], [1], Sampler(steps=2))
        assert after[0].tobytes() == before[0].tobytes()
        assert (bytes_offloaded(model.network) > 0) == expected


def test_blocks_leave_the_device_before_they_stay_where_they_are(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    model, told = make("flux"), []
    limit = bytes_that_move(model.network) - 1
    monkeypatch.setattr(drawing, "takes_turns", lambda size, _: size > limit)
    monkeypatch.setattr(drawing, "offload", lambda networks: told.append(("offload", *networks)) or offload(networks))
    monkeypatch.setattr(drawing, "bring", lambda device, networks: told.append((str(device), *networks)))
    monkeypatch.setattr(model.pipeline, "enable_model_cpu_offload", lambda device: None)
    model.generate(PROMPTS[:1], [1], Sampler(steps=1))
    assert told[:2] == [("cpu", model.network), ("offload", model.network)]  # it was trained on the device, perhaps


def test_slabs_hold_weights_one_behind_the_other() -> None:
    slabs, generator = Slabs(pin=False), torch.Generator().manual_seed(0)
    tensors = [torch.randn(3, 5, generator=generator).bfloat16(), torch.arange(700, dtype=torch.uint8)]
    tensors += [torch.randn(7, generator=generator), torch.tensor(2.0), torch.empty(0)]
    placed = [slabs.pinned(tensor) for tensor in tensors]
    assert all(torch.equal(one, other) and one.dtype == other.dtype for one, other in zip(placed, tensors, strict=True))
    assert len({one.untyped_storage()._cdata for one in placed}) == 1
    assert placed[0].untyped_storage().nbytes() == SLAB


def test_memory_that_cannot_be_pinned_is_told_and_used_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> Tensor:
        raise RuntimeError("out of memory\nmore")

    slabs, value = Slabs(), torch.ones(3)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "empty", fail)
        assert slabs.pinned(value) is value
    assert slabs.pinned(value) is value
    assert caplog.text.count("cannot be pinned (out of memory)") == 1


def test_diffusers_group_offloading_changes_gradients(tmp_path: Path) -> None:
    """Why it is not used: it takes weights away after a forward pass, and the gradient reads other ones."""
    from diffusers.hooks import apply_group_offloading

    results = []
    for is_offloaded in (False, True):
        network: Any = built("flux").transformer.eval()
        put_on(network, LoRA(rank=2))
        generator = torch.Generator().manual_seed(3)
        trained = [weight for weight in network.parameters() if weight.requires_grad]
        for weight in trained:
            weight.data += 0.2 * torch.randn(weight.shape, generator=generator)
        network.enable_gradient_checkpointing()
        if is_offloaded:
            cpu = torch.device("cpu")
            apply_group_offloading(
                network, cpu, cpu, offload_type="leaf_level", offload_to_disk_path=str(tmp_path / "disk")
            )
        x, text, pooled = (
            torch.randn(1, *shape, generator=generator)
            for shape in (
                (16, network.config.in_channels),
                (8, network.config.joint_attention_dim),
                (network.config.pooled_projection_dim,),
            )
        )
        out = network(
            hidden_states=x,
            timestep=torch.tensor([0.3]),
            guidance=torch.ones(1),
            encoder_hidden_states=text,
            pooled_projections=pooled,
            txt_ids=torch.zeros(8, 3),
            img_ids=torch.zeros(16, 3),
            return_dict=False,
        )[0]
        out.pow(2).sum().backward()
        results.append([out.detach(), *(weight.grad for weight in trained)])
    (out, *gradients), (again, *others) = results
    torch.testing.assert_close(again, out)
    assert not all(torch.allclose(one, other, rtol=0.01) for one, other in zip(gradients, others, strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", ["flux", "chroma", "wan-experts"])
def test_on_a_gpu_copies_arrive_before_they_are_used(kind: str, make: Make) -> None:
    results = []
    for is_offloaded in (False, True):
        model = make(kind)
        if is_offloaded:
            offload(model.networks.values())
        model.on("cuda").rest()
        noisy = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(5)).cuda()
        condition = {name: value.cuda() for name, value in model.embed(PROMPTS).items()}
        model.rest()
        out = noisy
        for _ in range(3):
            out = model.predict(noisy, torch.tensor([990.0, 40.0], device="cuda"), condition)
            out.pow(2).sum().backward()
        results.append([out.detach(), *(weight.grad for _, weight in model.trainable())])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)

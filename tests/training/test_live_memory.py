"""The bytes of living tensors, by hand and by equality of work with and without values."""

from collections.abc import Callable

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import nn

from thumbtune.models.lora import LoRA
from thumbtune.training.live_memory import MAPPED, LiveMemory, give_shapes, without_values

KIB = 1024


def test_bytes_come_and_go_with_tensors() -> None:
    with LiveMemory() as memory:
        first = torch.zeros(KIB)  # 4 KiB
        second = first + 1
        assert memory.now == 8 * KIB
        third = second.view(2, -1)  # the same storage
        assert memory.now == 8 * KIB
        del first
        assert (memory.now, memory.peak) == (4 * KIB, 8 * KIB)
        del second
        assert memory.now == 4 * KIB
        del third
        assert (memory.now, memory.peak) == (0, 8 * KIB)
        memory.begin_peak()
        torch.zeros(KIB, dtype=torch.bfloat16)
        assert memory.peak == 2 * KIB


def test_an_operation_in_place_makes_no_tensor() -> None:
    with LiveMemory() as memory:
        value = torch.zeros(KIB)
        value.add_(1).mul_(2)
        assert memory.peak == 4 * KIB


def test_what_a_layer_keeps_for_its_gradient_is_counted_until_backward() -> None:
    layers = nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 1))
    with LiveMemory() as memory:
        for parameter in layers.parameters():
            memory.count(parameter)
        weights = memory.now
        loss = layers(torch.ones(16, 64)).sum()
        assert memory.now - weights == 3 * 16 * 64 * 4 + 4  # the inputs of all three layers, and the loss
        loss.backward()
        gradients = sum(p.grad.nbytes for p in layers.parameters() if p.grad is not None)
        assert gradients == 4 * (64 * 64 + 64 + 64 + 1)
        assert memory.now == weights + gradients + 4


def small_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=4,
        norm_num_groups=8,
    )


def peaks(network: nn.Module, memory: LiveMemory, dtype: torch.dtype | None) -> list[int]:
    """The bytes after loading, and the most of a prediction, of its gradients and of an update."""
    trained = [p for p in network.parameters() if p.requires_grad]
    for parameter in network.parameters():
        memory.count(parameter)
    found = [memory.now]
    optimizer = torch.optim.AdamW(trained)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype is not None):
        loss = network(torch.ones(2, 4, 8, 8), torch.zeros(2), torch.ones(2, 5, 16)).sample.float().square().mean()
    found.append(memory.peak)
    for work in (loss.backward, optimizer.step):
        memory.begin_peak()
        work()
        found.append(memory.peak)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_work_without_values_takes_the_bytes_of_real_work(checkpointing: bool, dtype: torch.dtype | None) -> None:
    def prepared(make: Callable[[], nn.Module]) -> nn.Module:
        network = make().eval()
        LoRA(rank=4).on(network)
        if checkpointing:
            network.enable_gradient_checkpointing()  # type: ignore[operator]
        return network

    real = prepared(small_unet)
    if dtype is not None:
        for parameter in real.parameters():
            if not parameter.requires_grad:
                parameter.data = parameter.data.to(dtype)
    with LiveMemory() as memory:
        measured = peaks(real, memory, dtype)
    with torch.device("meta"):
        network = prepared(small_unet)
    with without_values(), LiveMemory() as memory:
        counted = peaks(give_shapes(network, dtype), memory, dtype)
    assert measured[0] == counted[0]
    for one, two in zip(measured, counted, strict=True):
        assert two == pytest.approx(one, rel=0.02)


def test_a_large_network_without_values_takes_no_memory() -> None:
    with torch.device("meta"):
        layer = nn.Linear(200_000, 100_000)
    with without_values(), LiveMemory() as memory:
        give_shapes(layer)
        for parameter in layer.parameters():
            memory.count(parameter)
        assert memory.now == 4 * (200_000 * 100_000 + 100_000)
        assert layer(torch.ones(1, 200_000)).shape == (1, 100_000)


def test_the_heap_is_the_most_of_small_blocks_since_the_beginning() -> None:
    with without_values(), LiveMemory() as memory:
        kept = torch.zeros(1000)  # of before
        memory.begin_peak()
        small = [torch.zeros(500) for _ in range(3)]
        large = torch.zeros(MAPPED // 4)
        del small[1:]
        assert memory.heap == 3 * 2000 and memory.peak == 4000 + 3 * 2000 + MAPPED
        memory.begin_peak()
        assert memory.heap == 0 and kept.nbytes + small[0].nbytes + large.nbytes == memory.peak

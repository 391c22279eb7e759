"""Hashes of all that the results of `encode` and `embed` depend on: cached tensors have them in their keys."""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


def fingerprints(
    facts: tuple[object, ...],
    tag: str,
    networks: Sequence[nn.Module],
    tokenizers: Sequence[Any],
    device: torch.device,
) -> tuple[str, str]:
    """Return two hashes of facts, of the sums of weights, of vocabularies, and of what computes.

    The last bits of a latent are those of the hardware and of the version of torch.

    tag: how prompts are read, which is in the second hash alone; "": in the usual way
    """
    machine = (torch.__version__, _hardware(device))
    digests = [hashlib.sha256(str((*one, *machine)).encode()) for one in (facts, (*facts, tag))[: 2 if tag else 1]]
    for network in networks:
        for name, weight in network.state_dict().items():
            summed = f"{name}{tuple(weight.shape)}{weight.cpu().double().sum().item():.9e}".encode()
            for digest in digests:
                digest.update(summed)
    for tokenizer in tokenizers:
        words = str(sorted(tokenizer.get_vocab().items())).encode()
        for digest in digests:
            digest.update(words)
    return digests[0].hexdigest(), digests[-1].hexdigest()


def _hardware(device: torch.device) -> str:
    """Return the name of what computes on a device: the GPU, or the instructions of the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} {torch.backends.cpu.get_cpu_capability()}"

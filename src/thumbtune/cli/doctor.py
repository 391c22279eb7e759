"""What a machine has, and what would stop a run on it."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from thumbtune.runs.build import BUNDLED
from thumbtune.runs.run import PACKAGES

Finding = tuple[bool, str]
LEAST_DISK = 1 << 30


def findings() -> Iterator[Finding]:
    """(is it well, one sentence) for everything that a run needs."""
    yield sys.version_info >= (3, 11), f"Python {sys.version.split()[0]} (3.11 or newer is needed)"
    yield from map(_package, PACKAGES)
    yield _no_mixed_torchvision()
    yield _device()
    yield _disk(Path.cwd())
    yield _writable(Path.cwd())
    for name in ("tiny-emoji-64", "judge", "style"):
        there = any((BUNDLED / name).rglob("*.safetensors"))
        yield there, f"bundled {name}" + ("" if there else " is missing; install thumbtune again")


def _package(name: str) -> Finding:
    try:
        return True, f"{name} {version(name)}"
    except PackageNotFoundError:
        return False, f"{name} is not installed; run pip install {name}"


def _no_mixed_torchvision() -> Finding:
    """A CUDA torchvision beside a CPU torch breaks the CLIP classes of transformers at import."""
    try:
        torch, vision = version("torch"), version("torchvision")
    except PackageNotFoundError:
        return True, "no torchvision (none is needed)"
    alike = ("+cpu" in torch) == ("+cpu" in vision)
    advice = "" if alike else "; they are built for different devices: pip uninstall torchvision"
    return alike, f"torchvision {vision} beside torch {torch}{advice}"


def _device() -> Finding:
    import torch

    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        return True, f"GPU {torch.cuda.get_device_name()}, {memory:.0f} GiB"
    return True, f"no GPU: CPU with {os.cpu_count()} cores (the bundled model is made for it; SD 1.5 is slow on it)"


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    enough = free >= LEAST_DISK
    return enough, f"{free / 2**30:.1f} GiB free in {folder}" + ("" if enough else "; make room for at least 1 GiB")


def _writable(folder: Path) -> Finding:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True, f"{folder} can be written"
    except OSError as error:
        return False, f"{folder} cannot be written ({error.strerror}); go to a folder that can"

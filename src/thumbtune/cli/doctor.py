"""Check a machine for everything that a run needs."""

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
MIN_DISK_BYTES = 1 << 30


def findings() -> Iterator[Finding]:
    """Yield (whether it is fine, one sentence) for everything that a run needs."""
    yield sys.version_info >= (3, 11), f"Python {sys.version.split()[0]} (needs 3.11 or newer)"
    yield from map(_package, PACKAGES)
    yield _no_mixed_torchvision()
    yield _device()
    yield _disk(Path.cwd())
    yield _writable(Path.cwd())
    for name in ("tiny-emoji-64", "judge", "style"):
        complete = any((BUNDLED / name).rglob("*.safetensors"))
        yield complete, f"bundled {name}" + ("" if complete else " is missing; install thumbtune again")


def _package(name: str) -> Finding:
    try:
        return True, f"{name} {version(name)}"
    except PackageNotFoundError:
        return False, f"{name} is not installed; run pip install {name}"


def _no_mixed_torchvision() -> Finding:
    """Return whether torch and torchvision match; a CUDA torchvision with a CPU torch breaks CLIP in transformers."""
    try:
        torch, vision = version("torch"), version("torchvision")
    except PackageNotFoundError:
        return True, "no torchvision (not needed)"
    match = ("+cpu" in torch) == ("+cpu" in vision)
    advice = "" if match else "; they are built for different devices, so run pip uninstall torchvision"
    return match, f"torchvision {vision} with torch {torch}{advice}"


def _device() -> Finding:
    import torch

    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        return True, f"GPU {torch.cuda.get_device_name()}, {memory:.0f} GiB"
    return True, f"no GPU: CPU with {os.cpu_count()} cores (fast enough for the bundled model, slow for SD 1.5)"


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    enough = free >= MIN_DISK_BYTES
    return enough, f"{free / 2**30:.1f} GiB free in {folder}" + ("" if enough else "; free at least 1 GiB")


def _writable(folder: Path) -> Finding:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True, f"{folder} is writable"
    except OSError as error:
        return False, f"{folder} is not writable ({error.strerror}); change to a writable folder"

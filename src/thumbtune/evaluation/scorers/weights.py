"""Read published weights as tensors only, rename them, and convert each file once.

    published file -> tensors -> safetensors with our classes' names -> network

A `.pt` file is a pickle, and loading a pickle may run any code. It is read as tensors only, or refused.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from thumbtune.errors import ThumbtuneError
from thumbtune.evaluation.scorers.published_files import LocalFile, Locations
from thumbtune.files import write_tensors

Tensors = dict[str, Tensor]


def read_tensors(path: Path) -> Tensors:
    """Return the tensors of a safetensors file or of a pickle; nothing else in the pickle is loaded.

    Raises:
        ThumbtuneError: the file cannot be read as tensors only.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # one published file was saved on a GPU and without map_location loads only on one
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # a broken pickle raises its own errors, EOFError, RuntimeError, KeyError...
        raise ThumbtuneError(
            f"{path} cannot be read as tensors only ({str(error).strip().split(chr(10))[0][:120]}); download it again.",
            code="weights-unreadable",
        ) from error
    content = content.get("state_dict", content) if isinstance(content, Mapping) else content
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ThumbtuneError(f"{path} contains no named tensors; download it again.", code="weights-unreadable")
    return dict(content)


def convert_weights(file: LocalFile, mapping: Callable[[Tensors], Tensors], locations: Locations) -> Path:
    """Return a safetensors file of the weights with our names; it is written once per published file, atomically."""
    path = locations.cache.expanduser() / "converted" / f"{file.sha256}.safetensors"
    if not path.is_file():
        write_tensors(path, {name: t.contiguous().clone() for name, t in mapping(read_tensors(file.path)).items()})
    return path

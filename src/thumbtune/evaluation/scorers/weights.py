"""Published weights become ours: read as tensors alone, mapped, converted once.

    the file as published -> its tensors -> safetensors under the names of our classes -> a model

A `.pt` is a pickle, which may run anything when it is read. It is read as tensors alone, or not at all.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from thumbtune.errors import ThumbtuneError
from thumbtune.evaluation.scorers.published import Found, Places
from thumbtune.tensors import write_tensors

Tensors = dict[str, Tensor]


def tensors_in(path: Path) -> Tensors:
    """The tensors of a safetensors file or of a pickle, which is read as tensors and nothing else.

    Raises:
        ThumbtuneError: it cannot be read so.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # one was saved on a GPU: without map_location it could be read on one alone
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (
        Exception
    ) as error:  # by what is wrong with a pickle: one of pickle's own, EOFError, RuntimeError, KeyError...
        raise ThumbtuneError(
            f"{path} cannot be read as tensors alone ({str(error).strip().split(chr(10))[0][:120]}); fetch it again."
        ) from error
    found = found.get("state_dict", found) if isinstance(found, Mapping) else found
    if not isinstance(found, Mapping) or not all(isinstance(each, Tensor) for each in found.values()):
        raise ThumbtuneError(f"{path} holds no weights by name; fetch it again.")
    return dict(found)


def converted(found: Found, mapping: Callable[[Tensors], Tensors], places: Places) -> Path:
    """The file's weights under our names, as safetensors; made once for each file, whole or not at all."""
    path = places.cache.expanduser() / "converted" / f"{found.sha256}.safetensors"
    if not path.is_file():
        write_tensors(path, {name: t.contiguous().clone() for name, t in mapping(tensors_in(found.path)).items()})
    return path

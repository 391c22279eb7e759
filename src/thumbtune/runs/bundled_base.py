"""Whether a base has the weights of the bundled model, under whatever name: then what is bundled for that fits it too.

A pipeline object of the bundled model is written into its run, in the type that it was loaded in, so files differ while
the model is the same. A base is the bundled one if every tensor of that, cast to the type of the base, is equal to its.
"""

from pathlib import Path

from thumbtune.models.missing import BUNDLED
from thumbtune.runs.build import is_bundled
from thumbtune.runs.bundled_words import MODEL


def is_bundled_model(model: str) -> bool:
    """Return whether a base is the bundled model, by its name or by its weights."""
    return is_bundled(model) or has_weights_of(BUNDLED / MODEL, Path(model))


def has_weights_of(known: Path, folder: Path) -> bool:
    """Return whether a folder of diffusers has all weights of a known one, in the same or another floating type."""
    files = [file.relative_to(known) for file in sorted(known.rglob("*.safetensors"))]
    return all((folder / file).is_file() for file in files) and all(_equal(known / one, folder / one) for one in files)


def _equal(known: Path, given: Path) -> bool:
    """Return whether two files have the same tensors, the known ones cast to the types of the given."""
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(known, framework="pt") as one, safe_open(given, framework="pt") as other:
            if {*one.keys()} != {*other.keys()}:
                return False
            pairs = ((one.get_tensor(name), other.get_tensor(name)) for name in one.keys())
            return all(torch.equal(mine.to(theirs.dtype), theirs) for mine, theirs in pairs)
    except (OSError, SafetensorError):  # loading it tells what is wrong
        return False

"""Names of tensors in early checkpoints, as of NovelAI: a level of the text encoder was left out."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from thumbtune.models.weight_files import keys_in


def today(key: str) -> str:
    """Return the name of a tensor as files have it today; early NovelAI left out a level of the text encoder.

    >>> today("cond_stage_model.transformer.encoder.layers.0.layer_norm1.bias")
    'cond_stage_model.transformer.text_model.encoder.layers.0.layer_norm1.bias'
    """
    return re.sub(
        r"^(cond_stage_model\.transformer\.)(?=embeddings\.|encoder\.|final_layer_norm\.)", r"\1text_model.", key
    )


@contextmanager
def named_as_today(file: Path) -> Iterator[Path]:
    """Yield a file whose tensors have the names of today: the file itself, or a copy that is deleted afterwards."""
    keys = keys_in(file)
    if all(today(key) == key for key in keys):
        yield file
        return
    from safetensors.torch import load_file, save_file

    with TemporaryDirectory() as folder:
        copy = Path(folder) / file.name
        save_file({today(key): value for key, value in load_file(file).items()}, copy)
        yield copy

"""Which of a pipeline's two networks a LoRA in one file is for: the layers of both have the same names.

In this order: names of tensors that begin with `transformer_2`; the header that Thumbtune writes; the name of the file,
as Thumbtune calls its own. A file that tells nothing is for the first network, as in diffusers, and a note says so.
"""

from collections.abc import Iterable, Mapping

from torch import nn

from thumbtune.errors import note
from thumbtune.models.families import family_of_network
from thumbtune.models.lora_files import LoraFiles
from thumbtune.models.lora_names import TRANSFORMER, TRANSFORMER_2
from thumbtune.models.lora_saving import EXPERT, SECOND_FILE
from thumbtune.models.weight_files import metadata_in


def expert_of(files: LoraFiles, keys: Iterable[str], networks: Mapping[str, nn.Module]) -> str | None:
    """Return the part of the network that a LoRA is for, and note that the other one stays as it is.

    keys: the names of its tensors
    networks: of the pipeline, by their part

    Returns:
        None if nothing is open: there is one network, a file for each, or the names of the tensors tell it.
    """
    if TRANSFORMER_2 not in networks or list(files.weights) != [""] or any(TRANSFORMER_2 in key for key in keys):
        return None
    file = files.weights[""]
    family = family_of_network(networks[TRANSFORMER])
    called = dict(family.experts) if family is not None else {}
    told = metadata_in(file).get(EXPERT)
    part = next((own for own, name in called.items() if told == name or (not told and _ends(file.stem, name))), None)
    if part is None and not told and file.name == SECOND_FILE:
        part = TRANSFORMER_2
    own = part or TRANSFORMER
    other = next(one for one in (TRANSFORMER, TRANSFORMER_2) if one != own)
    if part is None:
        note(
            f"{file} does not tell which of the two networks it is for, and is put on {own} ({called.get(own, own)}), "
            f"as in diffusers; end its name in _{called.get(other, other)} for {other}."
        )
    else:
        note(f"{file} is for {own} ({called.get(own, own)}) alone, and {other} stays as it is in the base.")
    return own


def _ends(stem: str, name: str) -> bool:
    """Return whether the name of a file ends as people call a network.

    >>> _ends("comfyui_low_noise", "low_noise"), _ends("Wan-Low-Noise", "low_noise"), _ends("yellow_noise", "low_noise")
    (True, True, False)
    """
    return f"_{stem.lower().replace('-', '_')}".endswith(f"_{name}")

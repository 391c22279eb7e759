"""A model on the Hugging Face hub, before its weights are downloaded: the names of its files, and its settings."""

from collections.abc import Mapping, Sequence
from pathlib import Path

SETTINGS = ("*.json", "*/*.json", "*/*.txt")  # a few megabytes, most of them the tokenizer's
INDEX, CONFIG = "model_index.json", "config.json"


def is_hub_id(name: str) -> bool:
    """Return whether a name can only be one on the hub: `owner/model`, and no path that is there.

    >>> is_hub_id("stable-diffusion-v1-5/stable-diffusion-v1-5"), is_hub_id("./model"), is_hub_id("a/b/c")
    (True, False, False)
    """
    return name.count("/") == 1 and not name.startswith((".", "/", "~")) and not Path(name).exists()


def files_of(name: str) -> list[str] | None:
    """Return the names of all files of a model on the hub; without a connection, of those in the hub's cache.

    Returns:
        None if the model is in neither.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        return HfApi().list_repo_files(name)
    except Exception:  # of the hub, of HTTP, of the network: loading says what is wrong
        try:
            found = (try_to_load_from_cache(name, file) for file in (INDEX, CONFIG))
            cached = next((file for file in found if isinstance(file, str)), None)
        except HFValidationError:
            return None
    if cached is None:
        return None
    folder = Path(cached).parent
    return [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]


def by_folder(files: Sequence[str], folders: Sequence[str]) -> Mapping[str, list[str]]:
    """Return the names of the files that lie directly in each of some folders.

    >>> by_folder(["unet/a.bin", "unet/x/b.bin", "c"], ["unet"])
    {'unet': ['a.bin']}
    """
    pairs = [file.split("/") for file in files]
    return {folder: [pair[1] for pair in pairs if len(pair) == 2 and pair[0] == folder] for folder in folders}  # noqa: PLR2004


def settings_of(name: str) -> Path | None:
    """Return a folder with the settings and vocabularies of a model on the hub, but not its weights.

    Returns:
        None if the hub and its cache do not have them.
    """
    from huggingface_hub import snapshot_download

    if not is_hub_id(name):
        return None
    try:
        return Path(snapshot_download(name, allow_patterns=list(SETTINGS)))
    except Exception:  # as above
        return None

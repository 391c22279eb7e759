"""A model on the Hugging Face hub, before its weights are downloaded: the names of its files, and its settings."""

import socket
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

PATIENCE = 3  # seconds for the hub to answer
SETTINGS = ("*.json", "*/*.json", "*/*.txt")  # a few megabytes, most of them the tokenizer's
# how names of files end, which no id on the hub does
OF_FILES = (".safetensors", ".ckpt", ".bin", ".pt", ".pth", ".gguf", ".onnx", ".yaml", ".yml", ".json")
INDEX, CONFIG = "model_index.json", "config.json"


def is_hub_id(name: str) -> bool:
    """Return whether a name can only be one on the hub: `owner/model`, and no path that is there.

    >>> is_hub_id("stable-diffusion-v1-5/stable-diffusion-v1-5"), is_hub_id("./model"), is_hub_id("a/b/c")
    (True, False, False)
    >>> is_hub_id("loras/mine.safetensors")
    False
    """
    is_path = name.count("/") != 1 or name.startswith((".", "/", "~")) or name.lower().endswith(OF_FILES)
    return not is_path and not Path(name).exists()


def is_reachable() -> bool:
    """Return whether the hub answers; behind a proxy that is not tried. Its client would retry for half a minute."""
    from huggingface_hub import constants

    return not constants.HF_HUB_OFFLINE and _answers(constants.ENDPOINT)


@lru_cache
def _answers(endpoint: str) -> bool:
    if getproxies():
        return True
    address = urlsplit(endpoint)
    try:
        socket.create_connection((address.hostname, address.port or 443), timeout=PATIENCE).close()
    except OSError:
        return False
    return True


def cached_file(name: str, file: str) -> Path | None:
    """Return one file of a model in the hub's cache, without asking the hub; None if it is not there."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, file)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None


def newest_commit(name: str, file: str) -> str:
    """Return the newest commit of a model that has a file; without a connection, that of the hub's cache.

    Raises:
        OSError, ValueError, HfHubHTTPError: as the hub's client: neither has it.
    """
    from huggingface_hub import hf_hub_download

    kept: Any = only_cached(name)
    path = Path(hf_hub_download(name, file, **kept))
    return path.parts[path.parts.index("snapshots") + 1]


@contextmanager
def quietly() -> Iterator[None]:
    """Keep diffusers from warning of an old option of the hub's client, which it gives itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*local_dir_use_symlinks")
        yield


def snapshot(name: str, files: Sequence[str]) -> Path:
    """Return the folder of the hub's cache with some files of a model, downloaded if the hub answers.

    Raises:
        OSError, ValueError, HfHubHTTPError: as the hub's client: there is no such model, or no connection.
    """
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(name, allow_patterns=list(files), local_files_only=not is_reachable()))


def only_cached(name: str) -> dict[str, bool]:
    """Return what `from_pretrained` is told of a model on a hub that does not answer: else it would try for long."""
    return {} if Path(name).exists() or is_reachable() else {"local_files_only": True}


def settings_file(name: str, file: str) -> Path | None:
    """Return one small file of a model on the hub, from its cache or else downloaded; None if it cannot be had."""
    from huggingface_hub import hf_hub_download

    if (cached := cached_file(name, file)) is not None:
        return cached
    try:
        return Path(hf_hub_download(name, file)) if is_reachable() else None
    except Exception:  # as in `files_of`; or it is no name for a model
        return None


def files_of(name: str) -> list[str] | None:
    """Return the names of all files of a model on the hub; without a connection, of those in the hub's cache.

    Returns:
        None if the model is in neither.
    """
    from huggingface_hub import HfApi

    try:
        if is_reachable():
            return HfApi().list_repo_files(name)
    except Exception:
        pass
    cached = cached_file(name, INDEX) or cached_file(name, CONFIG)
    if cached is None:
        return None
    folder = cached.parent
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
    if not is_hub_id(name):
        return None
    try:
        return snapshot(name, SETTINGS)
    except Exception:  # as above
        return None

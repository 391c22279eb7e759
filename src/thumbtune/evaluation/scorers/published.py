"""Files that others publish: on the hub or at an address, fetched once, checked, or read from a folder of one's own.

a folder that is named -> what was fetched before -> the hub or the address        each checked by its sha256
"""

from dataclasses import dataclass
from pathlib import Path

from thumbtune.errors import ThumbtuneError, reason
from thumbtune.files import file_sha256

COMMON = ("model.safetensors", "config.json")
HOME = Path("~/.cache/thumbtune/scorers")


@dataclass(frozen=True)
class File:
    """One published file: of a repository on the hub, or at an address of its own.

    sha256: what it must be; None where its publisher says nothing
    kind: of the repository, model or dataset
    """

    name: str
    repo: str | None = None
    url: str | None = None
    revision: str | None = None
    sha256: str | None = None
    kind: str = "model"


@dataclass(frozen=True)
class Places:
    """Where weights may lie.

    cache: what was converted, and what came from an address
    local: a folder that holds files under their own names, or REPO/NAME; looked at before anything is fetched
    offline: fetch nothing
    """

    cache: Path = HOME
    local: Path | None = None
    offline: bool = False


@dataclass(frozen=True)
class Found:
    """A file that is here, and what it is."""

    path: Path
    sha256: str
    revision: str | None


def fetch(file: File, places: Places) -> Found:
    """The file, from where it lies or from where it is published, once its hash is what it must be.

    Raises:
        ThumbtuneError: it is not here and cannot be had, or it is another file.
    """
    path = here(file, places)
    found = file_sha256(path)
    if file.sha256 is not None and found != file.sha256:
        raise ThumbtuneError(
            f"{path} has the sha256 {found[:12]}..., but {file.name} as published has {file.sha256[:12]}...; "
            "delete it and fetch it again."
        )
    commit = path.parent.name if path.parent.parent.name == "snapshots" else None
    return Found(path, found, commit or file.revision)


def here(file: File, places: Places) -> Path:
    """Where the file lies, once it was fetched if need be; nobody has looked into it yet.

    Raises:
        ThumbtuneError: it is not here and cannot be had.
    """
    return _nearby(file, places) or (_from_hub(file, places) if file.repo else _from_address(file, places))


def _nearby(file: File, places: Places) -> Path | None:
    if places.local is None:
        return None
    folder = places.local.expanduser()
    if not folder.is_dir():
        raise ThumbtuneError(f"There is no folder {folder} of weights; name the one that holds {file.name}.")
    asked = [folder / file.repo / file.name] if file.repo else []
    alone = [] if file.name in COMMON and file.repo else [folder / file.name]  # it would stand for any network
    return next((path for path in (*asked, *alone) if path.is_file()), None)


def _from_hub(file: File, places: Places) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(
            hf_hub_download(
                str(file.repo),
                file.name,
                repo_type=file.kind,
                revision=file.revision,
                local_files_only=places.offline,
            )
        )
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError) as error:
        raise _missing(file, f"{file.repo} on the hub", places, error) from error


def _from_address(file: File, places: Places) -> Path:
    path = places.cache.expanduser() / "published" / file.name
    if path.is_file():
        return path
    if places.offline:
        raise _missing(file, str(file.url), places, None)
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(str(file.url), str(path), hash_prefix=file.sha256, progress=False)
    except (OSError, RuntimeError) as error:
        raise _missing(file, str(file.url), places, error) from error
    return path


def _missing(file: File, where: str, places: Places, error: Exception | None) -> ThumbtuneError:
    return ThumbtuneError(
        f"{file.name} is not here and could not be had from {where} ({_why(places, error)}); "
        "name a folder that holds it with --weights."
    )


def _why(places: Places, error: Exception | None) -> str:
    """In few words: the hub's own are two sentences, of which neither says more."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    if places.offline:
        return "nothing is fetched offline"
    return "it cannot be reached" if isinstance(error, LocalEntryNotFoundError) else reason(error or OSError())

"""Published files (weights, prompts, images): found locally or downloaded once, and checked by their sha256.

order of search: a local folder -> the cache of earlier downloads -> the hub or a URL
"""

from dataclasses import dataclass
from pathlib import Path

from thumbtune.errors import ThumbtuneError, reason
from thumbtune.files import file_sha256

GENERIC_NAMES = ("model.safetensors", "config.json")
CACHE_FOLDER = Path("~/.cache/thumbtune/scorers")


@dataclass(frozen=True)
class PublishedFile:
    """One published file, in a repository of the hub or at a URL.

    sha256: the expected hash; None if the publisher states none
    kind: type of the repository, model or dataset
    """

    name: str
    repo: str | None = None
    url: str | None = None
    revision: str | None = None
    sha256: str | None = None
    kind: str = "model"


@dataclass(frozen=True)
class Locations:
    """Where weights, prompt sets and images are found.

    cache: folder of converted weights and of files from URLs
    local: a folder with files as NAME or REPO/NAME; it is searched before anything is downloaded
    offline: download nothing
    """

    cache: Path = CACHE_FOLDER
    local: Path | None = None
    offline: bool = False


@dataclass(frozen=True)
class LocalFile:
    """A file on this machine, its hash, and its revision (None if unknown)."""

    path: Path
    sha256: str
    revision: str | None


def fetch(file: PublishedFile, locations: Locations) -> LocalFile:
    """Return the file on this machine, downloaded if necessary, after checking its hash.

    Raises:
        ThumbtuneError: the file cannot be found or downloaded, or its hash differs.
    """
    path = locate(file, locations)
    actual = file_sha256(path)
    if file.sha256 is not None and actual != file.sha256:
        raise ThumbtuneError(
            f"{path} has the sha256 {actual[:12]}..., but the published {file.name} has {file.sha256[:12]}...; "
            "delete it and download it again.",
            code="published-file-hash-mismatch",
        )
    commit = path.parent.name if path.parent.parent.name == "snapshots" else None
    return LocalFile(path, actual, commit or file.revision)


def locate(file: PublishedFile, locations: Locations) -> Path:
    """Return the path of the file, downloaded if necessary; its hash is not checked here.

    Raises:
        ThumbtuneError: the file cannot be found or downloaded.
    """
    local = _find_local(file, locations)
    return local or (_from_hub(file, locations) if file.repo else _from_url(file, locations))


def _find_local(file: PublishedFile, locations: Locations) -> Path | None:
    if locations.local is None:
        return None
    folder = locations.local.expanduser()
    if not folder.is_dir():
        raise ThumbtuneError(
            f"The folder of weights {folder} does not exist; name the one that contains {file.name}.",
            code="weights-folder-missing",
        )
    in_repo = [folder / file.repo / file.name] if file.repo else []
    # a bare model.safetensors could belong to any network
    bare = [] if file.name in GENERIC_NAMES and file.repo else [folder / file.name]
    return next((path for path in (*in_repo, *bare) if path.is_file()), None)


def _from_hub(file: PublishedFile, locations: Locations) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(
            hf_hub_download(
                str(file.repo),
                file.name,
                repo_type=file.kind,
                revision=file.revision,
                local_files_only=locations.offline,
            )
        )
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError) as error:
        raise _missing(file, f"{file.repo} on the hub", locations, error) from error


def _from_url(file: PublishedFile, locations: Locations) -> Path:
    path = locations.cache.expanduser() / "published" / file.name
    if path.is_file():
        return path
    if locations.offline:
        raise _missing(file, str(file.url), locations, None)
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(str(file.url), str(path), hash_prefix=file.sha256, progress=False)
    except (OSError, RuntimeError) as error:
        raise _missing(file, str(file.url), locations, error) from error
    return path


def _missing(file: PublishedFile, origin: str, locations: Locations, error: Exception | None) -> ThumbtuneError:
    if locations.offline:
        return ThumbtuneError(
            f"{file.name} is not on this machine, and --offline forbids its download from {origin}; "
            "name a folder that contains it with --weights.",
            code="published-file-offline",
        )
    return ThumbtuneError(
        f"{file.name} is not on this machine and was not downloaded from {origin} ({_cause(error)}); "
        "name a folder that contains it with --weights.",
        code="published-file-missing",
    )


def _cause(error: Exception | None) -> str:
    """Return a short cause; the hub's own message is two long sentences."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    return "it cannot be reached" if isinstance(error, LocalEntryNotFoundError) else reason(error or OSError())

"""Upload a folder to the Hugging Face hub: as one commit, into a repository that is private unless asked otherwise."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from thumbtune.errors import ThumbtuneError, UsageError, reason, shown
from thumbtune.hub import is_reachable

Kind = Literal["model", "dataset"]
UNITS = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))
FORBIDDEN = (401, 403)  # HTTP


@dataclass(frozen=True, kw_only=True)
class Upload:
    """What is uploaded to where.

    folder: its files are uploaded under their paths inside it
    repo: `user/name` of the repository
    public: whether everybody may read it
    title: of the commit
    """

    folder: Path
    repo: str
    kind: Kind = "model"
    public: bool = False
    title: str = "Upload with Thumbtune"

    def files(self) -> list[tuple[str, int]]:
        """Return the path inside the folder and the bytes of each file."""
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return [(path.relative_to(self.folder).as_posix(), path.stat().st_size) for path in paths]

    def lines(self) -> list[str]:
        """Return lines that tell what is uploaded, how much it is, where to, and who may read it."""
        files = self.files()
        who = "public: everybody can read it" if self.public else "private: you can read it, and those you let"
        total = size(sum(count for _, count in files))
        return [f"{total} go to the {self.kind} {self.repo} ({who}):", *(f"  {name}  {size(n)}" for name, n in files)]


def size(count: int) -> str:
    """Return a number of bytes for people.

    >>> size(26_300_000), size(999)
    ('26.3 MB', '999 bytes')
    """
    return next((f"{count / unit:.1f} {name}" for name, unit in UNITS if count >= unit), f"{count} bytes")


def check_name(repo: str) -> None:
    """Refuse what cannot be the name of a repository.

    Raises:
        UsageError: it is no `user/name`.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
        is_name = repo.count("/") == 1
    except HFValidationError:
        is_name = False
    if not is_name:
        raise UsageError(
            f"{shown(repo)} is no name of a repository; write it as user/name, with letters, digits, `-`, `_` and `.`.",
            code="push-bad-name",
        )


def check_access(repo: str, kind: Kind, public: bool) -> bool:
    """Return whether a repository is there already; refuse to push before any long work if it cannot be done.

    Raises:
        UsageError: the name is none, or the repository is there, and others may read it than was asked.
        ThumbtuneError: there is no token, no hub that answers, or the token is not accepted.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import RepositoryNotFoundError

    check_name(repo)
    if not get_token():
        raise ThumbtuneError(
            "There is no token of the Hugging Face hub on this machine; get one that may write at "
            "https://huggingface.co/settings/tokens, and log in with `hf auth login` or set HF_TOKEN.",
            code="push-no-token",
        )
    if not is_reachable():
        raise ThumbtuneError(
            "The Hugging Face hub does not answer, so nothing was uploaded; check the connection and HF_HUB_OFFLINE, "
            "then run the same command again.",
            code="push-unreachable",
        )
    with _told(repo):
        try:
            there: Any = HfApi().repo_info(repo, repo_type=kind)
        except RepositoryNotFoundError:
            HfApi().whoami()  # the hub answers so for a name that is free, and for a token that it does not know
            return False
    if bool(there.private) is public:
        have, wanted = ("private", "--public") if there.private else ("public", "the default, private,")
        raise UsageError(
            f"{repo} is {have} already, and {wanted} was asked; change it on its page, choose another name, or "
            f"{'leave out --public' if there.private else 'add --public'}.",
            code="push-other-visibility",
        )
    return True


def upload(asked: Upload) -> str:
    """Make the repository if it is missing, upload all files as one commit, and return the address of its page.

    Raises:
        UsageError, ThumbtuneError: as `check_access`; or the upload failed.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    is_there = check_access(asked.repo, asked.kind, asked.public)
    api = HfApi()
    with _told(asked.repo):
        if not is_there:
            api.create_repo(asked.repo, repo_type=asked.kind, private=not asked.public, exist_ok=True)
        adding = [CommitOperationAdd(name, asked.folder / name) for name, _ in asked.files()]
        api.create_commit(asked.repo, adding, commit_message=asked.title, repo_type=asked.kind)
    return f"{api.endpoint}/{'datasets/' if asked.kind == 'dataset' else ''}{asked.repo}"


@contextmanager
def _told(repo: str) -> Iterator[None]:
    """Turn the errors of the hub's client into a sentence."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in FORBIDDEN:
            raise ThumbtuneError(
                f"The hub does not let this token write to {repo} ({reason(error)}); use a token that may write, of a "
                "user or an organisation that owns the name.",
                code="push-refused",
            ) from error
        raise _failed(repo, error) from error
    except Exception as error:  # of its client of HTTP, whose package differs between versions
        raise _failed(repo, error) from error


def _failed(repo: str, error: Exception) -> ThumbtuneError:
    return ThumbtuneError(
        f"The upload to {repo} failed ({reason(error)}); run the same command again, which uploads what is missing.",
        code="push-failed",
    )

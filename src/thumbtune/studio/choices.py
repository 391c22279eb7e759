"""What the owner chose for the studio of a store: the label policy that Train fills in; kept in settings.json."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from typing_extensions import TypedDict

from thumbtune import documents
from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.policies import check_policy
from thumbtune.files import write_text

SETTINGS_FILE = "settings.json"
FORM = 1
MAX_BYTES = 100_000


class _Content(TypedDict):
    form: int
    label_policy: str | None


@dataclass(frozen=True)
class Choices:
    """label_policy: None if the recipe's own default is to stay."""

    label_policy: str | None = None


def read_choices(folder: Path) -> Choices:
    """Return what was chosen in a studio's folder; nothing was before the first time.

    Raises:
        ThumbtuneError: the file cannot be read.
    """
    file = folder / SETTINGS_FILE
    try:
        content = documents.read_json(file, _Content, max_bytes=MAX_BYTES)
    except documents.DocumentFault as fault:
        if fault.kind == "missing":
            return Choices()
        raise _damaged(file, str(fault)) from fault
    if content["form"] != FORM:
        raise _damaged(file, f"it is of form {content['form']}, not {FORM}")
    return Choices(content["label_policy"])


def _damaged(file: Path, why: str) -> ThumbtuneError:
    return ThumbtuneError(
        f"{file} cannot be read ({why}); delete it, and choose again on the page Settings.",
        code="studio-settings-unreadable",
    )


def write_choices(folder: Path, choices: Choices) -> None:
    """Keep what was chosen.

    Raises:
        UsageError: there is no such label policy.
        ThumbtuneError: the file cannot be written.
    """
    if choices.label_policy is not None:
        check_policy(choices.label_policy)
    write_text(folder / SETTINGS_FILE, json.dumps({"form": FORM, **asdict(choices)}, indent=1), durable=True)

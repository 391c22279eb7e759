"""What `thumbtune doctor` finds on this machine: from a process of its own, and kept until it is asked for again.

The studio itself never imports torch, which the doctor must.
"""

import json
import subprocess
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from platform import node

from typing_extensions import TypedDict

from thumbtune import __version__, documents
from thumbtune.errors import ThumbtuneError
from thumbtune.files import write_text
from thumbtune.studio.jobs.queue import COMMAND
from thumbtune.studio.site import Site

CHECKUP_FILE = "doctor.json"
MAX_SECONDS = 120.0
MAX_BYTES = 100_000
FINE, BAD = "ok", "BAD"  # how lines of the doctor begin
_ONE = threading.Lock()


class Finding(TypedDict):
    """A line of the doctor, and whether it is fine."""

    good: bool
    text: str


class _Content(TypedDict):
    measured_at: str
    version: str
    machine: str
    findings: list[Finding]


@dataclass(frozen=True)
class Checkup:
    """What was found, when, and by which version on which machine."""

    measured_at: str
    version: str
    machine: str
    findings: list[Finding]


def kept_checkup(site: Site) -> Checkup | None:
    """Return what was found last by this version on this machine; None if nothing was."""
    try:
        content = documents.read_json(site.folder / CHECKUP_FILE, _Content, max_bytes=MAX_BYTES)
    except documents.DocumentFault:  # of another version; it is measured again
        return None
    told = {name: content[name] for name in ("measured_at", "version", "machine", "findings")}
    found = Checkup(**told)  # type: ignore[arg-type]
    return found if (found.version, found.machine) == (__version__, node()) else None


def measured(site: Site) -> Checkup:
    """Return what the doctor finds now, and keep it; who comes while it is at work gets what it finds.

    Raises:
        ThumbtuneError: it could not be run.
    """
    before = kept_checkup(site)
    with _ONE:
        now = kept_checkup(site)
        if now is not None and now != before:
            return now
        found = Checkup(datetime.now(UTC).isoformat(), __version__, node(), findings_in(_run(site.root)))
        write_text(site.folder / CHECKUP_FILE, json.dumps(asdict(found)))
        return found


def findings_in(text: str) -> list[Finding]:
    """Return the lines of the doctor.

    >>> findings_in("ok   Python 3.11\\nBAD  no room\\n")
    [{'good': True, 'text': 'Python 3.11'}, {'good': False, 'text': 'no room'}]
    """
    lines = (line.partition(" ") for line in text.splitlines())
    return [Finding(good=word == FINE, text=rest.strip()) for word, _, rest in lines if word in (FINE, BAD)]


def _run(folder: Path | None) -> str:
    told = ""
    with suppress(OSError, subprocess.TimeoutExpired):
        told = subprocess.run(
            [*COMMAND, "doctor"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=MAX_SECONDS,
            check=False,
        ).stdout
    if not findings_in(told):
        raise ThumbtuneError(
            "This machine could not be checked from here; run `thumbtune doctor` in a terminal.", code="studio-doctor"
        )
    return told

"""Time the whole story in the studio by clicks and keys: judge 40 images, train, compare, blind test, a second round.

    python -m benchmarks.story            # "Quick look", as a newcomer would
    python -m benchmarks.story --short    # the few steps of the test

It needs a Chromium. `cpu_seconds` are those of the studio, its jobs and the browser: other work on the machine changes
them little. The row is written into benchmarks/story.json; `--look FOLDER` keeps a screenshot of each chapter.
"""

import argparse
import json
import os
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "studio")]  # the browser, and the story

FILE = Path(__file__).with_suffix(".json")


def cpu_of_children() -> float:
    """Return the processor time of all processes that were started here and have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(is_short: bool, look: Path | None = None) -> dict[str, Any]:
    """Go through the story in a new folder, and return the seconds of its chapters."""
    import torch
    from browser import Browser
    from running import Studio
    from told_story import tell

    def keep(name: str, page: Any) -> None:
        print(f"{time.monotonic() - begin:6.1f} s  {name}", file=sys.stderr)
        if look is not None:
            page.picture(look / f"{name.replace(' ', '-')}.png")

    begin, spent = time.monotonic(), cpu_of_children()
    with tempfile.TemporaryDirectory(prefix="thumbtune-story-", ignore_cleanup_errors=True) as folder:
        root, profile = Path(folder) / "root", Path(folder) / "profile"
        root.mkdir()
        with Studio(root / "likes", None, "--root", str(root)) as studio, Browser(profile) as browser:
            story = tell(browser, studio, is_short, keep)
            complaints = story.page.complaints
    assert not complaints, complaints
    return {
        "story": "short" if is_short else "Quick look",
        "seconds": round(time.monotonic() - begin, 1),
        "cpu_seconds": round(cpu_of_children() - spent, 1),
        "chapters": story.seconds,
        **story.labels,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "load_of_15_minutes": round(os.getloadavg()[2], 2),
    }


def main() -> None:
    """Measure, keep the row, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="few steps")
    parser.add_argument("--look", type=Path, help="a folder for screenshots")
    given = parser.parse_args()
    if given.look is not None:
        given.look.mkdir(parents=True, exist_ok=True)
    row = measure(given.short, given.look)
    stored = json.loads(FILE.read_text(encoding="utf-8"))["results"] if FILE.exists() else []
    rows = sorted([*(one for one in stored if one["story"] != row["story"]), row], key=lambda one: one["story"])
    FILE.write_text(json.dumps({"results": rows}, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()

"""Measure the studio: its start, and on a large store pages of the API, the first thumbnails, and a key to its vote.

    python -m benchmarks.studio --images 100000

The images are PNGs of 64 x 64, all different, with 200,000 votes of three raters. The browser is a headless Chromium
(skipped where there is none), the studio runs in a process of its own, and nothing else was asked of it. The rows are
written into benchmarks/studio.json and printed as the table of docs/studio.md.
"""

import argparse
import io
import json
import os
import platform
import random
import sqlite3
import statistics
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "studio")]  # the browser, and a studio that runs

FILE = Path(__file__).with_suffix(".json")
SIDE, AT_ONCE = 64, 1000
VOTES_EACH, RATERS = 2, 3
REQUESTS = 30
KEYS = 200
STARTS = 5
FIRST = 12  # thumbnails that fill the first window
WATCH = f"""
new MutationObserver(() => {{
  const done = [...document.querySelectorAll('.tile img')].filter((one) => one.complete && one.naturalWidth).length;
  if (done >= {FIRST} && !window.firstThumbs) window.firstThumbs = performance.now();
}}).observe(document, {{subtree: true, childList: true, attributes: true}});
document.addEventListener('load', () => {{
  const done = [...document.querySelectorAll('.tile img')].filter((one) => one.complete && one.naturalWidth).length;
  if (done >= {FIRST} && !window.firstThumbs) window.firstThumbs = performance.now();
}}, true);
"""


def make_store(where: Path, images: int) -> None:
    """Fill a store with images, and votes on most of them."""
    import numpy as np
    from PIL import Image

    from thumbtune.feedback.store.intake import NewImage, add_images
    from thumbtune.feedback.store.store import Store

    noise = np.random.default_rng(0)
    with Store.open(where) as store:
        for start in range(0, images, AT_ONCE):
            part = []
            with store.transaction(), store.reading() as session:
                for number in range(start, min(images, start + AT_ONCE)):
                    pixels = noise.integers(0, 255, (8, 8, 3), dtype=np.uint8).repeat(SIDE // 8, 0).repeat(SIDE // 8, 1)
                    file = io.BytesIO()
                    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
                    words = f"image {number} of many, as somebody would ask for it"
                    part.append(NewImage(data=file.getvalue(), prompt=words))
                add_images(session, store.storage, part)
    rng = random.Random(0)
    votes = (
        (str(uuid.UUID(int=rng.getrandbits(128), version=4)), rng.randint(1, images), f"rater {rng.randrange(RATERS)}",
         rng.choice(("like", "like", "dislike", "skip")), 1.0, f"2026-01-01 00:00:{rng.random() * 59:09.6f}")
        for _ in range(VOTES_EACH * images)
    )  # fmt: skip
    with sqlite3.connect(where / "likes.sqlite") as database:
        database.executemany(
            "INSERT INTO votes (id, picture_id, rater, kind, weight, created_at) VALUES (?, ?, ?, ?, ?, ?)", votes
        )


def timed(ask: Callable[[], Any]) -> dict[str, float]:
    """Return the median and the slowest of some requests, in milliseconds."""
    taken = []
    for _ in range(REQUESTS):
        begin = time.perf_counter()
        ask()
        taken.append(1000 * (time.perf_counter() - begin))
    return {"median_ms": statistics.median(taken), "max_ms": max(taken)}


def measure_api(link: str, images: int) -> dict[str, Any]:
    """Return the times of the API's requests."""
    from thumbtune.studio.client import StudioClient

    client = StudioClient(link)
    deep = images // 10
    return {
        "queue of 20": timed(lambda: client.queue(20)),
        "counts": timed(client.counts),
        "first page": timed(lambda: client._ask("images?limit=200")),
        "a page deep in the list": timed(lambda: client._ask(f"images?limit=200&after={deep}")),
        "unrated": timed(lambda: client._ask("images?limit=200&label=unrated")),
        "raters disagree": timed(lambda: client._ask("images?limit=200&label=disagreement")),
        "words of the prompt": timed(lambda: client._ask("images?limit=200&text=image%2099")),
        "total of disliked": timed(lambda: client._ask("images/total?label=dislike")),
        "a vote": timed(lambda: client.vote(random.randint(1, images), "like")),
    }


def measure_pages(link: str, likes: Path) -> dict[str, Any]:
    """Return the times of the pages in a browser."""
    from browser import Browser
    from opened import signed_in

    base = link.partition("/welcome")[0]
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, Browser(Path(profile)) as browser:
        page = signed_in(browser, link)
        browser.call("Page.addScriptToEvaluateOnNewDocument", page.session, source=WATCH)
        for name in ("first thumbs, none made", "first thumbs, made before"):
            page.open(f"{base}/images")
            page.wait_for("window.firstThumbs")
            result[name] = {"ms": page.value("window.firstThumbs")}
        most = 0
        for _ in range(100):
            page.value("scrollBy(0, 4000)")
            time.sleep(0.05)
            most = max(most, page.value("document.querySelectorAll('*').length"))
        result["elements of the page while scrolling"] = {"most": most, "images": page.value(
            "Number(document.getElementById('grid').lastChild.dataset.place)")}  # fmt: skip
        page.open(f"{base}/judge")
        result["key to stored vote"] = _keys(page, likes)
    return result


def _keys(page: Any, likes: Path) -> dict[str, float]:
    """Press keys, and wait for each vote to be in the database."""
    shown = "document.getElementById('frame').dataset.image"
    taken = []
    with sqlite3.connect(likes / "likes.sqlite") as database:
        count = "SELECT count(*) FROM votes WHERE sequence > ?"
        for _ in range(KEYS):
            page.wait_for(f"Boolean({shown})")
            (last,) = database.execute("SELECT max(sequence) FROM votes").fetchone()
            begin = time.perf_counter()
            page.press("ArrowRight")
            while not database.execute(count, (last,)).fetchone()[0]:
                assert time.perf_counter() < begin + 30, "the vote does not come"
                time.sleep(0.0005)
            taken.append(1000 * (time.perf_counter() - begin))
    cuts = statistics.quantiles(taken, n=100)
    return {"median_ms": statistics.median(taken), "p99_ms": cuts[98], "keys": KEYS}


def measure_starts(likes: Path) -> dict[str, float]:
    """Return the times from the command to the first page, on a new store, in milliseconds."""
    from running import Studio

    taken = []
    for _ in range(STARTS):
        begin = time.perf_counter()
        with Studio(likes) as studio:
            urllib.request.urlopen(studio.link).read()
            taken.append(1000 * (time.perf_counter() - begin))
    return {"median_ms": statistics.median(taken), "max_ms": max(taken)}


def measure(images: int) -> dict[str, Any]:
    """Return all results on a number of images."""
    import psutil
    from browser import CHROMIUM
    from running import Studio

    with tempfile.TemporaryDirectory(prefix="thumbtune-bench-") as folder:
        likes = Path(folder) / "likes"
        make_store(likes, images)
        print(f"{images:,} images are stored", file=sys.stderr)
        start = measure_starts(Path(folder) / "empty")
        with Studio(likes) as studio:
            process = psutil.Process(studio.pid)
            result: dict[str, Any] = {"images": images, "start, until the first page is there": start}
            result["memory at the start"] = {"mb": process.memory_info().rss / 1e6}
            result |= measure_pages(studio.link, likes) if CHROMIUM else {}
            result |= measure_api(studio.link, images)
            result["memory at the end"] = {"mb": process.memory_info().rss / 1e6}
        return result


UNITS = {"ms": "ms", "median_ms": "ms (median)", "max_ms": "ms at most", "p99_ms": "ms (99 of 100)", "mb": "MB"}
UNITS |= {"keys": "keys", "most": "at most", "images": "images scrolled over", "of_15_minutes": "(load of the machine)"}


def table(result: dict[str, Any]) -> str:
    """Return a result as Markdown."""
    lines = [f"| {result['images']:,} images | measured |", "|---|---|"]
    for name, numbers in result.items():
        if isinstance(numbers, dict):
            told = ", ".join(f"{value:,.0f} {UNITS[key]}" for key, value in numbers.items())
            lines.append(f"| {name} | {told} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, keep the rows, and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    given = parser.parse_args()
    result = measure(given.images) | {"cores": os.cpu_count(), "machine": platform.machine()}
    result["other work on its cores"] = {"of_15_minutes": os.getloadavg()[2]}
    stored = json.loads(FILE.read_text(encoding="utf-8"))["results"] if FILE.exists() else []
    kept = [one for one in stored if one["images"] != given.images]
    rows = sorted([*kept, result], key=lambda one: one["images"])
    FILE.write_text(json.dumps({"results": rows}, indent=1) + "\n", encoding="utf-8")
    print(table(result))


if __name__ == "__main__":
    main()

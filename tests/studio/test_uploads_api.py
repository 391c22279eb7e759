"""Uploads: one image a request, stored as an import stores it; everything else is refused, and leaves nothing."""

import io
import os
import socket
import struct
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from running import Studio
from studio_store import HOST, Clients, fill, png

from thumbtune.feedback.source import Reading
from thumbtune.feedback.sources.kinds import open_source
from thumbtune.feedback.store.browsing import Query, list_images
from thumbtune.feedback.store.store import Store
from thumbtune.feedback.unrated import import_unrated
from thumbtune.studio.guard import MAX_UPLOAD_BYTES
from thumbtune.studio.site import Site

UPLOADS = "/api/v1/uploads"
BYTES = {"content-type": "application/octet-stream"}
PARAMETERS = (
    "a red (fox:1.2)\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 41, Model: tiny"
)


def image(kind: str = "PNG", side: int = 16, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((side, side), 40).convert("RGB").save(file, kind, **options)
    return file.getvalue()


def with_parameters() -> bytes:
    texts = PngInfo()
    texts.add_text("parameters", PARAMETERS)
    return image(pnginfo=texts)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bomb() -> bytes:
    """A PNG that says 100,000 x 100,000 pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    """A PNG whose compressed text unpacks to 300 MB."""
    texts = b"parameters\0\0" + zlib.compress(bytes(300_000_000), 9)
    whole = image()
    return whole[:33] + chunk(b"zTXt", texts) + whole[33:]


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.fixture(autouse=True)
def nothing_left(site: Site, tmp_path: Path) -> Iterator[None]:
    """No test of a request leaves a file in a temporary folder, or beside the store's own."""
    before = set(os.listdir(tempfile.gettempdir()))
    own = {path.name for path in Path(site.likes).iterdir()} | {"images", "likes.sqlite-wal", "likes.sqlite-shm"}
    yield
    left = {name for name in set(os.listdir(tempfile.gettempdir())) - before if name.startswith(("tmp", "thumbtune"))}
    mine = {name for name in left if os.stat(Path(tempfile.gettempdir()) / name).st_uid == os.getuid()}
    assert not {name for name in mine if Path(tempfile.gettempdir(), name).is_file()}
    assert {path.name for path in Path(site.likes).iterdir()} <= own
    assert not [path for path in site.folder.rglob("*.partial")]


def test_an_image_comes_as_an_import_brings_it(client_of: Clients, site: Site, tmp_path: Path) -> None:
    data = with_parameters()
    made = client_of().post(UPLOADS, content=data, headers=BYTES, params={"name": "fox.png", "prompt": "unused"})
    assert made.json() == {"new": True}
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "fox.png").write_bytes(data)
    with Store.open(tmp_path / "other") as other:
        import_unrated(open_source(tmp_path / "pictures", other.folder, Reading(label=True)), other)
        (wanted,) = list_images(other, "ann", Query(), 10)
    found = list_images(site.store, "ann", Query(), 1)[0].image
    names = ("sha256", "prompt", "seed", "model", "width", "height", "file")
    assert [getattr(found, name) for name in names] == [getattr(wanted.image, name) for name in names]
    assert found.source == "upload" and site.store.read(found) == data
    assert list_images(site.store, "ann", Query(label="unrated"), 1)[0].image.id == found.id


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_the_same_bytes_twice_are_one_image(client_of: Clients, site: Site, kind: str) -> None:
    owner, data, before = client_of(), image(kind), site.store.counts().images
    for new in (True, False, False):
        made = owner.post(UPLOADS, content=data, headers=BYTES, params={"name": "a", "prompt": " a fox "})
        assert made.json() == {"new": new}
    assert site.store.counts().images == before + 1
    assert list_images(site.store, "ann", Query(), 1)[0].image.prompt == "a fox"


def test_an_image_without_a_prompt_is_refused_by_its_name(client_of: Clients, site: Site) -> None:
    before = site.store.counts().images
    for prompt in ("", "  "):
        made = client_of().post(UPLOADS, content=image(), headers=BYTES, params={"name": "fox.png", "prompt": prompt})
        assert code(made) == (422, "upload-no-prompt") and "fox.png" in made.text
    assert site.store.counts().images == before


HOSTILE = {
    "empty": b"",
    "text": b"like,dislike\n",
    "page": b"<!doctype html><script>alert(1)</script>",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "svg with a declaration": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    "gif": image("GIF"),
    "bmp": image("BMP"),
    "tiff": image("TIFF"),
    "truncated png": image(side=64)[:-20],
    "truncated jpeg": image("JPEG", side=64)[:-200],
    "truncated webp": image("WEBP", side=64)[:-20],
    "png and a page": image() + b"<html><script>alert(1)</script>",
    "jpeg and an archive": image("JPEG") + b"PK\x03\x04" + bytes(100),
    "webp and a program": image("WEBP") + b"\x7fELF" + bytes(100),
    "two images": image() + image(),
    "a page and an image": b"<html>" + image(),
    "pixels": bomb(),
    "wrong checksum": image()[:40] + b"\0" + image()[41:],
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_single_image_is_refused_and_nothing_is_stored(client_of: Clients, site: Site, what: str) -> None:
    before, files = site.store.counts().images, sorted(Path(site.likes, "images").rglob("*"))
    where = {"name": "fox.png", "prompt": "a fox"}
    made = client_of().post(UPLOADS, content=HOSTILE[what], headers=BYTES, params=where)
    assert code(made) == (415, "upload-unreadable") and "fox.png" in made.text, made.text
    assert site.store.counts().images == before and sorted(Path(site.likes, "images").rglob("*")) == files


@pytest.mark.slow
def test_a_text_that_unpacks_to_a_memory_is_refused(client_of: Clients, site: Site) -> None:
    made = client_of().post(UPLOADS, content=text_bomb(), headers=BYTES, params={"name": "a.png", "prompt": "a fox"})
    assert code(made) == (415, "upload-unreadable")


NAMES = ["../../etc/passwd", "..\\..\\boot.ini", "/etc/cron.d/x", "a\nb.png", "\u202egnp.exe", ""]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_for_sentences_and_never_a_path(client_of: Clients, site: Site, tmp_path: Path, name: str) -> None:
    before = {path for path in tmp_path.rglob("*") if "images" not in path.parts and "likes.sqlite" not in path.name}
    where = {"name": name, "prompt": "a fox"}
    assert client_of().post(UPLOADS, content=image(), headers=BYTES, params=where).json()["new"]
    after = {path for path in tmp_path.rglob("*") if "images" not in path.parts and "likes.sqlite" not in path.name}
    assert after == before
    refusal = client_of().post(UPLOADS, content=b"<html>", headers=BYTES, params=where).json()["error"]["message"]
    assert "etc" not in refusal and "\n" not in refusal and "\\.." not in refusal and "/" not in refusal[:30]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "image/png"}, 415),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "multipart/form-data; boundary=x"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": "application/json"}, 415),
        ({**BYTES, "origin": "http://evil.example"}, 403),
        ({**BYTES, "origin": HOST.replace("8421", "9000"), "sec-fetch-site": "same-site"}, 403),
        ({**BYTES, "sec-fetch-site": "cross-site"}, 403),
        ({**BYTES, "host": "evil.example"}, 421),
    ],
)
def test_other_sites_and_other_forms_upload_nothing(
    client_of: Clients, site: Site, headers: dict[str, str], status: int
) -> None:
    before = site.store.counts().images
    where = {"name": "a", "prompt": "a fox"}
    assert client_of().post(UPLOADS, content=image(), headers=headers, params=where).status_code == status
    assert site.store.counts().images == before


def test_a_cookie_without_the_headers_of_a_browser_uploads_nothing(client_of: Clients, site: Site) -> None:
    client = client_of(None)
    client.cookies.set(site.cookie, site.access.cookie_of(site.owner))
    assert code(client.post(UPLOADS, content=image(), headers=BYTES)) == (403, "studio-no-origin")


def test_raters_upload_nothing_and_bytes_are_for_uploads_alone(client_of: Clients, site: Site) -> None:
    where = {"name": "a", "prompt": "a fox"}
    assert code(client_of("ben").post(UPLOADS, content=image(), headers=BYTES, params=where)) == (
        403, "studio-owner-only"
    )  # fmt: skip
    assert code(client_of().post("/api/v1/votes", content=b"{}", headers=BYTES)) == (415, "studio-not-json")


def test_an_image_above_the_limit_is_refused_with_and_without_its_length(client_of: Clients, site: Site) -> None:
    before = site.store.counts().images
    where = {"name": "a", "prompt": "a fox"}
    large = image() + bytes(MAX_UPLOAD_BYTES)
    assert code(client_of().post(UPLOADS, content=large, headers=BYTES, params=where)) == (413, "studio-too-large")
    parts = (large[place : place + 4_000_000] for place in range(0, len(large), 4_000_000))
    unsaid = client_of().post(UPLOADS, content=parts, headers=BYTES, params=where)
    assert code(unsaid) == (413, "studio-too-large") and site.store.counts().images == before
    json = {"content-type": "application/json"}
    assert code(client_of().post("/api/v1/votes", content=b" " * 1_000_001, headers=json)) == (413, "studio-too-large")


def test_a_full_disk_is_a_sentence(client_of: Clients, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("thumbtune.studio.uploads.tempfile.TemporaryFile", Full)
    made = client_of().post(UPLOADS, content=image(), headers=BYTES, params={"name": "a", "prompt": "a fox"})
    assert code(made) == (507, "upload-no-room")


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no /proc here, which tells what a process has open")
def test_an_upload_that_is_cut_off_leaves_nothing(tmp_path: Path) -> None:
    fill(tmp_path / "cut", 1)
    with Studio(tmp_path / "cut") as studio:
        token = studio.link.partition("token=")[2]
        head = (
            f"POST {UPLOADS}?name=a&prompt=fox HTTP/1.1\r\nHost: 127.0.0.1:{studio.port}\r\n"
            f"Authorization: Bearer {token}\r\nContent-Type: application/octet-stream\r\nContent-Length: 900000\r\n\r\n"
        )
        before = unnamed(studio)
        with socket.create_connection(("127.0.0.1", studio.port)) as line:
            line.sendall(head.encode() + png(1) + bytes(300_000))
            wait_until(lambda: len(unnamed(studio)) == len(before) + 1)
        wait_until(lambda: unnamed(studio) == before)
    with Store.open(tmp_path / "cut", create=False) as store:
        assert store.counts().images == 1


def unnamed(studio: Studio) -> list[str]:
    """The open files of a studio that have no name."""
    folder, found = f"/proc/{studio.pid}/fd", []
    for name in os.listdir(folder):
        with suppress(OSError):  # it was closed meanwhile
            found.append(os.readlink(f"{folder}/{name}"))
    return sorted(each for each in found if "(deleted)" in each)


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)

"""Images through the API: filters, pages, files, small copies, folders and imports; hostile ones are refused."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from studio_store import Clients, png
from test_votes_api import send, vote

from thumbtune.feedback.store.browsing import Query, count_images, list_images
from thumbtune.studio.site import Site, open_site


def ids(client: Any, **query: Any) -> list[int]:
    return [image["id"] for image in client.get("/api/v1/images", params=query).json()["images"]]


def test_filters_by_the_latest_votes(client_of: Clients, site: Site) -> None:
    ann, ben = client_of("ann"), client_of("ben")
    undone = vote(5)
    send(
        ann, vote(1), vote(2, "dislike"), vote(3), vote(3, "dislike"), vote(4, "skip"), undone, {"undoes": undone["id"]}
    )
    send(ben, vote(1, "dislike"), vote(6))
    unrated = [12, 11, 10, 9, 8, 7, 5]
    assert ids(ann, label="like") == [6, 1] and ids(ann, label="dislike") == [3, 2, 1]
    assert ids(ann, label="skip") == [4] and ids(ann, label="disagreement") == [1]
    assert ids(ann, label="unrated") == unrated and ids(ann, label="unrated", mine=True) == sorted([*unrated, 6])[::-1]
    assert ids(ann, label="like", mine=True) == [1] and ids(ann, label="dislike", mine=True) == [3, 2]
    assert ids(ann, text="THING 1") == [12, 11, 2] and ids(ann, text="%") == []
    for label in ("all", "like", "dislike", "skip", "unrated", "disagreement"):
        for more in ({}, {"mine": True}, {"text": "thing 1"}):
            query = {"label": label, **more}
            assert ann.get("/api/v1/images/total", params=query).json()["total"] == len(ids(ann, **query)), query


def test_a_filter_says_what_the_list_says(client_of: Clients, site: Site) -> None:
    """Any history: the conditions in SQL agree with the latest votes that the list shows."""
    send(client_of("ann"), *(vote(1 + n % 12, ("like", "dislike", "skip")[n * 7 % 3]) for n in range(50)))
    send(client_of("ben"), *(vote(1 + n % 5, ("like", "dislike", "skip")[n * 5 % 3]) for n in range(20)))
    every = list_images(site.store, "ann", Query(), 100)
    for kind in ("like", "dislike", "skip"):
        found = {one.image.id for one in list_images(site.store, "ann", Query(label=kind), 100)}
        assert found == {one.image.id for one in every if one.kinds[kind]}
        own = {one.image.id for one in list_images(site.store, "ann", Query(label=kind, rater="ann"), 100)}
        assert own == {one.image.id for one in every if one.own and one.own[0] == kind}
        assert count_images(site.store, Query(label=kind)) == len(found)


def test_pages_follow_each_other(client_of: Clients) -> None:
    client, seen, after = client_of(), [], None
    while True:
        page = client.get("/api/v1/images", params={"limit": 5} | ({"after": after} if after else {})).json()
        seen.append([image["id"] for image in page["images"]])
        if (after := page["after"]) is None:
            break
    assert seen == [[12, 11, 10, 9, 8], [7, 6, 5, 4, 3], [2, 1]]


def test_one_image_with_its_history(client_of: Clients, site: Site) -> None:
    large = site.store.add_image(png(99), "with a seed", seed=2**62 + 1, model="m", source="s")
    send(client_of("ben"), vote(large.id, "dislike", reason="style"))
    told = client_of().get(f"/api/v1/images/{large.id}").json()
    assert (told["seed"], told["model"], told["format"], told["dislikes"]) == (str(2**62 + 1), "m", "PNG", 1)
    (record,) = told["votes"]
    assert (record["rater"], record["kind"], record["reason"], record["counts"]) == ("ben", "dislike", "style", True)
    assert client_of("ben").get(f"/api/v1/images/{large.id}").status_code == 403


def test_files_and_small_copies(client_of: Clients, site: Site, tmp_path: Path) -> None:
    image, client = site.store.add_image(png(7, 900), "large"), client_of("ben")
    (shown,) = [
        one for one in client.get("/api/v1/queue", params={"limit": 50}).json()["images"] if one["id"] == image.id
    ]
    answer = client.get(shown["view"])
    assert answer.content == png(7, 900) and answer.headers["content-type"] == "image/png"
    assert "immutable" in answer.headers["cache-control"] and "sandbox" in answer.headers["content-security-policy"]
    for address, side in ((shown["thumb"], 256), (shown["thumb"].replace("256", "768"), 768)):
        small = client.get(address)
        assert small.headers["content-type"] == "image/webp" and "immutable" in small.headers["cache-control"]
        assert Image.open(io.BytesIO(small.content)).size == (side, side)
        assert client.get(address).content == small.content
    assert len(list((site.folder / "thumbs").rglob("*.webp"))) == 2
    assert client.get(f"/api/v1/images/{image.id}/file?v=0000").status_code == 404
    assert client.get(f"/api/v1/images/{image.id}/thumb?side=100").status_code == 422


@pytest.mark.parametrize(
    ("path", "status"),
    [(path, 422) for path in ("0", "-1", "1.5", str(2**63), str(2**80), "1%00")]
    + [(path, 404) for path in ("99", "..%2f..%2fetc%2fpasswd", "%2e%2e/likes.sqlite")],
)
def test_only_ids_name_images(client_of: Clients, path: str, status: int) -> None:
    for end in ("/file", "/thumb", ""):
        assert client_of().get(f"/api/v1/images/{path}{end}").status_code == status


def test_a_broken_file_is_a_sentence(client_of: Clients, site: Site) -> None:
    first, second = site.store.image(1), site.store.image(2)
    Path(site.store.address_of(first)).write_bytes(b"nothing")
    Path(site.store.address_of(second)).unlink()
    answers = [client_of().get(f"/api/v1/images/{number}/thumb") for number in (1, 2)]
    assert [answer.status_code for answer in answers] == [415, 404]
    assert answers[1].json()["error"]["code"] == "image-not-read"
    assert client_of().get("/api/v1/images/2/file").status_code == 404


# --- folders and imports


def folder_id(client: Any, *names: str) -> str:
    found, where = client.get("/api/v1/folders").json(), ""
    for name in names:
        (where,) = [one["id"] for one in found["folders"] if one["name"] == name]
        found = client.get("/api/v1/folders", params={"folder": where}).json()
    return where


def import_(client: Any, folder: str, **more: Any) -> Any:
    return client.post("/api/v1/imports", json={"folder": folder, **more})


@pytest.fixture
def pictures(site: Site) -> Path:
    assert site.root is not None
    for number, name in enumerate(("set/like/a", "set/like/b", "set/dislike/c", "plain/d")):
        file = site.root / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(500 + number))
        file.with_suffix(".txt").write_text(f"prompt {number}")
    return site.root


def test_an_import_and_its_dry_run_agree(client_of: Clients, site: Site, pictures: Path) -> None:
    client = client_of()
    folder = folder_id(client, "set")
    dry = import_(client, folder).json()
    assert site.store.counts().images == 12
    assert (dry["rows"], dry["new"], dry["likes"], dry["dislikes"], dry["known"]) == (3, 3, 2, 1, 0)
    assert (
        dry["command"].split()[:3] == ["thumbtune", "import", "set"] and "--dry-run" not in dry["command"]
    )  # it stands beside Import
    wet = import_(client, folder, dry_run=False).json()
    assert wet | {"dry_run": True} == dry
    assert (site.store.counts().images, site.store.counts().likes) == (15, 2)
    assert import_(client, folder, dry_run=False).json()["known"] == 3
    unrated = import_(client, folder_id(client, "plain"), labels="unrated", dry_run=False).json()
    assert (unrated["new"], unrated["likes"]) == (1, 0) and site.store.counts().likes == 2
    assert import_(client, folder_id(client, "plain"), labels="unrated").json()["known"] == 1


def test_the_root_is_named_nowhere(client_of: Clients, site: Site, pictures: Path) -> None:
    (pictures / "empty").mkdir()
    (pictures / "set" / "like" / "broken.png").write_bytes(b"no image")
    client = client_of()
    answers = [client.get("/api/v1/folders").text, import_(client, folder_id(client, "set")).text]
    answers.append(import_(client, folder_id(client, "empty")).text)
    answers.append(import_(client, folder_id(client, "plain"), labels="folders").text)
    assert "broken" in answers[1] and "error" in answers[2]
    assert not [text for text in answers if str(pictures) in text.replace(str(site.likes), "")]


def test_only_listed_folders_below_the_root(client_of: Clients, site: Site, pictures: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.png").write_bytes(png(1000))
    (pictures / "link").symlink_to(outside)
    (pictures / ".hidden").mkdir()
    (pictures / "plain" / "y.png").symlink_to(outside / "x.png")
    client = client_of()
    listed = client.get("/api/v1/folders").json()
    assert {one["name"] for one in listed["folders"]} == {"set", "plain"} and listed["parent"] is None
    signed = folder_id(client, "plain")
    for forged in (
        "..",
        "Li4",
        "Li4.x",
        f"Li4.{signed.partition('.')[2]}",
        f"{signed}x",
        "/etc",
        "%2e%2e",
        "\ud800x"[1:],
        "é.",
    ):
        assert import_(client, forged).status_code == 400, forged
        assert client.get("/api/v1/folders", params={"folder": forged}).status_code == 400
    report = import_(client, signed, labels="unrated", dry_run=False).json()
    assert (report["new"], report["left_out"]) == (1, 1)
    gone = folder_id(client, "set")
    (pictures / "set").rename(pictures / "other")
    (pictures / "set").symlink_to(outside)
    assert import_(client, gone).json()["error"]["code"] == "studio-no-folder"


def test_without_a_root_nothing_is_imported(tmp_path: Path) -> None:
    from starlette.testclient import TestClient

    from thumbtune.studio.app import make_app

    site = open_site(str(tmp_path / "likes"))
    with site.store, TestClient(make_app(site), base_url="http://localhost") as client:
        client.headers["authorization"] = f"Bearer {site.access.token_of(site.owner)}"
        assert import_(client, "").json()["error"]["code"] == "studio-no-root"


def bomb() -> bytes:
    """A PNG of 40,000 x 40,000 pixels in some bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 40_000, 40_000, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 5001)) + chunk(b"IEND", b"")
    )


def test_hostile_images_are_left_out(client_of: Clients, site: Site, pictures: Path) -> None:
    hostile = pictures / "hostile"
    hostile.mkdir()
    script = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    for name, data in {
        "bomb.png": bomb(),
        "page.png": b"<html>",
        "drawing.png": script,
        "cut.png": png(1, 64)[:60],
    }.items():
        (hostile / name).write_bytes(data)
    (hostile / "drawing.svg").write_bytes(script)
    (hostile / "good.png").write_bytes(png(2000))
    client = client_of()
    report = import_(client, folder_id(client, "hostile"), labels="unrated", prompt="x", dry_run=False).json()
    assert (report["rows"], report["new"], report["left_out"]) == (6, 1, 5)  # the drawing too
    assert site.store.counts().images == 13


def test_a_rater_imports_nothing(client_of: Clients, pictures: Path) -> None:
    folder = folder_id(client_of("ann"), "set")
    assert import_(client_of("ben"), folder).status_code == 403
    assert (
        client_of("ben").get("/api/v1/folders").status_code == 403
        and client_of("ben").get("/api/v1/images").status_code == 403
    )

"""The studio starts at once, without torch, and refuses what would be unsafe."""

import os
from collections.abc import Callable
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from running import Studio, free_port
from studio_store import fill

from thumbtune.studio.site import open_site

HEAVY = ("torch", "scipy", "pyarrow", "pandas", "matplotlib", "duckdb")  # each takes longer than the studio
Call = Callable[..., tuple[int, str, str]]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no /proc here, which tells what a process has loaded")
def test_the_studio_starts_without_what_takes_long_to_load(tmp_path: Path) -> None:
    """How long a start takes is measured by benchmarks.studio."""
    fill(tmp_path / "likes", 1)
    with Studio(tmp_path / "likes") as studio:
        loaded = Path(f"/proc/{studio.pid}/maps").read_text()
    assert "sqlite" in loaded and not [name for name in HEAVY if f"/{name}/" in loaded]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no /proc here, which tells what a process has loaded")
def test_the_doctor_leaves_the_studio_without_torch(tmp_path: Path) -> None:
    with Studio(tmp_path / "likes") as studio:
        headers = {"Authorization": f"Bearer {studio.link.partition('token=')[2]}", "Content-Type": "application/json"}
        address = f"http://127.0.0.1:{studio.port}/api/v1/doctor"
        with urlopen(Request(address, b"{}", headers), timeout=120) as answer:
            assert b"torch" in answer.read()
        assert "torch" not in Path(f"/proc/{studio.pid}/maps").read_text()


@pytest.mark.slow
def test_a_rater_of_the_page_has_a_link_at_the_next_start(tmp_path: Path) -> None:
    fill(tmp_path / "likes", 1)
    site = open_site(str(tmp_path / "likes"), raters=["ann"])
    with site.store:
        token = site.access.token_of(site.access.add("eve"))
    with Studio(tmp_path / "likes", None, "--rater", "ann") as studio:
        assert len(studio.links) == 2 and studio.links[1].endswith(f"token={token}")


@pytest.mark.slow
def test_the_key_is_for_its_owner_alone_and_stays(tmp_path: Path) -> None:
    with Studio(tmp_path / "likes") as studio:
        first = studio.link
        assert os.stat(tmp_path / "likes" / "studio" / "studio.key").st_mode & 0o777 == 0o600
        studio.stop()
        studio.start()
        assert studio.link == first


def test_others_get_in_only_with_names(call: Call) -> None:
    code, _, err = call("studio", "--host", "0.0.0.0", "--port", free_port())
    assert code == 2 and "--rater" in err


@pytest.mark.slow
def test_a_port_that_is_taken_is_a_sentence(call: Call, tmp_path: Path) -> None:
    with Studio(tmp_path / "likes") as studio:
        code, _, err = call("studio", "--likes", tmp_path / "other", "--port", studio.port)
    assert code == 1 and "--port" in err and not (tmp_path / "other").exists()


def test_a_root_that_is_no_folder_is_a_sentence(call: Call, tmp_path: Path) -> None:
    words = ["--likes", tmp_path / "likes", "--port", 0, "--root", tmp_path / "none"]
    code, _, err = call("studio", *words)
    assert code == 2 and "--root" in err

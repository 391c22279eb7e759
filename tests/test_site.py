"""The built site: no warning, no dead link, nothing from elsewhere, and a browser shows every page."""

import functools
import http.server
import importlib.util
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from browser import Browser, Page, needs_chromium

from docs_site.__main__ import write_sources

ROOT = Path(__file__).parents[1]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("zensical") is None, reason="no zensical here; `make setup` installs it"
    ),
]
WIDE = """
[...document.querySelectorAll("body *")].filter((one) => {
  const box = one.getBoundingClientRect();
  if (box.width === 0 || box.height === 0 || box.right <= innerWidth + 1) return false;
  for (let up = one; up && up !== document.body; up = up.parentElement) {
    const style = getComputedStyle(up);
    if (/auto|scroll|hidden|clip/.test(style.overflowX) || style.position === "fixed") return false;
  }
  return true;
}).map((one) => one.outerHTML.slice(0, 120))
"""
RESULTS = "[...document.querySelectorAll('*')].map((one) => one.shadowRoot?.textContent ?? '').join(' ')"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "docs_site", "--out", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout + done.stderr
    return folder / "site"


class Links(HTMLParser):
    """The ids of a page, and what it points to as (tag, attribute, address)."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.targets: list[tuple[str, str, str]] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in {"id", "name"} and value:
                self.ids.add(value)
            elif name in {"href", "src", "action", "data", "poster"} and value is not None:
                self.targets.append((tag, name, value))
            elif name == "srcset" and value:
                self.targets += [(tag, name, one.split()[0]) for one in value.split(",")]


def is_elsewhere(address: str) -> bool:
    return bool(urlsplit(address).scheme or urlsplit(address).netloc) and not address.startswith("data:")


def dead_links(site: Path) -> list[str]:
    """Every link within the site that leads to no file, or to no id of its page."""
    site = site.resolve()
    pages = {page: Links(page) for page in sorted(site.rglob("*.html"))}
    dead = []
    for page, links in pages.items():
        for tag, _, address in links.targets:
            if is_elsewhere(address) or address.startswith("data:"):
                continue
            path, fragment = unquote(urlsplit(address).path), unquote(urlsplit(address).fragment)
            target = (site / path.lstrip("/") if path.startswith("/") else page.parent / path) if path else page
            target = target.resolve()
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or not target.is_relative_to(site):
                dead.append(f"{page.relative_to(site)}: <{tag}> {address}")
            elif fragment and target.suffix == ".html" and fragment not in pages[target].ids:
                dead.append(f"{page.relative_to(site)}: <{tag}> {address}, which has no such place")
    return dead


def test_no_link_is_dead(site: Path) -> None:
    assert len(list(site.rglob("*.html"))) > 60
    assert dead_links(site) == []


def test_dead_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<p id="x"></p><a href="b.html#y">1</a><a href="#x">2</a><a href="a.html#no">3</a>'
    )
    (tmp_path / "b.html").write_text('<a name="y"></a><img src="no.png"><a href="/a.html">4</a><a href="../out">5</a>')
    assert dead_links(tmp_path) == [
        "a.html: <a> a.html#no, which has no such place",
        "b.html: <img> no.png",
        "b.html: <a> ../out",
    ]


def test_only_links_for_readers_lead_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        elsewhere = [target for target in Links(page).targets if is_elsewhere(target[2])]
        assert {(tag, name) for tag, name, _ in elsewhere} <= {("a", "href")}, page
        assert all(address.startswith("https://") for *_, address in elsewhere), page
    for sheet in site.rglob("*.css"):
        loaded = re.findall(r"url\(\s*['\"]?([^)'\"]*)|@import\s+['\"]([^'\"]*)", sheet.read_text(encoding="utf-8"))
        assert not [one for pair in loaded for one in pair if is_elsewhere(one) or one.startswith("//")], sheet


def test_a_dead_link_and_a_dead_anchor_end_the_build(tmp_path: Path) -> None:
    for wrong in ("[a](no.md)", "[a](lora.md#no-such-heading)"):
        write_sources(tmp_path)
        page = tmp_path / "pages" / "docker.md"
        page.write_text(f"{page.read_text(encoding='utf-8')}\n{wrong}\n", encoding="utf-8")
        command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
        assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode != 0, wrong


# --- in a browser


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files, and writes no log."""

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing."""


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with Browser(tmp_path / "profile") as running:
        yield running


def check_page(page: Page, address: str) -> None:
    """Check that what was opened asked nobody else, complained of nothing, and is not wider than the window."""
    elsewhere = [one for one in page.requests if not one.startswith((f"{address}/", "data:", "blob:"))]
    assert (elsewhere, page.complaints) == ([], []), page.requests[0]
    assert page.value("document.documentElement.scrollWidth <= innerWidth"), page.requests[0]
    assert page.value(WIDE) == [], page.requests[0]
    page.requests.clear()


@needs_chromium
@pytest.mark.parametrize(("width", "height"), [(1100, 900), (390, 844)])
def test_a_browser_shows_every_page_without_a_complaint(
    site: Path, address: str, browser: Browser, width: int, height: int
) -> None:
    page = browser.page(width, height)
    for file in sorted(site.rglob("*.html")):
        page.open(f"{address}/{file.relative_to(site)}")
        assert page.value("[...document.images].every((one) => one.complete && one.naturalWidth > 0)"), file
        check_page(page, address)


@needs_chromium
@pytest.mark.parametrize("width", [1100, 390])
def test_search_finds_the_reference_point(address: str, browser: Browser, width: int) -> None:
    page = browser.page(width, 844)
    page.open(f"{address}/index.html")
    page.wait_for("document.querySelector('.md-search__button') !== null")
    page.value("document.querySelector('.md-search__button').click()")
    page.wait_for("[...document.querySelectorAll('*')].some((one) => one.shadowRoot?.querySelector('input'))")
    page.wait_for("[...document.querySelectorAll('*')].some((one) => one.shadowRoot?.activeElement)")
    browser.call("Input.insertText", page.session, text="reference point")
    page.wait_for(f"/[1-9]\\d* results/.test({RESULTS})")
    assert "objective.reference_point" in page.value(RESULTS)
    check_page(page, address)


@needs_chromium
def test_the_dark_page_is_dark_and_a_request_elsewhere_is_noticed(address: str, browser: Browser) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    page, light = browser.page(1100, 900, dark=True), browser.page(1100, 900)
    page.open(f"{address}/index.html")
    light.open(f"{address}/index.html")
    assert (page.value(ground), light.value(ground)) == ("rgb(19, 19, 21)", "rgb(250, 249, 247)")
    check_page(page, address)
    page.value("fetch('http://elsewhere.invalid/a.js').catch(() => 0)")
    with pytest.raises(AssertionError, match=r"elsewhere\.invalid"):
        check_page(page, address)

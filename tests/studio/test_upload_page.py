"""Uploads in a browser: files chosen and dropped, those without a prompt named, and sent again with one."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, Page, needs_chromium
from opened import signed_in
from running import Studio
from studio_store import fill, png
from test_uploads_api import with_parameters

from thumbtune.feedback.store.store import Store

pytestmark = needs_chromium
PROBLEM = "document.getElementById('upload-problem').textContent"


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    fill(tmp_path / "likes", 2)
    with Studio(tmp_path / "likes") as running:
        yield running


def images(browser: Browser, studio: Studio) -> Page:
    page = signed_in(browser, studio.link, "/images")
    page.wait_for("document.querySelectorAll('#grid .tile').length === 2")
    return page


def bring(page: Page, files: dict[str, bytes], dropped: bool) -> None:
    """Choose files in the picker, or drop them on the page, as scripts can."""
    given = json.dumps({name: base64.b64encode(data).decode() for name, data in files.items()})
    page.value(
        f"""void (() => {{
            const data = new DataTransfer();
            for (const [name, text] of Object.entries({given}))
                data.items.add(new File([Uint8Array.from(atob(text), (one) => one.charCodeAt(0))], name));
            if ({json.dumps(dropped)})
                for (const kind of ["dragenter", "dragover", "drop"])
                    document.body.dispatchEvent(new DragEvent(kind, {{dataTransfer: data, bubbles: true}}));
            else {{
                const picker = document.getElementById("upload-files");
                picker.files = data.files;
                picker.dispatchEvent(new Event("change"));
            }}
        }})()"""
    )


@pytest.mark.slow
@pytest.mark.parametrize("dropped", [True, False])
def test_files_come_into_the_list_without_a_vote(
    studio: Studio, browser: Browser, tmp_path: Path, dropped: bool
) -> None:
    page, fox = images(browser, studio), with_parameters()
    bring(page, {"fox.png": fox, "again.png": fox}, dropped)
    page.wait_for("document.getElementById('upload').open")
    assert page.value("document.activeElement.id") == "upload-go"
    page.press("Enter")
    page.wait_for("document.querySelectorAll('#grid .tile').length === 3 && !document.getElementById('upload').open")
    assert "1 image uploaded; 1 was in the store before." in page.value("document.getElementById('toasts').textContent")
    page.wait_for("document.getElementById('left').textContent === '3'")
    assert page.complaints == []


@pytest.mark.slow
def test_those_without_a_prompt_are_named_and_sent_again(studio: Studio, browser: Browser, tmp_path: Path) -> None:
    page = images(browser, studio)
    bring(page, {"a.png": png(50), "fox.png": with_parameters(), "b.png": png(51), "page.png": b"<html>"}, True)
    page.wait_for("document.getElementById('upload').open")
    page.click("#upload-go")
    page.wait_for(f"{PROBLEM}.includes('a.png, b.png. Type one for all')")
    assert page.value("document.activeElement.id") == "upload-prompt"
    refused = page.value("[...document.querySelectorAll('#upload-list li')].map((one) => one.textContent)")
    assert [one[:2] for one in refused] == ["!a", "!b", "!p", "✓f"], "refused first"
    assert refused[2].startswith("!page.png cannot")
    assert page.value("document.getElementById('upload-go').textContent") == "Upload 2 images"
    page.value("void (document.getElementById('upload-prompt').value = 'a square')")
    page.click("#upload-go")
    page.wait_for("document.getElementById('upload-count').textContent === '3 uploaded, 1 refused'")
    assert page.value(PROBLEM) == ""
    page.click("#upload-close")
    with Store.open(tmp_path / "likes", create=False) as store, store.reading():
        prompts = {store.image(number).prompt for number in range(1, 6)}
    assert prompts == {"thing 0", "thing 1", "a red fox", "a square"}
    assert [one for one in page.complaints if "422" not in one and "415" not in one] == []


@pytest.mark.slow
def test_a_file_too_large_is_named_before_it_is_sent(studio: Studio, browser: Browser) -> None:
    page = images(browser, studio)
    bring(page, {"fox.png": with_parameters()}, True)
    page.value(
        """void (() => {
            const data = new DataTransfer(), picker = document.getElementById("upload-files");
            data.items.add(new File([new Uint8Array(64000001)], "big.png"));
            picker.files = data.files;
            picker.dispatchEvent(new Event("change"));
        })()"""
    )
    first = "document.querySelector('#upload-list li').textContent"
    assert page.value(first) == "!big.png is larger than 64 MB; make it smaller."
    assert page.value("document.getElementById('upload-go').textContent") == "Upload 1 image"
    page.click("#upload-go")
    page.wait_for("document.getElementById('upload-count').textContent === '1 uploaded, 1 refused'")
    assert page.complaints == []


@pytest.mark.slow
def test_closing_the_dialog_stops_the_uploads(studio: Studio, browser: Browser) -> None:
    page = images(browser, studio)
    bring(page, {f"{number}.png": png(60 + number) for number in range(4)}, True)
    page.value("void (document.getElementById('upload-prompt').value = 'a square')")
    page.value("void (document.getElementById('upload-go').click(), document.getElementById('upload-close').click())")
    page.wait_for("document.querySelectorAll('#grid .tile').length === 3")
    assert "1 image uploaded." in page.value("document.getElementById('toasts').textContent")
    page.wait_for("document.getElementById('left').textContent === '3'")


@pytest.mark.slow
def test_an_upload_goes_on_after_the_studio_was_away(studio: Studio, browser: Browser) -> None:
    page = images(browser, studio)
    bring(page, {"fox.png": with_parameters()}, False)
    studio.stop()
    page.click("#upload-go")
    page.wait_for(f"{PROBLEM}.includes('does not answer')")
    studio.start()
    page.click("#upload-go")
    page.wait_for("document.querySelectorAll('#grid .tile').length === 3")

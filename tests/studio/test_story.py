"""The whole story by clicks and keys alone, with few steps; `python -m benchmarks.story` times it with more."""

import json
from pathlib import Path

import pytest
from browser import Browser, needs_chromium
from running import Studio
from told_story import IMAGES, NEXT, RUN, lora_of, tell

pytestmark = needs_chromium


@pytest.mark.slow
def test_the_whole_story_by_clicks_and_keys_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "root"
    root.mkdir()
    with Studio(root / "likes", None, "--root", str(root)) as studio, Browser(tmp_path / "profile") as browser:
        story = tell(browser, studio, is_short=True)
        base = studio.link.split("/welcome", maxsplit=1)[0]
        assert story.page.complaints == []
        assert not [address for address in story.page.requests if not address.startswith((base, "blob:"))]
    with capsys.disabled():
        print(f"\n{sum(story.seconds.values()):.0f} s: {json.dumps(story.seconds)}")
    assert min(story.labels.values()) > 0 and sum(story.labels.values()) > IMAGES  # both kinds, and those of the round
    assert lora_of(root, NEXT) and not lora_of(root, RUN)
    assert len((root / "runs" / RUN / "steps.jsonl").read_text().splitlines()) == 6
    assert (root / "runs" / RUN / "evaluation" / "verdict.json").is_file()
    assert len(list((root / "runs" / RUN / "blind").glob("*.html"))) == 1
    assert len(list((root / "exports").rglob("*.parquet"))) >= 1

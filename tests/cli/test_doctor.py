"""The doctor finds what is there, and names what is not."""

from pathlib import Path

import pytest

from thumbtune.cli import doctor


def bundled(found: list[tuple[bool, str]]) -> list[tuple[bool, str]]:
    return [finding for finding in found if finding[1].startswith("bundled")]


def test_everything_bundled_is_found() -> None:
    names = ("tiny-emoji-64", "judge", "style")
    assert bundled(list(doctor.findings())) == [(True, f"bundled {name}") for name in names]


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "BUNDLED", tmp_path)
    found = bundled(list(doctor.findings()))
    assert [well for well, _ in found] == [False] * 3
    assert found[2][1] == "bundled style is missing; install thumbtune again"

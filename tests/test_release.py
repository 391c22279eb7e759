"""A release names one version everywhere, and what stands around the package is true: see docs/releasing.md."""

import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

import thumbtune

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
EXTRA = re.compile(r"thumbtune\[([\w,-]+)\]")
SECTION = re.compile(r"^## \[(.+?)\](?: - (\S+))?$", re.MULTILINE)
Sections = list[tuple[str, str]]
PENDING = "unreleased"  # in the place of a day


def is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def faults(sections: Sections, version: str) -> list[str]:
    """What is wrong with the (version, day) of a changelog's sections; that of the version may be unreleased."""
    found = [] if version in [name for name, _ in sections] else [f"no section {version}"]
    if ("Unreleased", "") in sections[1:]:
        found.append("Unreleased is not the first section")
    released = [(name, day) for name, day in sections if (name, day) != ("Unreleased", "")]
    numbers = [[int(part) for part in name.split(".")] for name, _ in released]
    if numbers != sorted(numbers, reverse=True):
        found.append("versions do not go down")
    found += [f"{name} has no day" for name, day in released if not (is_day(day) or (name, day) == (version, PENDING))]
    return found


def test_one_version_stands_everywhere() -> None:
    assert PROJECT["version"] == thumbtune.__version__ == CITATION["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", PROJECT["version"])


def test_the_changelog_has_a_section_for_the_version() -> None:
    assert not faults(SECTION.findall(CHANGELOG), PROJECT["version"])
    assert len(SECTION.findall(CHANGELOG)) == CHANGELOG.count("\n## "), "a heading that is not [VERSION] - DAY"


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ([("Unreleased", ""), ("0.2.0", "2026-11-30"), ("0.1.0", "2026-01-02")], []),
        ([("0.2.0", "unreleased"), ("0.1.0", "2026-01-02")], []),
        ([("Unreleased", ""), ("0.1.0", "2026-01-02")], ["no section 0.2.0"]),
        ([("0.2.0", "2026-11-30"), ("Unreleased", "")], ["Unreleased is not the first section"]),
        ([("0.2.0", "2026-11-30"), ("0.10.0", "2026-12-01")], ["versions do not go down"]),
        ([("0.2.0", "2026-11-31"), ("0.1.0", "unreleased")], ["0.2.0 has no day", "0.1.0 has no day"]),
    ],
)
def test_faults_of_a_changelog_are_found(sections: Sections, expected: list[str]) -> None:
    assert faults(sections, "0.2.0") == expected


def test_the_citation_is_of_the_day_of_its_section() -> None:
    day = dict(SECTION.findall(CHANGELOG))[PROJECT["version"]]
    assert str(CITATION.get("date-released", PENDING)) == day


def test_the_citation_cites_the_paper_as_the_readme_does() -> None:
    """What Citation File Format 1.2.0 asks of a file and of a reference."""
    assert CITATION["cff-version"] == "1.2.0" and CITATION["message"] and CITATION["license"] == PROJECT["license"]
    (paper,) = CITATION["references"]
    assert paper["type"] == "conference-paper" and paper["conference"]["name"] == "NeurIPS 2024"
    assert [one["value"] for one in paper["identifiers"]] == ["arXiv:2404.04465"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    bibtex = dict(re.findall(r"^  (\w+) += \{(.+)\},?$", readme, re.MULTILINE))
    names = [f"{one['family-names']}, {one['given-names']}" for one in paper["authors"]]
    assert bibtex["author"] == " and ".join(names)
    assert (bibtex["title"], bibtex["year"]) == (paper["title"], str(paper["year"]))
    assert bibtex["booktitle"] == paper["collection-title"]


def named_extras() -> dict[str, list[str]]:
    """{extra: the files that tell people to install it}."""
    found: dict[str, list[str]] = {}
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    for file in [*pages, *(ROOT / "src").rglob("*.py")]:
        for names in EXTRA.findall(file.read_text(encoding="utf-8")):
            for name in names.split(","):
                found.setdefault(name, []).append(file.name)
    return found


def test_every_extra_that_people_read_of_is_there_and_the_other_way_round() -> None:
    assert named_extras().keys() == PROJECT["optional-dependencies"].keys()


def test_extras_are_found_in_sentences_of_the_code_and_in_pages() -> None:
    found = named_extras()
    assert {"videos.py", "clips.md"} <= set(found["video"]) and "bitsandbytes.py" in found["8bit"]


# --- forms of issues

FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
FIELDS = {"input", "textarea", "dropdown", "checkboxes"}


def form(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml").read_text(encoding="utf-8"))


def test_the_forms_are_these() -> None:
    assert [file.stem for file in FORMS] == ["bug", "config", "feature", "model-family"]
    assert form("config") == {"blank_issues_enabled": False}


@pytest.mark.parametrize("name", ["bug", "feature", "model-family"])
def test_a_form_has_what_the_site_asks_for(name: str) -> None:
    parsed = form(name)
    assert parsed.keys() == {"name", "description", "labels", "body"}
    fields = [element for element in parsed["body"] if element["type"] in FIELDS]
    assert all(element in fields or element["type"] == "markdown" for element in parsed["body"])
    ids = [element["id"] for element in fields]
    labels = [element["attributes"]["label"] for element in fields]
    assert fields and len(set(ids)) == len(ids) and len(set(labels)) == len(labels)
    for element in fields:
        assert re.fullmatch(r"[\w-]+", element["id"])
        assert element.get("validations", {"required": False}).keys() == {"required"}
        options = element["attributes"].get("options", [])
        assert bool(options) == (element["type"] == "dropdown")
        assert all(isinstance(option, str) for option in options), "a plain no is false in YAML"


def test_a_bug_comes_with_what_doctor_prints() -> None:
    (doctor,) = (
        element for element in form("bug")["body"] if "thumbtune doctor" in element["attributes"].get("label", "")
    )
    assert doctor["validations"]["required"]


def test_a_change_is_asked_three_things() -> None:
    assert len((ROOT / ".github" / "pull_request_template.md").read_text(encoding="utf-8").splitlines()) == 3


def test_private_reports_and_pickles_stand_in_the_security_page() -> None:
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert "private reporting of this repository" in page and "**Pickles.**" in page

"""The Dockerfile copies files that are there, from stages that are there, and does not run as root.

No test here runs docker; tests/test_wheel.py builds the wheel from what the first stage copies.
"""

import os
import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
Line = tuple[str, str]


def instructions(text: str) -> list[Line]:
    """(instruction, its words) of each line of a Dockerfile, continued lines joined."""
    kept = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    lines = [line.strip() for line in kept.replace("\\\n", " ").splitlines() if line.strip()]
    return [(line.split()[0], " ".join(line.split()[1:])) for line in lines]


LINES = instructions((ROOT / "Dockerfile").read_text(encoding="utf-8"))


def stages(lines: list[Line]) -> list[list[Line]]:
    """The lines of each stage, its FROM first; the lines before the first stage stand in front."""
    found: list[list[Line]] = [[]]
    for line in lines:
        if line[0] == "FROM":
            found.append([])
        found[-1].append(line)
    return found


def copied(stage: list[Line]) -> list[str]:
    """The files and folders of the repository that a stage copies."""
    words = [rest.split() for instruction, rest in stage if instruction == "COPY"]
    return [source for line in words if not line[0].startswith("--from=") for source in line[:-1]]


def is_ignored(path: str, patterns: list[str]) -> bool:
    """Whether docker leaves a path out: the last pattern decides that matches it or a folder above it."""
    ignored = False
    for pattern in patterns:
        bare = pattern.removeprefix("!").removeprefix("**/")
        parts = path.split("/")
        above = parts if pattern.startswith("**/") else ["/".join(parts[: i + 1]) for i in range(len(parts))]
        if any(fnmatch(one, bare) for one in above):
            ignored = not pattern.startswith("!")
    return ignored


def test_instructions_are_read() -> None:
    assert instructions("# no\nRUN a \\\n    # no\n    && b\n\nUSER c") == [("RUN", "a && b"), ("USER", "c")]


def test_a_wheel_is_built_in_the_first_stage_and_installed_in_the_second() -> None:
    before, wheel, final = stages(LINES)
    assert before == [("ARG", "BASE_IMAGE=python:3.11-slim")]  # a name of Docker Hub, as it has no host
    assert wheel[0] == ("FROM", "${BASE_IMAGE} AS wheel") and final[0] == ("FROM", "${BASE_IMAGE}")
    assert any(instruction == "RUN" and rest.startswith("pip wheel ") for instruction, rest in wheel)
    assert ("COPY", "--from=wheel /wheels /install/wheels") in final


@pytest.mark.parametrize("index", ["", "https://torch.example/cpu"])
def test_torch_alone_comes_from_its_index(index: str, tmp_path: Path) -> None:
    """An index of torch lacks versions of constraints.txt, so it must never stand in for PyPI."""
    line = next(rest for instruction, rest in LINES if instruction == "RUN" and "TORCH_INDEX" in rest)
    pip = tmp_path / "pip"
    pip.write_text('#!/bin/sh\nprintf "%s\\n" "$*"\n')
    pip.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TORCH_INDEX": index}
    line = line.replace("/install/constraints.txt", str(ROOT / "constraints.txt"))
    ran = subprocess.run(["sh", "-ec", line], env=environment, capture_output=True, text=True, check=True)
    torch = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))
    constrained = f"install -c {ROOT / 'constraints.txt'}"
    assert ran.stdout.splitlines() == (
        [f"install --no-deps --index-url {index} {torch}", f"{constrained} --extra-index-url {index} {torch}"]
        if index
        else [f"{constrained} {torch}"]
    )


def test_arguments_are_declared_where_they_are_used() -> None:
    _, wheel, final = stages(LINES)
    for stage in (wheel[1:], final[1:]):
        declared = {rest.partition("=")[0] for instruction, rest in stage if instruction == "ARG"}
        used = {name for _, rest in stage for name in re.findall(r"\$\{?([A-Z_]+)", rest)}
        assert used == declared
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs" / "docker.md").read_text(), re.MULTILINE))
    assert documented == {rest.partition("=")[0] for instruction, rest in LINES if instruction == "ARG"}


def test_what_is_copied_is_there_and_not_ignored() -> None:
    _, wheel, final = stages(LINES)
    paths = [*copied(wheel), *copied(final)]
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert {"pyproject.toml", "src", "constraints.txt"} <= set(paths)
    for path in [*paths, "src/thumbtune/py.typed"]:
        assert (ROOT / path).exists() and not is_ignored(path, patterns), path
    allowed = {pattern[1:] for pattern in patterns if pattern.startswith("!")}
    assert allowed == set(paths)
    for path in (".git", "runs/mine", "likes", "src/thumbtune/__pycache__/files.pyc", "tests/conftest.py", ".venv"):
        assert is_ignored(path, patterns), path


def test_it_runs_thumbtune_as_a_user_whose_folders_are_volumes() -> None:
    final = dict(line for line in LINES if line[0] not in {"RUN", "COPY", "ARG"})
    assert final["USER"] == "thumbtune" and final["ENTRYPOINT"] == '["thumbtune"]'
    assert final["VOLUME"] == '["/data", "/home/thumbtune/.cache"]' and final["WORKDIR"] == "/data"
    order = [instruction for instruction, _ in LINES]
    last_run = len(order) - 1 - order[::-1].index("RUN")
    assert last_run < order.index("USER") < order.index("ENTRYPOINT")


def test_the_page_says_that_nobody_built_it() -> None:
    assert "**Nobody built this image\nyet.**" in (ROOT / "docs" / "docker.md").read_text(encoding="utf-8")

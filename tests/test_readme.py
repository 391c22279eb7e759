"""The README's sessions are true: every command runs, in its order, and prints the lines that are shown below it.

Numbers differ between machines, so lines are compared with their numbers masked. Three dots stand for any lines.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FIRST_EXAMPLE = 45  # a reader meets code before this line


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, flags=re.DOTALL)


def commands(page: str = README) -> list[tuple[str, list[str]]]:
    """(command, the lines that it is shown to print), in their order."""
    found: list[tuple[str, list[str]]] = []
    for block in blocks("console", page):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif found[-1][0].endswith("\\"):
                found[-1] = (found[-1][0][:-1] + line.strip(), [])
            else:
                found[-1][1].append(line)
    return found


def masked(line: str) -> str:
    """A line without its numbers, signs and the folders of its paths."""
    line = re.sub(r"\S*/(?=[^/\s]+)", "", line.strip())
    return " ".join(re.sub(r"[-+]?\d[\d,.]*(e[-+]?\d+)?%?", "#", line).split())


def is_shown(printed: list[str], output: str) -> bool:
    """Whether the lines are the whole output; three dots stand for any number of lines, and blank lines for none."""
    shown = [masked(line) for line in printed if line.strip()]
    real = "".join(f"{masked(line)}\n" for line in output.splitlines() if line.strip())
    pattern = "".join("(?:.*\n)*?" if line == "..." else re.escape(line) + "\n" for line in shown)
    return re.fullmatch(pattern, real) is not None


def run(command: str, where: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "COLUMNS": "200"}
    return subprocess.run(command, shell=True, cwd=where, env=environment, capture_output=True, text=True, check=False)


def test_code_comes_early() -> None:
    lines = README.splitlines()
    assert next(i for i, line in enumerate(lines, 1) if line.startswith("```")) < FIRST_EXAMPLE


def test_every_command_is_shown_with_a_line_of_its_output() -> None:
    assert len(commands()) >= 6
    assert not [command for command, printed in commands() if not printed]


def test_masked_lines_keep_their_words() -> None:
    assert masked("  likes   44  of 192 (-1.3%)") == masked("likes 7 of 3 (+0.25%)") == "likes # of # (#)"
    assert masked("Report: /a/b/report.html") == masked("Report: report.html")


def test_three_dots_stand_for_lines_and_nothing_else_does() -> None:
    output = "a 1\nb\n\nc 2\nd\n"
    assert is_shown(["a 7", "...", "d"], output) and is_shown(["a 1", "b", "c 3", "d"], output)
    assert is_shown(["...", "c 2", "..."], output) and is_shown(["...", "d"], output)
    assert not is_shown(["a 1", "d"], output) and not is_shown(["a 1", "b", "c 2"], output)
    assert not is_shown(["b", "..."], output) and not is_shown(["...", "e"], output)


@pytest.mark.slow
def test_the_sessions_run_and_print_what_is_shown(tmp_path: Path) -> None:
    for command, printed in commands():
        done = run(command, tmp_path)
        assert done.returncode in ({0, 3, 4} if " verdict " in command else {0}), f"{command}\n{done.stderr}"
        assert is_shown(printed, done.stdout), f"{command} did not print:\n{printed}\nbut:\n{done.stdout}"
    for code in blocks("python"):
        done = run(f"{sys.executable} - <<'CODE'\n{code}\nCODE", tmp_path)
        assert done.returncode == 0, f"{code}\n{done.stderr}"

"""Build the site: `python -m docs_site` (or `make docs`) writes build/site. A warning of Zensical is an error.

pages.py               the Markdown files of the repository, with links as the site has them
folders.py             folders of rows that pages link to, as lists of files
notebook.py            a notebook as a page
recipe_reference.py    every option of a recipe, from its schema
command_reference.py   every command with its options, from the command line itself
python_reference.py    the names for users, from their signatures and docstrings
zensical.toml          the order of pages, the look, the extensions of Markdown
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from docs_site import command_reference, python_reference, recipe_reference
from docs_site.pages import stage

ROOT = Path(__file__).parents[1]
HERE = Path(__file__).parent
REFERENCE = "reference"  # the folder of the generated pages


def write_sources(folder: Path) -> None:
    """Write all that Zensical reads into a folder, which is emptied before: zensical.toml, and `pages`."""
    shutil.rmtree(folder, ignore_errors=True)
    pages = folder / "pages"
    stage(ROOT, pages)
    shutil.copytree(HERE / "look", pages / "look")
    (pages / REFERENCE).mkdir()
    generated = {"recipe": recipe_reference.page(), "commands": command_reference.page()}
    for name, text in (generated | python_reference.pages()).items():
        (pages / REFERENCE / f"{name}.md").write_text(text, encoding="utf-8")
    shutil.copy(HERE / "zensical.toml", folder)


def build(folder: Path) -> int:
    """Write the site into `folder`/site, its sources beside it; return the exit code of Zensical."""
    sources = folder / "site-sources"
    write_sources(sources)
    shutil.rmtree(folder / "site", ignore_errors=True)
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    done = subprocess.run(command, cwd=sources, check=False)
    if done.returncode == 0:
        shutil.move(sources / "site", folder / "site")
        print(f"The site is {folder / 'site' / 'index.html'}. Its search needs a server:")
        print(f"{Path(sys.executable).name} -m http.server --bind 127.0.0.1 --directory {folder / 'site'}")
    return done.returncode


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Build the site of the documentation.")
    parser.add_argument("--out", type=Path, default=ROOT / "build", help="The folder that gets `site`. Default: build.")
    sys.exit(build(parser.parse_args().out.resolve()))

"""The Markdown files of the repository as pages of the site: copied at each build, with links that lead to pages.

On GitHub, README.md is the front page, and the others stand below docs/. On the site, README.md is index.md, and what
stands below docs/ stands at the top. Files elsewhere, such as CONTRIBUTING.md, keep their place.
"""

import os
import re
import shutil
from pathlib import Path, PurePosixPath

from docs_site.folders import folder_page
from docs_site.notebook import notebook_page

BESIDE_DOCS = (  # files outside docs/ that are pages too
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "base_model/README.md",
    "src/thumbtune/bundled/tiny-emoji-64/README.md",
    "examples/first_training.ipynb",
)
CODE = re.compile(r"(^```.*?^```[ \t]*$|`[^`\n]+`)", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(\[[^\[\]]*)?(\]\()([^)\s#]*)(#[^)\s]*)?(\))")
COMMENT = re.compile(r"^<!--.*?-->\n", re.DOTALL | re.MULTILINE)
FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


class DeadLink(Exception):
    """A link of a page that leads to nothing in the repository."""


def site_path(path: str) -> str:
    """Return where the file or folder of the repository stands among the pages of the site.

    >>> [site_path(path) for path in ("README.md", "docs/lora.md", "docs/objectives/README.md", "docs/results/few")]
    ['index.md', 'lora.md', 'objectives/index.md', 'results/few/index.md']
    >>> site_path("SECURITY.md"), site_path("examples/first_training.ipynb"), site_path("docs/few.png")
    ('SECURITY.md', 'examples/first_training.md', 'few.png')
    """
    inside = PurePosixPath(path.removeprefix("docs/"))
    if inside.name == "README.md":
        inside = inside.with_name("index.md")
    if inside.suffix == ".ipynb":
        inside = inside.with_suffix(".md")
    return str(inside if inside.suffix else inside / "index.md")


def relinked(text: str, source: str, root: Path) -> tuple[str, set[str]]:
    """Return the text of a page with the site's links, and the paths in the repository that it links to.

    source: path of the page in the repository

    Raises:
        DeadLink: a link leads to no file or folder of the repository.
    """
    linked: set[str] = set()

    def site_link(match: re.Match[str]) -> str:
        text, opening, target, anchor, closing = match.groups()
        if not target or ":" in target:
            return match[0]
        path = os.path.normpath(PurePosixPath(source).parent / target)
        if path.startswith("..") or not (root / path).exists():
            raise DeadLink(f"{source}: {target} is not in the repository; mend the link.")
        linked.add(path)
        if text and text[1:] in {path, target} and path.endswith(".md"):  # on GitHub the name of a file, here its title
            text = f"[{title_of(root / path)}"
        here = PurePosixPath(site_path(source)).parent
        return f"{text or ''}{opening}{os.path.relpath(site_path(path), here)}{anchor or ''}{closing}"

    parts = CODE.split(text)  # every second part is code
    parts[::2] = [LINK.sub(site_link, part) for part in parts[::2]]
    return "".join(parts), linked


def title_of(page: Path) -> str:
    """Return the text of the first heading of a page."""
    match = re.search(r"^# (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return match[1] if match else page.stem


def page_of(source: str, root: Path) -> str:
    """Return the Markdown of a page, with the links of the repository."""
    text = (root / source).read_text(encoding="utf-8")
    if source.endswith(".ipynb"):
        return notebook_page(text, source)
    return COMMENT.sub("", FRONT_MATTER.sub("", text))


def stage(root: Path, out: Path) -> None:
    """Write every page, and every image and folder that a page links to, below `out`.

    Raises:
        DeadLink: a link leads to no file or folder of the repository.
    """
    docs = root / "docs"
    sources = [*BESIDE_DOCS, *(str(path.relative_to(root)) for path in sorted(docs.rglob("*.md")))]
    linked: set[str] = set()
    for source in sources:
        text, more = relinked(page_of(source, root), source, root)
        linked |= more
        _write(out / site_path(source), text)
    for path in sorted(linked - set(sources)):
        if (root / path).is_dir():
            folder = out / site_path(path)
            _write(folder, folder_page(root / path, path))
            shutil.copytree(root / path, folder.parent, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
        else:
            (out / site_path(path)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / path, out / site_path(path))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")

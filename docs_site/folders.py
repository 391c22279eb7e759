"""A folder of the repository as a page: the list of its files, which stand beside the page."""

from pathlib import Path


def folder_page(folder: Path, name: str) -> str:
    """Return a page with the files of a folder and of the folders in it, with their sizes in bytes."""
    files = sorted(path.relative_to(folder) for path in folder.rglob("[!.]*") if path.is_file())
    rows = "\n".join(f"| [{path}]({path}) | {(folder / path).stat().st_size:,} |" for path in files)
    return f"""---
search:
  exclude: true
---

# {name}

The files of this folder of the repository, with their sizes in bytes.

| file | bytes |
|---|---|
{rows}
"""

"""A notebook as a page: its text, and its code as blocks."""

import json
from pathlib import PurePosixPath


def notebook_page(text: str, source: str) -> str:
    r"""Return the Markdown of a notebook; the outputs are left out. A line below the title names the file.

    >>> cells = [{"cell_type": "markdown", "source": ["# Title"]}, {"cell_type": "code", "source": ["print(1)"]}]
    >>> print(notebook_page(json.dumps({"cells": cells}), "examples/first.ipynb"))
    # Title
    <BLANKLINE>
    This is the notebook `examples/first.ipynb` of the repository, without its outputs.
    <BLANKLINE>
    ```python
    print(1)
    ```
    <BLANKLINE>
    """
    parts = []
    for cell in json.loads(text)["cells"]:
        content = "".join(cell["source"]).strip("\n")
        parts.append(content if cell["cell_type"] == "markdown" else f"```python\n{content}\n```")
    title, _, rest = parts[0].partition("\n")
    named = f"This is the notebook `{PurePosixPath(source)}` of the repository, without its outputs."
    return "\n\n".join([title, named, *([rest.strip()] if rest.strip() else []), *parts[1:]]) + "\n"

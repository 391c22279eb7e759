"""README.md of an export for the hub: what the rows are, how many, from how many people, and how to read them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from thumbtune.errors import plural
from thumbtune.feedback.exporters.rows import Row
from thumbtune.feedback.policies import combined_raters

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
COLUMNS = {
    "image": "the image that was rated",
    "prompt": "what the image was made from",
    "prompt_syntax": "plain: every letter of the prompt is text",
    "label": "true: liked, false: disliked",
    "rater": "who rated it",
    "weight, grade": "how much the label counts, and a grade in [0, 1] if there is one",
    "pair, seed, model": "of the image, where they are known",
    "created_at": "when it was rated",
    "image_id, vote_id": "SHA-256 of the image, and the id of the vote",
}


@dataclass(kw_only=True)
class Tally:
    """The numbers of the rows that were exported."""

    likes: int = 0
    dislikes: int = 0
    prompts: set[str] = field(default_factory=set)
    images: set[str] = field(default_factory=set)
    raters: Counter[str] = field(default_factory=Counter)

    def counted(self, row: Row) -> Row:
        """Count a row, and return it."""
        cells = row.cells
        self.likes += cells["label"] is True
        self.dislikes += cells["label"] is False
        self.prompts.add(str(cells["prompt"]))
        self.images.add(str(cells["image_id"]))
        if cells["rater"]:
            self.raters[str(cells["rater"])] += 1
        return row


def header_of(rows: int, license: str | None) -> Mapping[str, Any]:
    """Return the header of the card."""
    size = next((name for most, name in SIZES if rows < most), "n>1M")
    header = {"license": license} if license else {}
    tags = ["thumbtune", "preference", "likes", "kto", "unpaired-preference"]
    return header | {"task_categories": ["text-to-image"], "size_categories": [size], "tags": tags}


def text_of(repo: str, tally: Tally, license: str | None = None, is_bare: bool = True, names: bool = False) -> str:
    """Return the card of a data set.

    is_bare: whether free text, paths and metadata of images were left out
    names: whether raters have their names
    """
    rows = tally.likes + tally.dislikes
    header = yaml.safe_dump(dict(header_of(rows, license)), sort_keys=False)
    people = "their names" if names else "pseudonyms, which are hashes with a key that is not here"
    who_rated = f"Raters have {people}."
    if any(map(combined_raters, tally.raters)):
        who_rated = "A label joins the votes of the raters of an image, whom it counts and does not name."
    kept = "Reasons, sources, paths and the metadata inside images were left out."
    no_license = " No licence was given."
    who = "\n".join(f"| {name} | {count} |" for name, count in sorted(tally.raters.items())[:50])
    parts = [
        f"---\n{header}---",
        f"# {repo.rpartition('/')[2]}",
        f"{plural(tally.likes, 'like')} and {plural(tally.dislikes, 'dislike')} of "
        f"{plural(len(tally.images), 'image')} of {plural(len(tally.prompts), 'prompt')}, one row for each label. They "
        "are unpaired preferences, from which Diffusion-KTO learns.",
        f'```python\nfrom datasets import load_dataset\n\nrows = load_dataset({repo!r}, split="train")\n```',
        f"```sh\nthumbtune import hf://datasets/{repo} --likes likes\n```",
        "| column | is |\n|---|---|\n" + "\n".join(f"| {name} | {what} |" for name, what in COLUMNS.items()),
        f"{who_rated} {kept if is_bare else 'Free text and metadata are as they were.'}",
        f"Prompts are as people wrote them. The rights in the images were not checked.{'' if license else no_license}",
    ]
    if who:
        parts.insert(-2, f"| rater | labels |\n|---|---|\n{who}")
    return "\n\n".join(parts) + "\n"

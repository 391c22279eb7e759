"""Write the tables of the model card from the results of `base_model.measure`.

python -m base_model.measure > base_model/measured.json && python -m base_model.card
"""

import json
import re
from pathlib import Path
from typing import Any

MEASURED = Path("base_model/measured.json")
CARD = Path("src/thumbtune/bundled/tiny-emoji-64/README.md")
PLACE = re.compile(r"(?<=<!-- measured -->\n).*?(?=<!-- end -->)", re.DOTALL)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def tables(measured: dict[str, Any]) -> str:
    """Return the measured shares as one table, and the other numbers as a list."""
    lines = ["| images | n | top-1 | top-5 | style |", "|---|---|---|---|---|"]
    others = []
    for name, value in measured.items():
        if isinstance(value, dict) and "top1" in value:
            shares = " | ".join(_share(value.get(key)) for key in ("top1", "top5", "style"))
            lines.append(f"| {name} | {value['images']} | {shares} |")
            others += [f"- {name}: {key} {value[key]}" for key in ("black ink", "page") if key in value]
        elif isinstance(value, dict):
            others.append(f"- {name}: {', '.join(f'{key} {number}' for key, number in value.items())}")
        else:
            others.append(f"- {name}: {value}")
    return "\n".join([*lines, "", *others]) + "\n"


if __name__ == "__main__":
    text = CARD.read_text()
    CARD.write_text(PLACE.sub(lambda _: tables(json.loads(MEASURED.read_text())), text))

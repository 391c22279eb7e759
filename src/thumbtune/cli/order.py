"""The commands in the order of use, for --help and for shells that complete them."""

from typing import Any

from typer.core import TyperGroup

LABEL, TRAIN, JUDGE, USE, MORE = (
    "From images to likes",
    "Train",
    "Is the tuned model better?",
    "Use it elsewhere",
    "Try, check and reproduce",
)
PANELS = {
    LABEL: ("generate", "import", "studio", "likes"),
    TRAIN: ("train", "recipe", "round"),
    JUDGE: ("evaluate", "verdict", "report", "compare", "duel", "scorers", "human"),
    USE: ("merge", "push"),
    MORE: ("demo", "concepts", "doctor", "paper"),
}
PANEL_OF = {name: panel for panel, names in PANELS.items() for name in names}


class InOrderOfUse(TyperGroup):
    """A group of commands that lists them in the order of use."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands; one that has no place here comes last."""
        names, places = super().list_commands(ctx), list(PANEL_OF)
        return sorted(names, key=lambda name: places.index(name) if name in places else len(places))

"""Two people of opposite tastes who rate the same images, and the trainings that their labels give.

    majority     one LoRA; an image on which they differ has no label
    per-vote     one LoRA; each vote is a label
    own          a LoRA for each, of their own labels (label_policy rater:NAME)

Every image is scored by what either of them wants. `combined` makes rows of both: the mean over the two people, where
"one each" judges each person's LoRA by that person alone. The base model that is asked is asked by each for their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from thumbtune.errors import UsageError
from thumbtune.experiments import ground_labels
from thumbtune.experiments.ground_cells import ASKED, BASE, ground_cell, images_of, means_of, scores_of
from thumbtune.experiments.grounds import FLAT, GROUNDS, Ground
from thumbtune.experiments.methods import LEAD_SETTINGS
from thumbtune.experiments.person_sentences import person_of
from thumbtune.experiments.simulated_labels import Rating, import_labels
from thumbtune.experiments.training_grid import Grid, GridCell, pool_of, rating_in, trained_on
from thumbtune.files import write_text
from thumbtune.runs import build, run

EACH = 96  # labels of each person
SECOND_NOISE = 1_000_000  # added to the seed of the second person's noise: they err on other images than the first
ASKED_SECOND = "asked-second"
MAJORITY, PER_VOTE, ONE_EACH = "majority", "per-vote", "one each"
OWN = ("own-first", "own-second")
DONE = "complete.txt"  # beside a store that has the labels of both
OF_SECOND = ("judge", "rater")  # scores that depend on the person
BOTH: dict[str, tuple[str, str]] = {  # row of both -> the cell by which each person judges it
    BASE: (BASE, BASE),
    ASKED: (ASKED, ASKED_SECOND),
    MAJORITY: (MAJORITY, MAJORITY),
    PER_VOTE: (PER_VOTE, PER_VOTE),
    ONE_EACH: OWN,
}
SECONDS = {
    "soft-3d": replace(
        GROUNDS["soft-3d"],
        name="flat",
        title="flat, noisy",
        wants="it wants the style flat, by the log-odds of the small style network",
        wanted=lambda concept: FLAT,
        styles=(FLAT,),
    )
}


def people_of(ground: str) -> tuple[Ground, Ground]:
    """Return the person of a ground, and the one who wants the opposite style.

    Raises:
        UsageError: the ground has no opposite.
    """
    if ground not in SECONDS:
        raise UsageError(
            f"raters has no second person for the ground {ground}; give --ground {', '.join(SECONDS)}.",
            code="raters-no-second",
        )
    return GROUNDS[ground], SECONDS[ground]


def rater_cells(ground: str, seed: int) -> list[GridCell]:
    """Return the cells of a seed: three reference marks and four trainings."""
    names = [f"rater:simulated:{person.name}" for person in people_of(ground)]
    policies = {MAJORITY: "majority", PER_VOTE: "per-vote", OWN[0]: names[0], OWN[1]: names[1]}
    facts = {"each": EACH, "second_noise": SECOND_NOISE, "second": SECONDS[ground].facts()}
    trainings = [
        ground_cell(ground, name, seed, (*LEAD_SETTINGS, f"label_policy={policy}"), facts=facts)
        for name, policy in policies.items()
    ]
    return [*(ground_cell(ground, name, seed, facts=facts) for name in (BASE, ASKED, ASKED_SECOND)), *trainings]


def people_in(cell: GridCell) -> str:
    """Return a sentence on whose labels a cell trains on: one person's own, or those of both."""
    first, second = map(person_of, people_of(cell.ground))
    if cell.name in OWN:
        return (first, second)[OWN.index(cell.name)]
    return f"two people. The first: {first} The second: {second}"


def judged_by_both(lab: Grid, cell: GridCell) -> dict[str, Any]:
    """Return the row of a cell: counts of labels, and the scores of every image by both people."""
    people, row = people_of(cell.ground), {"status": "trained"}
    if cell.name in (BASE, ASKED, ASKED_SECOND):
        asked = {BASE: None, ASKED: people[0], ASKED_SECOND: people[1]}[cell.name]
        images, prompts = images_of(lab, cell, build.model_of(lab.recipe_of(cell), training=False), asked)
    else:
        recipe = lab.recipe_of(cell).model_copy(update={"likes": str(store_of_both(lab, cell))})
        labels = list(build.split_of(recipe).train["label"])
        row = trained_on(lab, cell, recipe, sum(labels), len(labels) - sum(labels), people_in(cell))
        if row["status"] != "trained":
            return row
        images, prompts = images_of(lab, cell, run.trained_model(recipe, lab.run_of(cell)))
    first, second = (scores_of(person, images, prompts) for person in people)
    return row | {"scores": first | {_of_second(name): second[name] for name in OF_SECOND}}


def store_of_both(lab: Grid, cell: GridCell) -> Path:
    """Return the store with the labels of both people on the same images; all trainings of a seed share it."""
    folder = lab.order.folder / "likes" / f"{cell.ground}-both-seed-{cell.seed}"
    if not (folder / DONE).exists():
        pool = pool_of(lab, cell)[:EACH]
        rating = rating_in(lab, Rating())
        for person, noise in zip(people_of(cell.ground), (0, SECOND_NOISE), strict=True):
            labels = ground_labels.rate_pool(pool, person, rating, cell.seed + noise)
            import_labels(folder / person.name, labels, person.name, store=folder / "store")
        write_text(folder / DONE, "both\n")  # a stop in between leaves the labels of one person
    return folder / "store"


def _of_second(name: str) -> str:
    return f"{name} of the second"


def seen_by(row: Mapping[str, Any], person: int) -> dict[str, list[float]]:
    """Return the scores of a row by the first (0) or the second person (1), named as on any ground."""
    scores = row["scores"]
    return {
        name: scores[_of_second(name) if person and name in OF_SECOND else name]
        for name in ("judge", "rater", "faithfulness")
    }


def combined(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row of both people for each setting and seed; images of the second person come after the first's."""
    cells = {(row["cell"], row["seed"]): row for row in rows}
    found = []
    for seed in dict.fromkeys(row["seed"] for row in rows):
        for name, of_person in BOTH.items():
            both = [cells[cell, seed] for cell in of_person]
            failed = next((row["status"] for row in both if "scores" not in row), None)
            trainings = both[:1] if of_person[0] == of_person[1] else both
            labels = {kind: sum(row.get(kind, 0) for row in trainings) for kind in ("likes", "dislikes")}
            row = {"cell": name, "method": name, "seed": seed, "status": failed or "trained"} | labels
            if failed is None:
                first, second = (seen_by(one, person) for person, one in enumerate(both))
                row |= means_of({key: first[key] + second[key] for key in first})
            found.append(row)
    return found


def of_each(rows: Sequence[Mapping[str, Any]], person: int) -> list[dict[str, Any]]:
    """Return the rows of a person, with the cells named as in `combined`."""
    cells = {(row["cell"], row["seed"]): row for row in rows}
    return [
        {"cell": name, "method": name, "seed": seed, "status": "trained"} | means_of(seen_by(one, person))
        for seed in dict.fromkeys(row["seed"] for row in rows)
        for name, of_person in BOTH.items()
        if "scores" in (one := cells[of_person[person], seed])
    ]

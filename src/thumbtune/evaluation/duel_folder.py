"""The folder of a duel, as it is read: its manifest, its list of images, its scores, its result and its verdict.

duel.json     what is compared: sides, prompts, seeds, sampler      environment.json   versions and hardware
images.csv    side, prompt, seed, file, hash and words of an image  scores.csv         scorer, side, prompt, seed, score
result.json   win-rates                                             verdict.json       the decision on a run, if asked
SHA256SUMS    the hashes of these files and of the images

Form 1, of earlier versions, calls the list of images pictures.csv and the name of a side `said`; it is read as well.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thumbtune import checksums
from thumbtune.documents import DocumentFault, brief
from thumbtune.errors import ThumbtuneError, UsageError, note
from thumbtune.evaluation.duel_records import Manifest, Result, Verdict, record, rows

FORM = 2
MANIFEST, IMAGES, SCORES, RESULT, VERDICT = "duel.json", "images.csv", "scores.csv", "result.json", "verdict.json"
IMAGES_OF_FORM_1 = "pictures.csv"
IMAGE_COLUMNS = ("side", "prompt", "seed", "file", "sha256", "words", "style")
SCORE_COLUMNS = ("scorer", "side", "prompt", "seed", "score")


@dataclass(frozen=True)
class DuelFolder:
    """What the folder of a finished duel holds.

    images: (side, prompt, seed) -> its row of images.csv
    scores: scorer -> side -> (prompt, seed) -> score
    """

    folder: Path
    manifest: Mapping[str, Any]
    environment: Mapping[str, Any]
    result: Mapping[str, Any]
    verdict: Mapping[str, Any] | None
    images: Mapping[tuple[str, int, int], Mapping[str, str]]
    scores: Mapping[str, Mapping[str, Mapping[tuple[int, int], float]]]


def is_duel(folder: Path) -> bool:
    """Return whether a folder is that of a finished duel."""
    return (folder / MANIFEST).is_file() and (folder / RESULT).is_file()


def is_of_earlier_evaluation(folder: Path) -> bool:
    """Return whether `evaluate` of an earlier version wrote this folder, in a form that is not read any more."""
    if (folder / "evaluation.json").is_file():
        return True
    try:
        return "form" not in record(folder / MANIFEST, dict[str, Any])
    except DocumentFault:
        return False


def is_of_now(folder: Path) -> bool:
    """Return whether the manifest of a duel has today's form; earlier forms have no hash."""
    try:
        return record(folder / MANIFEST, dict[str, Any]).get("form") == FORM
    except DocumentFault:
        return True  # damaged, as its hash will tell


def read_duel(folder: Path) -> DuelFolder:
    """Read the text files of a finished duel.

    Raises:
        UsageError: the folder holds no finished duel.
        ThumbtuneError: a file cannot be understood.
    """
    if is_of_earlier_evaluation(folder):
        raise UsageError(
            f"{folder} contains an evaluation of an earlier version; delete it, then evaluate its run again.",
            code="evaluation-of-earlier-version",
        )
    if not is_duel(folder):
        raise UsageError(
            f"{folder} contains no finished duel; run `thumbtune duel` with --out {folder}.", code="duel-missing"
        )
    try:
        manifest = read_manifest(folder)
        if missing := {"a", "b"} - manifest["sides"].keys():
            raise DocumentFault(f"{MANIFEST} has no side {min(missing)}", "shape")
        return DuelFolder(
            folder=folder,
            manifest=manifest,
            environment=_environment(folder / "environment.json"),
            result=_result(folder / RESULT),
            verdict=_verdict(folder / VERDICT),
            images={(row["side"], int(row["prompt"]), int(row["seed"])): row for row in read_images(folder)},
            scores=_scores(folder),
        )
    except DocumentFault as fault:
        raise ThumbtuneError(
            f"{folder} cannot be read as a duel ({fault}); run its command again.", code="duel-unreadable"
        ) from fault


def _environment(file: Path) -> dict[str, Any]:
    return record(file, dict[str, Any]) if file.is_file() else {}


def check_duel(folder: Path) -> None:
    """Compare the files of a duel with their hashes; name changed images in notes, since a duel is shown without them.

    A manifest of an earlier form has no hash.

    Raises:
        ThumbtuneError: a text file has changed.
    """
    of_now = is_of_now(folder)
    checksums.check(folder, lambda name: "/" not in name and (of_now or name != MANIFEST))
    checksums.note_missing(folder, lambda name: "/" in name)
    for image in checksums.changed(folder, lambda name: "/" in name):
        note(f"The image {image} has changed since it was scored; delete it and run the duel again.")


def rewriting(folder: Path, *names: str) -> AbstractContextManager[None]:
    """Return what notes the hashes of text files of a duel that are written inside the `with` block."""
    return checksums.rewriting(folder, names)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read duel.json in today's form.

    Raises:
        DocumentFault: it cannot be read, or is no manifest.
    """
    manifest = record(folder / MANIFEST, Manifest)
    return _upgraded(manifest) if manifest.get("form") == 1 else manifest


def _is_inside(path: str, parts: int) -> bool:
    """Return whether a path has this many parts and stays inside its folder, on every system."""
    names = path.split("/")
    return len(names) == parts and not any(name in {"", ".", ".."} or set(name) & set("\\:\0") for name in names)


def _upgraded(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return a manifest of form 1 in today's form."""
    sides = {}
    for name, side in manifest.get("sides", {}).items():
        kind = "images" if side.get("kind") == "pictures" else side.get("kind")
        sides[name] = {
            "name": side.get("said"),
            "kind": kind,
            "fingerprint": side.get("fingerprint"),
            "prompt_prefix": side.get("mark"),
        }
    changed = {**manifest, "form": FORM, "sides": sides}
    changed["batch"] = changed.pop("at_once", None)
    return changed


def _result(file: Path) -> dict[str, Any]:
    """Read a result, which earlier versions wrote with `asked` for `scorer_names`."""
    result = record(file, Result)
    if not {"asked", "scorer_names"} & result.keys():
        raise DocumentFault(f"{RESULT} has no scorer_names", "shape")
    return {"scorer_names" if name == "asked" else name: value for name, value in result.items()}


def _verdict(file: Path) -> dict[str, Any] | None:
    """Read a verdict, whose gates of form 1 say `passed` and `enough`; None where nobody asked for one."""
    if not file.is_file():
        return None
    verdict = record(file, Verdict)
    gates = [gate if "answer" in gate else {**gate, "answer": _answer(gate)} for gate in verdict["gates"]]
    return {**verdict, "gates": gates, "agreement": _agreement(verdict.get("agreement"))}


def _agreement(agreement: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the agreement with held-out feedback, which earlier versions wrote with `thumbs` for `labels`."""
    if agreement is None:
        return None
    renamed = {"labels" if name == "thumbs" else name: value for name, value in agreement.items()}
    return {**renamed, "raters": [_agreement(rater) for rater in renamed["raters"]]} if "raters" in renamed else renamed


def _answer(gate: Mapping[str, Any]) -> str:
    if "passed" not in gate:
        raise DocumentFault(f"{VERDICT}: the gate {brief(gate['name'])} has no answer", "shape")
    return "passed" if gate["passed"] else "failed" if gate.get("enough", True) else "open"


def read_images(folder: Path) -> list[dict[str, str]]:
    """Read the list of images, of form 2 or 1; [] where there is none yet.

    Raises:
        DocumentFault: it cannot be read, or names a file outside of its sides.
    """
    files = [folder / name for name in (IMAGES, IMAGES_OF_FORM_1) if (folder / name).is_file()]
    images = list(rows(files[0], IMAGE_COLUMNS[:-1])) if files else []
    for row in images:
        if not _is_inside(row["file"], 2):
            raise DocumentFault(f"{brief(row['file'], 300)} lies outside the folder of its side", "shape")
    return images


def _scores(folder: Path) -> dict[str, dict[str, dict[tuple[int, int], float]]]:
    scores: dict[str, dict[str, dict[tuple[int, int], float]]] = {}
    for row in rows(folder / SCORES, SCORE_COLUMNS):
        if row["score"]:
            place = (int(row["prompt"]), int(row["seed"]))
            scores.setdefault(row["scorer"], {}).setdefault(row["side"], {})[place] = _score(row)
    return scores


def _score(row: Mapping[str, str]) -> float:
    try:
        return float(row["score"])
    except ValueError as error:
        raise DocumentFault(f"{SCORES}: {row['score'][:40]!r} is not a score", "shape") from error

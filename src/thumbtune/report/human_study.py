"""A human test from a duel's folder to a page and a key, and from the key and raters' answers to sentences."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from thumbtune.errors import ThumbtuneError, UsageError, plural
from thumbtune.evaluation.human.analysis import MIN_PROMPTS_OF_ADVICE, TRUSTED, Outcome, Rater, Standing, analyse
from thumbtune.evaluation.human.answers import read_ballots
from thumbtune.evaluation.human.duels import names_of, pairs_of
from thumbtune.evaluation.human.key import key_text, read_key
from thumbtune.evaluation.human.plan import Design, Study, plan
from thumbtune.feedback.stats import fleiss_kappa
from thumbtune.files import write_text
from thumbtune.report.human_page import encode_pair, human_page

Progress = Callable[[Iterable[Any], str], Iterable[Any]]

PAGE_MARK = b"Thumbtune human test"  # a page of ours may be written again, whatever else may not
MARK_WITHIN = 1000


@dataclass(frozen=True)
class Exported:
    """What was written. available: pairs that the duel has."""

    study: Study
    page: Path
    key: Path
    available: int


def export(duel: Path, page: Path, key: Path, design: Design, progress: Progress) -> Exported:
    """Write the page that raters get and the key that they must not see.

    Args:
        design: its names of the sides are replaced by the duel's.

    Raises:
        UsageError: the folder is no finished duel, the design cannot be followed, or there is a key already.
        ThumbtuneError: an image cannot be read, or a file not be written.
    """
    if key.exists():
        raise UsageError(f"{key} is there already, and answers given to its page need it; name another with --key.")
    if key.resolve() == page.resolve():
        raise UsageError(f"{page} cannot be both the page and the key; name another with --key.")
    if page.exists() and not (page.is_file() and PAGE_MARK in page.read_bytes()[:MARK_WITHIN]):
        raise UsageError(f"{page} is there already, and is no page of a human test; name another with --out.")
    pairs = pairs_of(duel)
    a, b = names_of(duel)
    study = plan(pairs, replace(design, a=a, b=b))
    shown = {}
    for trial in progress(study.trials, "Packing images"):
        left, right = trial.files
        shown[trial.id] = encode_pair(duel / left, duel / right)
    text = human_page(study.questionnaire, shown)
    write_text(key, key_text(study))
    try:
        write_text(page, text)
    except (ThumbtuneError, OSError):
        key.unlink()  # no rater has seen a page of it
        raise
    return Exported(study, page, key, len(pairs))


def read(key: Path, answers: Sequence[Path], keep_careless: bool = False) -> dict[str, Any]:
    """What raters' files come to, as plain JSON: numbers, agreement between raters, and sentences.

    Args:
        answers: files, or folders of `.json` files.

    Raises:
        UsageError: the key or a file cannot be used, or nothing is left to count.
    """
    study = read_key(key)
    ballots, notes = read_ballots(_files(answers), study.questionnaire)
    outcome = analyse(study, ballots, keep_careless)
    shared = [(b, a) for b, _, a in outcome.each.values() if b + a > 1]
    kappa = fleiss_kappa(shared)
    return {
        "study": study.id,
        "question": study.question,
        "a": study.a,
        "b": study.b,
        **asdict(outcome),
        "agreement": {"pairs": len(shared), "fleiss_kappa": kappa},
        "notes": notes,
        "sentences": list(sentences(outcome, study, len(shared), kappa)),
    }


def write_result(out: Path, result: dict[str, Any], sources: Sequence[Path]) -> Path:
    """Write the result as JSON, and over none of the files that it was made of.

    Raises:
        UsageError: `out` is one of them.
        ThumbtuneError: it cannot be written.
    """
    if out.resolve() in {source.resolve() for source in _files(sources)}:
        raise UsageError(f"{out} is what the result is made of; name another file with --out.")
    return write_text(out, json.dumps(result, indent=1))


def _files(answers: Sequence[Path]) -> list[Path]:
    found = [sorted(path.glob("*.json")) if path.is_dir() else [path] for path in answers]
    for path, files in zip(answers, found, strict=True):
        if not files:
            raise UsageError(f"{path} holds no .json files; give the files that raters sent back.")
    return [file for files in found for file in files]


def sentences(outcome: Outcome, study: Study, shared: int, kappa: float | None) -> Iterator[str]:
    """What the answers come to, for people; the first says who is preferred.

    Args:
        shared: pairs for which two raters or more chose an image.
        kappa: Fleiss's, over these.
    """
    counted = [rater for rater in outcome.raters if rater.counted]
    yield verdict(outcome.overall, study, len(counted))
    yield (
        "The interval is about other prompts, and says nothing of other raters."
        if len(counted) > 1
        else "This is the taste of one rater, and others may differ."
    )
    left_out = [rater for rater in outcome.raters if not rater.counted]
    if left_out:
        yield (
            f"Left out, for choosing otherwise in more than half of the repeated pairs: {_named(left_out)}; "
            "--keep-careless counts them."
        )
    kept = [rater for rater in counted if rater.careless]
    if kept:
        yield f"Counted, though they chose otherwise in more than half of the repeated pairs: {_named(kept)}."
    bias = outcome.bias
    if bias is not None and not bias.interval.low <= 0.5 <= bias.interval.high:  # noqa: PLR2004 - neither side
        yield (
            f"The left image is chosen in {bias.share:.1%} (95% interval {bias.interval.low:.1%} to "
            f"{bias.interval.high:.1%}): a habit that favours neither A nor B, since each lies left equally often."
        )
    if kappa is not None:
        yield f"Raters agree beyond chance by {kappa:.2f} (Fleiss' kappa, over {shared} pairs that several decided)."


def verdict(standing: Standing, study: Study, raters: int) -> str:
    """Who is preferred, or that it is too little to tell, with the numbers that say so."""
    a, b = f"A ({study.a})", f"B ({study.b})"
    low, high = standing.interval.low, standing.interval.high
    votes, prompts = sum(standing.votes), standing.rate.prompts
    share = (
        f"{b} is preferred in {standing.rate.rate:.1%} (95% interval {low:.1%} to {high:.1%}, ties count half; "
        f"{plural(votes, 'vote')} of {plural(raters, 'rater')} on {plural(prompts, 'prompt')})"
    )
    said = {
        "b": f"People prefer {b} to {a}",
        "a": f"People prefer {a} to {b}",
        "equal": f"People like {a} and {b} about equally",
        "open": f"Too little to tell whether people prefer {a} or {b}",
    }[standing.finding]
    return f"{said}: {share}{_advice(standing) if standing.finding == 'open' else ''}."


def _advice(standing: Standing) -> str:
    if standing.rate.distinct < MIN_PROMPTS_OF_ADVICE:
        return f"; ask about {TRUSTED} prompts at least"
    if standing.more_votes is None:
        return "; the sides are close"
    if not standing.more_votes:
        return ""
    return f"; about {standing.more_votes:,} more votes, on {standing.more_prompts:,} new prompts, would"


def _named(raters: Iterable[Rater]) -> str:
    return ", ".join(f'"{one.name}" ({one.repeats - one.agreed:g} of {one.repeats})' for one in raters)

"""Export a duel as a human test (a page and a key), and read raters' answers into numbers and sentences."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from thumbtune.errors import ThumbtuneError, UsageError, plural
from thumbtune.evaluation.human.analysis import (
    MIN_BOOTSTRAP_PROMPTS,
    MIN_PROMPTS_OF_ADVICE,
    Preference,
    Rater,
    StudyResult,
    analyse,
)
from thumbtune.evaluation.human.answers import read_answer_files
from thumbtune.evaluation.human.duel_pairs import read_pairs, read_side_names
from thumbtune.evaluation.human.key import format_key, read_key
from thumbtune.evaluation.human.plan import Study, StudyDesign, plan_study
from thumbtune.evaluation.human.sequential import Sequential, decide_study
from thumbtune.feedback.stats import fleiss_kappa
from thumbtune.files import write_text
from thumbtune.report.human_page import encode_pair, human_page

Progress = Callable[[Iterable[Any], str], Iterable[Any]]

PAGE_SIGNATURE = b"Thumbtune human test"  # only our own page may be overwritten
SIGNATURE_WITHIN = 1000  # bytes from its beginning


@dataclass(frozen=True)
class ExportedStudy:
    """The written files of a study. available: number of pairs in the duel."""

    study: Study
    page: Path
    key: Path
    available: int


def export_study(duel: Path, page: Path, key: Path, design: StudyDesign, progress: Progress) -> ExportedStudy:
    """Write the page for raters and the key, which raters must not see.

    Args:
        design: the duel's names of the sides replace its own.

    Raises:
        UsageError: the folder contains no finished duel, the design is invalid, or the key exists.
        ThumbtuneError: an image cannot be read, or a file cannot be written.
    """
    if key.exists():
        raise UsageError(
            f"{key} exists, and the answers to its page need it; name another file with --key.", code="human-key-exists"
        )
    if key.resolve() == page.resolve():
        raise UsageError(
            f"{page} cannot be both the page and the key; name another file with --key.", code="human-key-is-page"
        )
    if page.exists() and not (page.is_file() and PAGE_SIGNATURE in page.read_bytes()[:SIGNATURE_WITHIN]):
        raise UsageError(
            f"{page} exists and is not the page of a human test; name another file with --out.",
            code="human-page-exists",
        )
    pairs = read_pairs(duel)
    a, b = read_side_names(duel)
    study = plan_study(pairs, replace(design, a=a, b=b))
    images = {}
    for trial in progress(study.trials, "Packing images"):
        left, right = trial.files
        images[trial.id] = encode_pair(duel / left, duel / right)
    text = human_page(study.questionnaire, images)
    write_text(key, format_key(study))
    try:
        write_text(page, text)
    except (ThumbtuneError, OSError):
        key.unlink()  # no page for raters was written
        raise
    return ExportedStudy(study, page, key, len(pairs))


def read_study(key: Path, answers: Sequence[Path], keep_careless: bool = False) -> dict[str, Any]:
    """Return the result of raters' files as plain JSON: numbers, agreement between raters, and sentences.

    Args:
        answers: files, or folders of `.json` files.

    Raises:
        UsageError: the key or a file cannot be used, or there is nothing to count.
    """
    study = read_key(key)
    files, notes = read_answer_files(_files(answers), study.questionnaire)
    answered = [file for file in files if file.answers]  # others took all back, and count for the rule alone
    if not answered:
        raise UsageError("All answers were taken back; there is nothing to count.", code="human-answers-empty")
    result = analyse(study, answered, keep_careless)
    shared = [(b, a) for b, _, a in result.each.values() if b + a > 1]
    kappa = fleiss_kappa(shared)
    rule = decide_study(study, files) if study.stop == "sequential" else None
    return {
        "study": study.id,
        "question": study.question,
        "a": study.a,
        "b": study.b,
        **asdict(result),
        "agreement": {"pairs": len(shared), "fleiss_kappa": kappa},
        "prompts": prompt_votes(study, result),
        "notes": notes,
        "sequential": None if rule is None else asdict(rule),
        "sentences": list(summary_sentences(result, study, len(shared), kappa, rule)),
    }


def prompt_votes(study: Study, result: StudyResult) -> list[dict[str, Any]]:
    """Return the votes on each answered prompt, over its seeds, in the order of the duel: plain JSON."""
    rows: dict[int, dict[str, Any]] = {}
    for trial in study.first_showings:
        if trial.id not in result.each:
            continue
        pair = trial.pair
        start = {"prompt": pair.prompt, "words": pair.words, "style": pair.style, "b": 0, "tie": 0, "a": 0}
        row = rows.setdefault(pair.prompt, start)
        for side, votes in zip(("b", "tie", "a"), result.each[trial.id], strict=True):
            row[side] += votes
    return [rows[prompt] for prompt in sorted(rows)]


def write_result(out: Path, result: dict[str, Any], sources: Sequence[Path]) -> Path:
    """Write the result as JSON, and return its path.

    Raises:
        UsageError: `out` is one of the source files.
        ThumbtuneError: it cannot be written.
    """
    if out.resolve() in {source.resolve() for source in _files(sources)}:
        raise UsageError(
            f"{out} is one of the files that the result is made from; name another file with --out.",
            code="human-result-is-source",
        )
    return write_text(out, json.dumps(result, indent=1))


def _files(answers: Sequence[Path]) -> list[Path]:
    per_path = [sorted(path.glob("*.json")) if path.is_dir() else [path] for path in answers]
    for path, files in zip(answers, per_path, strict=True):
        if not files:
            raise UsageError(
                f"{path} contains no .json files; give the files that raters sent back.", code="human-no-files"
            )
    return [file for files in per_path for file in files]


def summary_sentences(
    result: StudyResult, study: Study, shared: int, kappa: float | None, rule: Sequential | None = None
) -> Iterator[str]:
    """Yield the result in sentences; the first names the preferred side.

    Args:
        shared: number of pairs for which at least two raters chose an image.
        kappa: Fleiss' kappa over these pairs.
        rule: what the stopping rule says, if the study has one; it decides then, and not the interval of all answers.
    """
    counted = [rater for rater in result.raters if rater.counted]
    yield preference_sentence(result.overall, study, len(counted)) if rule is None else rule_sentence(rule, study)
    yield (
        "The interval covers other prompts, but not other raters."
        if len(counted) > 1
        else "This is the preference of one rater; others may differ."
    )
    left_out = [rater for rater in result.raters if not rater.counted]
    if left_out:
        yield (
            f"Left out for a different choice in more than half of the repeated pairs: {_list_raters(left_out)}; "
            "--keep-careless counts them."
        )
    kept = [rater for rater in counted if rater.careless]
    if kept:
        yield f"Counted despite a different choice in more than half of the repeated pairs: {_list_raters(kept)}."
    bias = result.bias
    if bias is not None and not bias.interval.low <= 0.5 <= bias.interval.high:  # noqa: PLR2004 - neither side
        yield (
            f"The left image is chosen in {bias.share:.1%} of choices (95% interval {bias.interval.low:.1%} to "
            f"{bias.interval.high:.1%}); this favours neither A nor B, because each is on the left equally often."
        )
    if kappa is not None:
        yield f"Raters agree with a Fleiss' kappa of {kappa:.2f} over {shared} pairs with several choices; 0 is chance."


def preference_sentence(preference: Preference, study: Study, raters: int) -> str:
    """Return the preferred side, or that the evidence is not enough, with the numbers."""
    a, b = f"A ({study.a})", f"B ({study.b})"
    low, high = preference.interval.low, preference.interval.high
    votes, prompts = sum(preference.votes), preference.rate.prompts
    share = (
        f"{b} is preferred in {preference.rate.rate:.1%} (95% interval {low:.1%} to {high:.1%}, ties count half; "
        f"{plural(votes, 'vote')} of {plural(raters, 'rater')} on {plural(prompts, 'prompt')})"
    )
    finding = {
        "b": f"People prefer {b} to {a}",
        "a": f"People prefer {a} to {b}",
        "equal": f"People like {a} and {b} about equally",
        "open": f"Not enough evidence whether people prefer {a} or {b}",
    }[preference.finding]
    return f"{finding}: {share}{_advice(preference) if preference.finding == 'open' else ''}."


def rule_sentence(rule: Sequential, study: Study) -> str:
    """Return what the stopping rule decided, with the prompts that it counts and its interval."""
    names = {"a": f"A ({study.a})", "b": f"B ({study.b})"}
    decisive = rule.a + rule.b
    counts = (
        f"{names['b']} is preferred on {rule.b} of {plural(decisive, 'prompt')} with a preference (95% interval "
        f"{rule.interval.low:.1%} to {rule.interval.high:.1%}, which holds whenever the test ends)"
    )
    if rule.decided is None:
        return (
            f"The rule that was set before has not decided whether people prefer {names['a']} or {names['b']}: "
            f"{counts}; more prompts may."
        )
    other = names["a" if rule.decided == "b" else "b"]
    return (
        f"People prefer {names[rule.decided]} to {other}, as the rule that was set before decided at prompt "
        f"{rule.decided_at}: {counts}."
    )


def _advice(preference: Preference) -> str:
    if preference.rate.distinct < MIN_PROMPTS_OF_ADVICE:
        return f"; use at least {MIN_BOOTSTRAP_PROMPTS} prompts"
    if preference.more_votes is None:
        return "; the models are close"
    if not preference.more_votes:
        return ""
    return f"; about {preference.more_votes:,} more votes on {preference.more_prompts:,} new prompts would decide"


def _list_raters(raters: Iterable[Rater]) -> str:
    return ", ".join(f'"{rater.name}" ({rater.repeats - rater.agreed:g} of {rater.repeats})' for rater in raters)

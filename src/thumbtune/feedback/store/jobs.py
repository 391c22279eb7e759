"""The jobs of the studio, as rows: what waits, what runs on which machine, and how each one ended.

    waiting -> running -> done | failed | stopped        a stopped or failed job that is resumed waits again

Every change names the states that it begins from, so that of two studios only one makes it. An index of the database
lets a machine have one job at work.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import CursorResult, exists, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from thumbtune.errors import ThumbtuneError
from thumbtune.feedback.store.store import Store
from thumbtune.feedback.store.tables import Job, StoredImage, now

JobKind = Literal["generate", "train", "evaluate", "round", "merge", "export", "compare", "duel"]
JobState = Literal["waiting", "running", "done", "failed", "stopped"]
ENDED: tuple[JobState, ...] = ("done", "failed", "stopped")
MAX_LISTED = 200
OF_RATER = "rater:"  # a label policy, with a name (policies.py)
NOBODY = "(erased)"  # no rater has it, so that a job that waits fails and trains on nobody else's votes


def add_job(
    store: Store,
    kind: JobKind,
    folder: str,
    arguments: Mapping[str, Any],
    prepare: Callable[[int], None] = lambda number: None,
) -> Job:
    """Store a job that waits, and return it.

    Args:
        folder: what it writes, relative to the studio's root.
        arguments: as JSON; `studio.jobs.commands` makes the command of them.
        prepare: gets the number of the job before anybody sees it.

    Raises:
        ThumbtuneError: a job that has not ended writes the same folder.
    """
    with store.transaction(), store.reading() as session:
        _refuse_shared(session, folder)
        job = Job(kind=kind, folder=folder, arguments=json.dumps(arguments))
        session.add(job)
        session.flush()
        prepare(job.id)
        return job


def _refuse_shared(session: Session, folder: str) -> None:
    """Refuse a folder that a job writes which has not ended."""
    other = session.scalar(select(Job.id).where(Job.folder == folder, Job.state.not_in(ENDED)))
    if other is not None:
        raise ThumbtuneError(
            f"Job {other} writes {folder} already; wait until it ends, or choose another name.", code="job-busy"
        )


def get_job(store: Store, number: int) -> Job:
    """Return the job with this number.

    Raises:
        ThumbtuneError: there is none.
    """
    with store.reading() as session:
        job = session.get(Job, number)
    if job is None:
        raise ThumbtuneError(
            f"{store.name} contains no job {number}; open the list of jobs and choose one.", code="job-missing"
        )
    return job


def list_jobs(store: Store, states: Collection[JobState] = (), kind: JobKind | None = None) -> list[Job]:
    """Return the newest jobs, at most MAX_LISTED, newest first; only those in these states and of this kind, if any."""
    wanted = select(Job).order_by(Job.id.desc()).limit(MAX_LISTED)
    wanted = wanted.where(Job.state.in_(states)) if states else wanted
    wanted = wanted.where(Job.kind == kind) if kind else wanted
    with store.reading() as session:
        return list(session.scalars(wanted))


def images_from(store: Store, source: str, most: int) -> list[StoredImage]:
    """Return the newest images of a source, at most `most`, newest first."""
    wanted = select(StoredImage).where(StoredImage.source == source).order_by(StoredImage.id.desc()).limit(most)
    with store.reading() as session:
        return list(session.scalars(wanted))


def has_prompts(store: Store) -> bool:
    """Return whether an image of the store has a prompt, which a round can generate again."""
    with store.reading() as session:
        return bool(session.scalar(select(exists().where(StoredImage.prompt != ""))))


def count_active(store: Store) -> int:
    """Return how many jobs wait or run, on any machine."""
    with store.reading() as session:
        return session.scalar(select(func.count(Job.id)).where(Job.state.not_in(ENDED))) or 0


def waiting_jobs(store: Store, host: str) -> list[Job]:
    """Return the jobs that wait, the longest first; none if one runs on this machine."""
    runs_here = exists().where(Job.state == "running", Job.host == host)
    with store.reading() as session:
        return list(session.scalars(select(Job).where(Job.state == "waiting", ~runs_here).order_by(Job.id)))


def claim(store: Store, number: int, host: str) -> bool:
    """Make a waiting job one that runs here; return False if another studio did, or another job runs here."""
    try:
        return change(store, number, ("waiting",), state="running", host=host, pid=None, started_at=now())
    except IntegrityError:  # the index: a job runs on this machine
        return False


def change(store: Store, number: int, states: Collection[JobState], **values: Any) -> bool:
    """Set columns of a job if it is in one of these states; return whether it was."""
    with store.transaction(), store.reading() as session:
        changed = session.execute(update(Job).where(Job.id == number, Job.state.in_(states)).values(**values))
        assert isinstance(changed, CursorResult)
        return changed.rowcount == 1


def end(
    store: Store, number: int, state: JobState, exit_code: int | None, sentence: str | None, at: datetime | None = None
) -> bool:
    """Record how a running job ended, and when if not now; return False if another studio did."""
    ended = {"state": state, "exit_code": exit_code, "sentence": sentence, "ended_at": at or now()}
    return change(store, number, ("running",), **ended)


def ask_to_stop(store: Store, number: int) -> Job:
    """Stop a job that waits, or note that a running one is to stop; return the job. An ended one stays as it is."""
    get_job(store, number)
    if not change(store, number, ("waiting",), state="stopped", ended_at=now(), sentence="Stopped before it began."):
        with store.transaction(), store.reading() as session:
            asked = update(Job).where(Job.id == number, Job.state == "running", Job.stop_asked_at.is_(None))
            session.execute(asked.values(stop_asked_at=now()))
    return get_job(store, number)


def resume(store: Store, number: int) -> Job:
    """Let a stopped or failed job wait again, and return it.

    Raises:
        ThumbtuneError: the job is at work or done, or another one that has not ended writes its folder.
    """
    cleared = dict.fromkeys(("pid", "exit_code", "sentence", "started_at", "ended_at", "stop_asked_at"))
    job = get_job(store, number)
    with store.transaction(), store.reading() as session:
        if job.state in ("stopped", "failed"):
            _refuse_shared(session, job.folder)
        is_changed = change(store, number, ("stopped", "failed"), state="waiting", **cleared)
    if not is_changed:
        job = get_job(store, number)
        raise ThumbtuneError(
            f"Job {number} is {job.state}, so there is nothing to resume; only a stopped or failed job goes on.",
            code="job-not-stopped",
        )
    return get_job(store, number)


def forget_rater(store: Store, rater: str) -> int:
    """Take a rater's name out of label policies in the arguments and sentences of jobs; return how many jobs had it."""
    named, nobody = f"{OF_RATER}{rater}", f"{OF_RATER}{NOBODY}"
    in_sentence = re.compile(rf"{re.escape(named)}(?![\w-]|[.@'+]\w)")  # a whole name

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without(each) for key, each in value.items()}
        return nobody if isinstance(value, str) and value.strip() == named else value

    changed = 0
    with store.transaction(), store.reading() as session:
        rows = select(Job).where(Job.arguments.contains(OF_RATER) | Job.sentence.contains(OF_RATER))
        for job in session.scalars(rows).all():
            arguments = json.loads(job.arguments)
            new = {"arguments": job.arguments, "sentence": job.sentence and in_sentence.sub(nobody, job.sentence)}
            if without(arguments) != arguments:
                new["arguments"] = json.dumps(without(arguments))
            if new != {"arguments": job.arguments, "sentence": job.sentence}:
                session.execute(update(Job).where(Job.id == job.id).values(**new))
                changed += 1
    return changed

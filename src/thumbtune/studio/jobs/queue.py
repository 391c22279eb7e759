"""The queue of a machine: jobs that ended get their state, requests to stop are sent, and the next one starts.

`Queue.step` does all of this once. It needs no memory of its own: what it knows stands in the store and in the files of
jobs, so that a studio that starts goes on where another ended, and two studios on one store do not disturb each other.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from platform import node

from thumbtune import locks
from thumbtune.errors import ThumbtuneError, note, reason
from thumbtune.feedback.store import jobs as rows
from thumbtune.feedback.store.jobs import JobState
from thumbtune.feedback.store.store import Store
from thumbtune.feedback.store.tables import Job
from thumbtune.signals import SAMPLE, SAVE
from thumbtune.studio.jobs.commands import Place, words_of
from thumbtune.studio.jobs.files import JobFiles, last_sentence

PYTHON = (sys.executable, "-P", "-m")  # -P: a folder of the user called torch is not to be imported
COMMAND = (*PYTHON, "thumbtune.cli.app")
SUPERVISOR = (*PYTHON, "thumbtune.studio.jobs.supervisor")
EVERY_SECONDS = 0.5
RETRY_SECONDS = 5.0
WITH_COMMAND = 2  # processes: the supervisor and the command
NEXT = " Next: "  # a command; the page has a button
INTERRUPTED = (130, 143, -signal.SIGINT, -signal.SIGTERM)
KILLED = "The process was killed{by}; memory may have run out: look at the log and at the machine's memory."
COPIED = "This store is a copy that was made while the job ran, or the job's files are gone; Resume goes on from here."
NO_LOCKS = "{folder} lies where files cannot be locked; keep the store on a disk of this machine."


@dataclass(eq=False)
class Queue:
    """The jobs of a store, as far as they run on this machine.

    folder:  for the files of jobs
    place:   where commands run, and what they name
    command: how a command of Thumbtune begins; tests give another one
    """

    store: Store
    folder: Path
    place: Place
    command: Sequence[str] = COMMAND
    host: str = field(default_factory=node)

    def files(self, number: int) -> JobFiles:
        """Return the files of a job."""
        return JobFiles(self.folder, number)

    def prepare(self, number: int) -> None:
        """Note that a new job is asked here, and is to run here."""
        self.files(number).create(self.place.root)

    def refuse_elsewhere(self, number: int) -> None:
        """Refuse a job that was asked in another folder: here it would begin anew.

        Raises:
            ThumbtuneError: so it is; the sentence names the folder.
        """
        folder = self.files(number).elsewhere(self.place.root)
        if folder is not None:
            raise ThumbtuneError(
                f"Job {number} was asked in {folder} and goes on there only; start the studio with --root {folder}.",
                code="job-elsewhere",
            )

    def words(self, job: Job) -> list[str]:
        """Return the words of a job's command, as it would start now."""
        return words_of(job, self.place)

    def step(self) -> bool:
        """Do what is due; return whether a job runs here now."""
        busy = False
        for job in rows.list_jobs(self.store, ("running",)):
            if job.host == self.host:
                busy |= self._keep(job)
            elif self._is_left_over(job):
                self._keep(job)
        return busy or self._start_next()

    def save(self, number: int) -> None:
        """Ask the training of a job for a checkpoint now; it goes on.

        Raises:
            ThumbtuneError: it does not run here.
        """
        self._send(number, SAVE)

    def sample(self, number: int) -> None:
        """Ask the training of a job for samples after its next step; it goes on.

        Raises:
            ThumbtuneError: it does not run here.
        """
        self._send(number, SAMPLE)

    def _send(self, number: int, asked: int | None) -> None:
        """Send a signal to the training of a job that runs here."""
        job, processes = rows.get_job(self.store, number), self.files(number).processes()
        is_here = job.host == self.host and job.state == "running" and self.files(number).is_alive()
        if not is_here or job.kind != "train" or asked is None or len(processes) < WITH_COMMAND:
            raise ThumbtuneError(
                f"Job {number} is no training that runs here, so nothing can be asked of it; look at its state.",
                code="job-not-running",
            )
        if not is_caught(processes[-1], asked):
            raise ThumbtuneError(f"Job {number} is starting; ask again in a moment.", code="job-starting")
        with suppress(ProcessLookupError):
            os.kill(processes[-1], asked)

    def _is_left_over(self, job: Job) -> bool:
        """Return whether a job of another machine has ended: its lock lies here, as in a container's next start."""
        files = self.files(job.id)
        return files.lock.exists() and locks.is_held(files.lock) is False

    def _keep(self, job: Job) -> bool:
        """Send a request to stop, or record the end of a job; return whether it runs."""
        files = self.files(job.id)
        if files.is_alive():
            if job.stop_asked_at is not None:
                _ask_to_end(files)
            _note_process(self.store, job, files)
            return True
        code = files.exit_code()  # written before the lock ended
        if code is None and files.is_unstarted():  # the studio ended between the claim and the start
            rows.change(self.store, job.id, ("running",), state="waiting", host=None, started_at=None)
            return False
        if code is None and not files.lock.exists():  # the files of a job are no part of a backup
            rows.end(self.store, job.id, "stopped", None, COPIED)
            return False
        rows.end(self.store, job.id, _state_of(code, job), code, _sentence_of(code, files), files.ended_at())
        return False

    def _start_next(self) -> bool:
        waiting = rows.waiting_jobs(self.store, self.host)
        job = next((one for one in waiting if self.files(one.id).elsewhere(self.place.root) is None), None)
        if job is None:
            return False
        files = self.files(job.id)
        files.lock.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(files.lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:  # the lock comes before the row: a running job without a lock counts as ended
            taken = locks.take(lock)
            if taken is False:
                return False
            files.begin()  # before the row: what an earlier start left must not count as the end of this one
            if not rows.claim(self.store, job.id, self.host):
                return False
            if taken is None:
                rows.end(self.store, job.id, "failed", None, NO_LOCKS.format(folder=files.lock.parent))
                return False
            files.mark_start()
            self._start(job, files, lock)
        finally:
            os.close(lock)  # the processes of the job hold it from here on
        return True

    def _start(self, job: Job, files: JobFiles, lock: int) -> None:
        try:
            command = [*self.command, *self.words(job)]
            words = [*SUPERVISOR, str(self.folder.absolute()), str(job.id), str(lock), *command]
            with files.log.open("ab") as log:
                process = subprocess.Popen(
                    words,
                    cwd=self.place.root,
                    env=environment_of(self.place),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(lock,),
                    start_new_session=True,  # Ctrl-C ends the studio, not the job
                )
            threading.Thread(target=process.wait, daemon=True).start()  # or it would stay as a zombie
        except (OSError, ValueError, ThumbtuneError) as error:  # ValueError: a word that no command line holds
            rows.end(self.store, job.id, "failed", None, f"The command could not be started ({error}).")


def is_caught(process: int, asked: int) -> bool:
    """Return whether a process handles a signal, which would end one that has just started; True where nobody tells."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:  # it has ended, or the system has no such file
        return True
    masks = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
    return not masks or bool(int(masks[0], 16) >> (asked - 1) & 1)


def environment_of(place: Place) -> dict[str, str]:
    """Return the variables of a job: each line is in the log at once, and modules are found from another folder too."""
    parts = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    modules = {"PYTHONPATH": os.pathsep.join(str(Path(part).absolute()) for part in parts)} if parts else {}
    return {**os.environ, "PYTHONUNBUFFERED": "1", **modules, **place.environment()}


def _ask_to_end(files: JobFiles) -> None:
    """Send what Ctrl-C sends, once: to the supervisor, which hands it on; if that was killed, to the command."""
    processes = files.processes()
    if not processes or not files.mark_stop():
        return
    for process in processes:
        try:
            os.kill(process, signal.SIGINT)
            return
        except ProcessLookupError:
            continue
    files.stop.unlink(missing_ok=True)  # nobody got it


def _note_process(store: Store, job: Job, files: JobFiles) -> None:
    process = next(iter(files.processes()), None)
    if process is not None and process != job.pid:
        rows.change(store, job.id, ("running",), pid=process)


def _state_of(code: int | None, job: Job) -> JobState:
    if code == 0:
        return "done"
    return "stopped" if code in INTERRUPTED or job.stop_asked_at is not None else "failed"


def _sentence_of(code: int | None, files: JobFiles) -> str | None:
    if code is None or (code < 0 and code not in INTERRUPTED):
        by = f" by signal {-code}" if code else ""
        return KILLED.format(by=by)
    told = last_sentence(files.log, files.start_byte())
    return told and told.partition(NEXT)[0]


class Worker:
    """A thread that lets a queue step on until it is ended."""

    def __init__(self, queue: Queue, every: float = EVERY_SECONDS) -> None:
        self.queue, self._every = queue, every
        self._ended, self._woken = threading.Event(), threading.Event()
        self._told: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="thumbtune-jobs", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Step at once, for a job that was added or is to stop."""
        self._woken.set()

    def end(self) -> None:
        """End the thread; jobs go on."""
        self._ended.set()
        self._woken.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self.queue.step()
            except Exception as error:  # as of a database that is away for a while: the thread must go on
                if (told := reason(error)) not in self._told:
                    self._told.add(told)
                    note(f"The studio could not see to its jobs ({told}); it tries again.")
                self._ended.wait(RETRY_SECONDS)
            self._woken.wait(self._every)
            self._woken.clear()

"""The queue of jobs, with commands that are small Python programs: each job is real processes."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from refusals import refused

from thumbtune.feedback.store import jobs as rows
from thumbtune.feedback.store.store import Store
from thumbtune.studio.jobs.commands import Place, checked_model, checked_name, copied, words, words_of
from thumbtune.studio.jobs.files import JobFiles, last_sentence, read_from
from thumbtune.studio.jobs.queue import Queue, Worker

PATIENCE = 30.0
SAY = "print('thumbtune: It is done. Next: thumbtune likes')"
WAIT = """
import signal, sys, time
def stop(*_):
    print('thumbtune: Stopped after step 3.', file=sys.stderr)
    sys.exit(130)
signal.signal(signal.SIGINT, stop)
print('ready', flush=True)
time.sleep(60)
"""
Make = Callable[..., Queue]


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "likes") as opened:
        yield opened


@pytest.fixture
def make(store: Store, tmp_path: Path) -> Iterator[Make]:
    """Return a queue whose jobs run a Python program in place of thumbtune; the words of the command follow it."""
    made: list[Queue] = []

    def queue(program: str) -> Queue:
        command = (sys.executable, "-c", program)
        made.append(Queue(store, tmp_path / "studio", Place(tmp_path, str(tmp_path / "likes")), command))
        return made[-1]

    yield queue
    for job in rows.list_jobs(store, ("running",)):
        for process in made[-1].files(job.id).processes():
            os.kill(process, signal.SIGKILL)


def state_of(queue: Queue, number: int) -> str:
    queue.step()
    return rows.get_job(queue.store, number).state


def add(queue: Queue, name: str = "one") -> int:
    return rows.add_job(queue.store, "train", f"runs/{name}", {"settings": {}}).id


def test_a_job_runs_to_its_end_and_says_so(make: Make) -> None:
    queue = make(SAY)
    number = add(queue)
    assert state_of(queue, number) == "running"
    until(lambda: state_of(queue, number) != "running")
    job = rows.get_job(queue.store, number)
    assert (job.state, job.exit_code, job.sentence, job.host) == ("done", 0, "It is done.", queue.host)
    assert job.created_at <= job.started_at <= job.ended_at  # type: ignore[operator]


def test_the_command_gets_its_words_and_runs_in_the_root(make: Make, tmp_path: Path) -> None:
    queue = make("import os, sys; print(os.getcwd(), sys.argv[1:])")
    job = rows.add_job(queue.store, "train", "runs/a b", {"settings": {"train.steps": 4, "seed": "; rm -rf /"}})
    queue.step()
    until(lambda: state_of(queue, job.id) == "done")
    wanted = ["train", "--out", "runs/a b", "--likes", "likes", "--set", "train.steps=4", "--set", "seed=; rm -rf /"]
    assert queue.files(job.id).log.read_text() == f"{tmp_path} {wanted}\n"


@pytest.mark.parametrize(
    ("program", "sentence", "code"),
    [
        ("import sys; sys.exit('thumbtune: There is no store.')", "There is no store.", 1),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "The process was killed by signal 9", -9),
    ],
)
def test_a_job_that_fails_tells_why(make: Make, program: str, sentence: str, code: int) -> None:
    queue = make(program)
    number = add(queue)
    queue.step()
    until(lambda: state_of(queue, number) == "failed")
    job = rows.get_job(queue.store, number)
    assert job.exit_code == code
    assert (job.sentence or "").startswith(sentence)


@pytest.mark.slow
def test_one_job_runs_at_a_time_and_the_others_wait_in_order(make: Make) -> None:
    queue = make("import time; time.sleep(0.3)")
    numbers = [add(queue, name) for name in "abc"]
    seen: list[str] = []

    def is_over() -> bool:
        queue.step()
        states = [rows.get_job(queue.store, number).state for number in numbers]
        assert states.count("running") <= 1
        seen.extend(f"{n}" for n, s in zip(numbers, states, strict=True) if s == "running" and f"{n}" not in seen)
        return states == ["done"] * 3

    until(is_over)
    assert seen == [str(number) for number in numbers]


def test_stop_is_one_interrupt_and_resume_waits_again(make: Make) -> None:
    queue = make(WAIT)
    number = add(queue)
    queue.step()
    until(lambda: "ready" in queue.files(number).log.read_text())
    rows.ask_to_stop(queue.store, number)
    for _ in range(5):
        queue.step()  # asks once: a second interrupt in the handler would end the program without its sentence
    until(lambda: state_of(queue, number) == "stopped")
    job = rows.get_job(queue.store, number)
    assert (job.exit_code, job.sentence) == (130, "Stopped after step 3.")
    assert rows.resume(queue.store, number).state == "waiting"
    assert state_of(queue, number) == "running"
    rows.ask_to_stop(queue.store, number)
    until(lambda: state_of(queue, number) == "stopped")  # also while it has not begun to listen


def test_a_checkpoint_is_asked_for_while_a_training_runs(make: Make) -> None:
    saves = "import signal\nsignal.signal(signal.SIGUSR1, lambda *_: print('saved', flush=True))\n"
    queue = make(saves + WAIT.replace("time.sleep(60)", "[time.sleep(0.1) for _ in range(600)]"))
    number = add(queue)
    with refused("job-not-running", naming=str(number)):
        queue.save(number)
    queue.step()
    until(lambda: "ready" in queue.files(number).log.read_text())
    queue.save(number)
    until(lambda: "saved" in queue.files(number).log.read_text())
    if Path("/proc/self/status").exists():
        with refused("job-starting"):  # the program handles no SIGUSR2, which would end it
            queue.sample(number)
    assert state_of(queue, number) == "running"
    rows.ask_to_stop(queue.store, number)
    until(lambda: state_of(queue, number) == "stopped")
    with refused("job-not-running"):
        queue.save(number)


def test_samples_are_asked_for_while_a_training_runs(make: Make) -> None:
    draws = "import signal\nsignal.signal(signal.SIGUSR2, lambda *_: print('drawn', flush=True))\n"
    queue = make(draws + WAIT.replace("time.sleep(60)", "[time.sleep(0.1) for _ in range(600)]"))
    number = add(queue)
    with refused("job-not-running", naming=str(number)):
        queue.sample(number)
    queue.step()
    until(lambda: "ready" in queue.files(number).log.read_text())
    queue.sample(number)
    until(lambda: "drawn" in queue.files(number).log.read_text())
    assert state_of(queue, number) == "running"
    rows.ask_to_stop(queue.store, number)
    until(lambda: state_of(queue, number) == "stopped")


def test_a_waiting_job_stops_without_a_process(make: Make) -> None:
    queue = make(SAY)
    number = add(queue)
    assert rows.ask_to_stop(queue.store, number).state == "stopped"
    assert not queue.step()
    assert not queue.files(number).log.exists()
    with refused("job-not-stopped"):
        rows.resume(queue.store, rows.resume(queue.store, number).id)


def test_a_job_outlives_its_studio_and_is_found_again(tmp_path: Path, store: Store, make: Make) -> None:
    queue = make(WAIT)
    number = add(queue)
    program = f"""
from pathlib import Path
from thumbtune.feedback.store.store import Store
from thumbtune.studio.jobs.commands import Place
from thumbtune.studio.jobs.queue import Queue
import os, signal, time
root = Path({str(tmp_path)!r})
store = Store.open(root / "likes")
queue = Queue(store, root / "studio", Place(root, str(root / "likes")), {list(queue.command)!r})
assert queue.step()
print("started", flush=True)
time.sleep(60)
"""
    studio = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True)
    assert studio.stdout is not None and studio.stdout.readline() == b"started\n"
    os.killpg(studio.pid, signal.SIGKILL)
    studio.wait()
    studio.stdout.close()
    until(lambda: "ready" in queue.files(number).log.read_text())
    assert state_of(queue, number) == "running"
    until(lambda: rows.get_job(store, number).pid in queue.files(number).processes() or queue.step() is None)
    rows.ask_to_stop(store, number)
    until(lambda: state_of(queue, number) == "stopped")


def test_a_job_that_ended_without_a_studio_gets_its_state_later(make: Make) -> None:
    queue = make(SAY)
    number = add(queue)
    queue.step()
    until(lambda: not queue.files(number).is_alive())
    assert rows.get_job(queue.store, number).state == "running"
    os.utime(queue.files(number).end, (1e9, 1e9))
    assert state_of(queue, number) == "done"
    ended = rows.get_job(queue.store, number).ended_at
    assert ended is not None and ended.timestamp() == 1e9  # and not when somebody looked


def test_a_reused_process_number_is_not_the_job(make: Make) -> None:
    queue = make(WAIT)
    number = add(queue)
    files = queue.files(number)
    files.lock.parent.mkdir(parents=True)
    files.lock.write_text(json.dumps([os.getpid()]))  # a process lives that has this number, without the lock
    files.log.touch()
    assert rows.claim(queue.store, number, queue.host)
    rows.change(queue.store, number, ("running",), pid=os.getpid())
    rows.ask_to_stop(queue.store, number)
    assert state_of(queue, number) == "stopped"  # and this test was not interrupted


def test_a_claim_without_a_start_waits_again(make: Make) -> None:
    queue = make(SAY)
    number = add(queue)
    queue.prepare(number)
    queue.files(number).begin()
    assert rows.claim(queue.store, number, queue.host)
    queue.step()
    assert rows.get_job(queue.store, number).state == "running"
    until(lambda: state_of(queue, number) == "done")


def test_a_resume_without_a_start_waits_again_and_does_not_end_as_it_ended_before(make: Make) -> None:
    queue = make("import sys; sys.exit(130)")
    number = add(queue)
    queue.step()
    until(lambda: state_of(queue, number) == "stopped")
    rows.resume(queue.store, number)
    queue.files(number).begin()  # the studio ends here, after the claim
    assert rows.claim(queue.store, number, queue.host)
    queue.command = (sys.executable, "-c", SAY)
    queue.step()
    until(lambda: state_of(queue, number) == "done")


def test_a_job_whose_files_are_gone_as_in_a_copy_of_the_store_is_stopped(make: Make) -> None:
    queue = make(SAY)
    number = add(queue)
    assert rows.claim(queue.store, number, queue.host)
    assert state_of(queue, number) == "stopped"
    job = rows.get_job(queue.store, number)
    assert job.sentence is not None and "copy" in job.sentence and not queue.files(number).log.exists()
    rows.resume(queue.store, number)
    queue.step()
    until(lambda: state_of(queue, number) == "done")


def test_a_job_runs_in_the_folder_that_it_was_asked_in(make: Make, tmp_path: Path) -> None:
    queue = make("from pathlib import Path; print(f'thumbtune: {Path.cwd()}')")
    (tmp_path / "elsewhere").mkdir()
    other = Queue(queue.store, queue.folder, Place(tmp_path / "elsewhere", queue.place.store), queue.command)
    number = rows.add_job(queue.store, "train", "runs/one", {"settings": {}}, queue.prepare).id
    later = rows.add_job(queue.store, "train", "runs/two", {"settings": {}}, other.prepare).id
    assert other.step()  # the older job waits for its own studio
    until(lambda: not other.step())
    assert rows.get_job(queue.store, number).state == "waiting"
    assert rows.get_job(queue.store, later).sentence == f"{tmp_path / 'elsewhere'}"
    with refused("job-elsewhere", naming=str(tmp_path)):
        other.refuse_elsewhere(number)
    queue.refuse_elsewhere(number)
    until(lambda: state_of(queue, number) == "done")
    assert rows.get_job(queue.store, number).sentence == str(tmp_path)
    (tmp_path / "elsewhere").rmdir()  # a folder that was moved: its jobs go on where it is now
    queue.refuse_elsewhere(later)


def test_a_new_job_has_no_log_of_one_that_had_its_number(make: Make) -> None:
    queue = make(SAY)
    files = queue.files(1)
    files.log.parent.mkdir(parents=True)
    for file in (files.log, files.end, files.stop):
        file.write_text("130")
    number = rows.add_job(queue.store, "train", "runs/one", {"settings": {}}, queue.prepare).id
    assert number == 1 and not any(file.exists() for file in (files.log, files.end, files.stop))


def test_what_an_earlier_start_printed_tells_nothing_of_the_last_one(make: Make) -> None:
    queue = make("import sys; print('images/a/1.png'); print('thumbtune: Stopped after step 3.'); sys.exit(130)")
    number = add(queue)
    queue.step()
    until(lambda: state_of(queue, number) == "stopped")
    assert rows.get_job(queue.store, number).sentence == "Stopped after step 3."
    rows.resume(queue.store, number)
    queue.command = (sys.executable, "-c", "print('images/a/1.png'); print('images/a/2.png')")
    queue.step()
    until(lambda: state_of(queue, number) == "done")
    assert rows.get_job(queue.store, number).sentence == "images/a/2.png"  # and not that it stopped
    files = queue.files(number)
    assert [line for lines in files.printed() for line in lines] == ["images/a/1.png", "images/a/2.png"]
    assert files.log.read_text().count("images/a/1.png") == 2


def test_all_lines_of_a_long_log_are_read(tmp_path: Path) -> None:
    files = JobFiles(tmp_path, 1)
    files.log.parent.mkdir()
    files.log.write_text("".join(f"images/{'x' * 90}/{number}.png\n" for number in range(20_000)))
    assert sum(len(lines) for lines in files.printed()) == 20_000


def test_a_job_is_not_resumed_into_a_folder_that_another_job_writes(make: Make) -> None:
    queue = make(WAIT)
    number = add(queue)
    rows.ask_to_stop(queue.store, number)
    other = add(queue)
    with refused("job-busy", naming=str(other)):
        rows.resume(queue.store, number)
    assert [job.state for job in rows.list_jobs(queue.store)] == ["waiting", "stopped"]
    rows.ask_to_stop(queue.store, other)
    assert rows.resume(queue.store, number).state == "waiting"


def test_the_command_goes_on_if_its_supervisor_is_killed_and_can_be_stopped(make: Make) -> None:
    queue = make(WAIT)
    number = add(queue)
    queue.step()
    files = queue.files(number)
    until(lambda: len(files.processes()) == 2 and "ready" in files.log.read_text())
    os.kill(files.processes()[0], signal.SIGKILL)
    until(lambda: not (Path("/proc") / str(files.processes()[0]) / "exe").exists())
    assert state_of(queue, number) == "running"
    rows.ask_to_stop(queue.store, number)
    until(lambda: state_of(queue, number) == "stopped")


@pytest.mark.slow
def test_two_studios_start_no_job_twice(make: Make, tmp_path: Path) -> None:
    queue = make("import os, sys, time; open(sys.argv[3] + '.started', 'a').write('x'); time.sleep(0.05)")
    (tmp_path / "runs").mkdir()
    numbers = [add(queue, f"r{index}") for index in range(6)]
    with Store.open(tmp_path / "likes") as other:
        second = Queue(other, queue.folder, queue.place, queue.command)
        workers = [Worker(each, every=0.01) for each in (queue, second, queue, second)]
        for worker in workers:
            worker.start()
        until(lambda: all(rows.get_job(queue.store, number).state == "done" for number in numbers))
        for worker in workers:
            worker.end()
    assert [(tmp_path / f"runs/r{index}.started").read_text() for index in range(6)] == ["x"] * 6


def test_one_folder_has_one_job(make: Make) -> None:
    queue = make(SAY)
    add(queue)
    with refused("job-busy"):
        add(queue)


def test_jobs_of_another_machine_are_left_alone(make: Make) -> None:
    queue = make(SAY)
    number = add(queue)
    assert rows.claim(queue.store, number, "elsewhere")
    assert not queue.step()
    assert rows.get_job(queue.store, number).state == "running"


def test_a_job_of_a_machine_that_is_gone_gets_its_end(make: Make) -> None:
    queue = make(SAY)
    number = add(queue)
    queue.step()
    until(lambda: not queue.files(number).is_alive())
    queue.host = "the-next-container"  # on the same folders
    assert not queue.step()
    assert rows.get_job(queue.store, number).state == "done"


def test_where_files_cannot_be_locked_a_job_says_so(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = make(SAY)
    number = add(queue)
    monkeypatch.setattr("thumbtune.locks.take", lambda descriptor: None)
    assert not queue.step()
    job = rows.get_job(queue.store, number)
    assert job.state == "failed" and "cannot be locked" in str(job.sentence)


def test_the_worker_goes_on_after_an_error(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    queue = make(SAY)
    number, steps = add(queue), []

    def broken() -> bool:
        steps.append(1)
        raise OSError("no disk")

    queue.step = broken  # type: ignore[method-assign]
    worker = Worker(queue, every=0.01)
    worker.start()
    until(lambda: steps)
    del queue.step
    worker.wake()
    worker.end()
    assert caplog.messages == ["The studio could not see to its jobs (no disk); it tries again."]
    assert rows.get_job(queue.store, number).state == "waiting"


def test_the_database_lets_a_machine_have_one_job(make: Make) -> None:
    queue = make(SAY)
    first, second = add(queue, "a"), add(queue, "b")
    assert rows.claim(queue.store, first, "here")
    assert not rows.claim(queue.store, second, "here")
    assert rows.claim(queue.store, second, "there")
    assert rows.waiting_jobs(queue.store, "elsewhere") == []


def test_claims_at_once_have_one_winner(make: Make) -> None:
    queue = make(SAY)
    number = add(queue)
    won: list[bool] = []
    threads = [threading.Thread(target=lambda: won.append(rows.claim(queue.store, number, "h"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won.count(True) == 1


def test_a_training_that_began_is_resumed(tmp_path: Path, store: Store) -> None:
    place = Place(tmp_path, str(tmp_path / "likes"))
    job = rows.add_job(store, "train", "runs/a", {"settings": {"train.steps": 4}, "recipe": "paper"})
    assert words_of(job, place)[:4] == ["train", "paper", "--out", "runs/a"]
    (tmp_path / "runs/a").mkdir(parents=True)
    (tmp_path / "runs/a/recipe.yaml").touch()
    assert words_of(job, place) == ["train", "--out", "runs/a", "--resume"]


def test_words_of_generate() -> None:
    arguments = {"prompts": ["-x", "a b"], "per_prompt": 2, "seed": 3, "run": "first", "guidance": 0, "negative": ""}
    assert words("generate", "images/a", arguments, "likes") == [
        *("generate", "--out", "images/a", "--likes", "likes", "--seeds", "2", "--first-seed", "3"),
        *("--run", "runs/first", "--guidance", "0", "--", "-x", "a b"),
    ]


def test_the_copied_command_shows_no_password(tmp_path: Path) -> None:
    place = Place(tmp_path, "postgresql://ann:secret@host/db")
    arguments = {"settings": {"model": "a model"}}
    text = copied("train", "runs/a", arguments, place)
    assert text == "thumbtune train --out runs/a --likes postgresql+psycopg://ann@host/db --set 'model=a model'"
    assert place.environment() == {"PGPASSWORD": "secret"}  # which other users of the machine cannot read


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", "-a", "a\n", "a" * 65, "a.", "~", "a\\b", "é"])
def test_names_that_are_no_names(name: str) -> None:
    with refused("job-bad-name"):
        checked_name(name)


@pytest.mark.parametrize("model", ["/etc/x", "../x", "a/../../x", "~/x", "a/b/c", " ", "", "a\0b", "C:\\x", "out/x"])
def test_models_outside_of_the_root(model: str, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "x").mkdir()
    (tmp_path / "root" / "out").symlink_to(tmp_path)
    with refused("job-bad-model"):
        checked_model(model, Place(tmp_path / "root", "likes"))


def test_models_that_the_studio_may_load(tmp_path: Path) -> None:
    (tmp_path / "models/sd/unet").mkdir(parents=True)
    for model in ("tiny-emoji-64", "owner/name", "models/sd/unet"):
        assert checked_model(model, Place(tmp_path, "likes")) == model


def test_lines_are_read_once_and_whole(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert read_from(log, 5) == ("", 0)
    log.write_text("one\ntwo\nthr")
    text, place = read_from(log, 0)
    assert (text, place) == ("one\ntwo\n", 8)
    assert read_from(log, place) == ("", 8)
    log.write_text("one\ntwo\nthree\n")
    assert read_from(log, place) == ("three\n", 14)
    assert read_from(log, 5) == ("one\ntwo\nthree\n", 14)  # in the middle of a line: of another file
    assert read_from(log, 99)[1] == 14
    assert read_from(log, 0, most=4) == ("one\n", 4)
    assert read_from(log, 8, most=2) == ("three\n", 14)


def test_the_last_sentence_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_sentence(log) is None
    log.write_text("thumbtune: Note: mind this.\nimages/a.png\n     Tuning: 3 of 9\n")
    assert last_sentence(log) == "images/a.png"
    log.write_text("thumbtune: No room.\nTraceback of something\nthumbtune: Note: x\n")
    assert last_sentence(log) == "No room."


def test_the_stop_is_marked_once(tmp_path: Path) -> None:
    files = JobFiles(tmp_path, 1)
    files.stop.parent.mkdir()
    assert [files.mark_stop(), files.mark_stop()] == [True, False]

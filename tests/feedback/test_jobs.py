"""Rows of jobs on both databases: every change has one winner, and a machine has one job at work."""

import threading

import pytest
from refusals import refused
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from thumbtune.feedback.store import jobs
from thumbtune.feedback.store.store import Store
from thumbtune.feedback.store.tables import Job


def add(store: Store, name: str) -> int:
    return jobs.add_job(store, "train", f"runs/{name}", {"settings": {}}).id


def test_a_job_goes_from_waiting_to_its_end(store: Store) -> None:
    first, second = add(store, "a"), add(store, "b")
    assert [job.id for job in jobs.waiting_jobs(store, "here")] == [first, second]
    assert jobs.claim(store, first, "here")
    assert jobs.waiting_jobs(store, "here") == []
    assert not jobs.claim(store, second, "here")
    assert jobs.end(store, first, "done", 0, "It is done.")
    assert not jobs.end(store, first, "failed", 1, "no")
    ended = jobs.get_job(store, first)
    assert (ended.state, ended.exit_code, ended.sentence, ended.host) == ("done", 0, "It is done.", "here")
    assert [job.id for job in jobs.list_jobs(store)] == [second, first]
    assert [job.id for job in jobs.list_jobs(store, ("waiting",), "train")] == [second]
    assert jobs.claim(store, second, "here")


def test_a_stopped_job_waits_again(store: Store) -> None:
    number = add(store, "a")
    jobs.claim(store, number, "here")
    asked = jobs.ask_to_stop(store, number)
    assert asked.state == "running" and asked.stop_asked_at is not None
    assert jobs.ask_to_stop(store, number).stop_asked_at == asked.stop_asked_at
    jobs.end(store, number, "stopped", 130, "Stopped.")
    again = jobs.resume(store, number)
    assert (again.state, again.stop_asked_at, again.exit_code, again.ended_at) == ("waiting", None, None, None)
    with refused("job-busy", naming="runs/a"):
        add(store, "a")
    with refused("job-missing"):
        jobs.ask_to_stop(store, 99)


def test_claims_of_many_studios_have_one_winner(store: Store) -> None:
    numbers, won = [add(store, name) for name in "abcd"], []

    def claim(number: int) -> None:
        if jobs.claim(store, number, "here"):
            won.append(number)

    threads = [threading.Thread(target=claim, args=(number,)) for number in numbers * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert [job.id for job in jobs.list_jobs(store, ("running",))] == won


@pytest.mark.parametrize("column", ["kind", "state"])
def test_the_database_refuses_words_that_it_does_not_know(store: Store, column: str) -> None:
    row = {"kind": "train", "folder": "x", "arguments": "{}", "state": "waiting", column: "x"}
    with pytest.raises(IntegrityError), store.transaction(), store.reading() as session:
        session.execute(insert(Job).values(**row))

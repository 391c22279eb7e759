"""Events of a job from its files, and what they are read from: a reconnect at any place loses and doubles nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thumbtune.runs.recipe import Recipe, write_recipe
from thumbtune.studio.jobs.events import Cursor, Event, Watched, events_after
from thumbtune.studio.jobs.progress import (
    Bar,
    bar_of,
    images_in,
    notes_in,
    sample_file,
    sample_prompts,
    samples_of,
    steps_in,
)
from thumbtune.studio.jobs.runs import run_in, runs_in, steps_of

Write = Callable[..., None]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "first"
    folder.mkdir(parents=True)
    return folder


def step(number: int, **more: Any) -> str:
    return json.dumps({"step": number, "loss": number / 10, **more}) + "\n"


def job(run: Path, state: str = "running") -> Watched:
    return Watched(state=state, shown=state, facts={"state": state}, log=run.parent / "log", run=run)


def told(events: list[Event], name: str) -> list[Any]:
    return [row for event in events if event.name == name for row in event.data]


def test_every_cursor_goes_on_where_it_was(run: Path) -> None:
    (run / "steps.jsonl").write_text(step(1) + step(2))
    job(run).log.write_text("one\ntwo\n")
    (run / "samples/step-000000").mkdir(parents=True)
    whole = list(events_after(Cursor(), job(run)))
    assert [event.name for event in whole] == ["state", "steps", "samples", "log"]
    for index, event in enumerate(whole):
        rest = list(events_after(Cursor.of(str(event.cursor)), job(run)))
        assert [each.data for each in rest] == [each.data for each in whole[index + 1 :]]
    with (run / "steps.jsonl").open("a") as file:
        file.write(step(3) + '{"step": 4, "lo')
    more = list(events_after(whole[-1].cursor, job(run)))
    assert [(event.name, event.data) for event in more] == [("steps", [{"step": 3, "loss": 0.3}])]
    with (run / "steps.jsonl").open("a") as file:
        file.write('ss": 1}\n')
    ended = list(events_after(more[-1].cursor, job(run, "done")))
    assert [(event.name, event.data) for event in ended] == [
        ("state", {"state": "done"}),
        ("steps", [{"step": 4, "loss": 1}]),
        ("end", "done"),
    ]


def test_a_resumed_training_begins_its_numbers_again(run: Path) -> None:
    file = run / "steps.jsonl"
    file.write_text(step(1) + step(2) + step(3))
    first = list(events_after(Cursor(), job(run)))
    new = run / "new"
    new.write_text(step(1) + step(2) + step(3) + step(4))  # as cut and written again: another file, and longer
    new.rename(file)
    again = list(events_after(first[-1].cursor, job(run)))
    assert [event.name for event in again] == ["reset", "steps"]
    assert [row["step"] for row in told(again, "steps")] == [1, 2, 3, 4]


def test_a_strange_last_event_id_is_the_beginning() -> None:
    for text in (None, "", "x", "1.2", "1.2.3.4.5", "9" * 20, "1.1.0.1.running;"):
        assert Cursor.of(text) == Cursor()
    assert Cursor.of(str(Cursor(5, 6, "af", 7, "running"))) == Cursor(5, 6, "af", 7, "running")


def test_events_are_lines_of_the_protocol() -> None:
    event = Event("log", ["a\nb"], Cursor(1, 2, "3", 4, "done"))
    assert event.text() == 'id: 1.2.3.4.done\nevent: log\ndata: ["a\\nb"]\n\n'


def test_steps_keep_their_names_and_have_no_nan() -> None:
    line = '{"step": 2, "loss": NaN, "neutral": Infinity, "liked_log_ratio": -0.5, "gain": 1}\n'
    assert steps_in(f"[]\n3\nbroken\n{line}") == [
        {"step": 2, "loss": None, "liked_log_ratio": -0.5, "reference_point": None}
    ]


def test_lines_of_a_log() -> None:
    assert bar_of("     Encoding: 3, 4 s so far") == Bar(what="Encoding", done=3, rest="4 s so far")
    assert bar_of("     step 25  loss +1.2e-3") is None
    assert bar_of("Encoding: 3 of 4") is None
    lines = ["images/a-0.png", "     x.png", "thumbtune: Note: Mind this.", "a.webp", "Put 2 images into x."]
    assert notes_in(lines) == ["Mind this."]
    assert images_in(lines) == 2


def test_samples(run: Path) -> None:
    for name in ("step-000010/0.png", "step-000010/1.webp", "step-000000/0.png", "step-1/0.png", "step-000010/x.png"):
        (run / "samples" / name).parent.mkdir(parents=True, exist_ok=True)
        (run / "samples" / name).touch()
    (run / "samples/prompts.txt").write_text("a fox\na hen\n")
    assert samples_of(run) == [{"step": 0, "files": [0]}, {"step": 10, "files": [0, 1]}]
    assert sample_prompts(run) == ["a fox", "a hen"]
    assert sample_file(run, 10, 1) == run / "samples/step-000010/1.webp"
    assert sample_file(run, 10, 2) is None


def test_runs_are_listed_from_their_files(run: Path) -> None:
    assert run_in(run) is None
    write_recipe(Recipe.model_validate({"train": {"steps": 77}}), run / "recipe.yaml")
    (run / "steps.jsonl").write_text(step(1) + step(12) + '{"step": 1')
    found = run_in(run)
    assert found is not None
    assert (found.name, found.step, found.steps, found.finished, found.stopped) == ("first", 12, 77, False, None)
    (run / "stopped.json").write_text(json.dumps({"step": 12, "best": 1, "sentence": "Training stopped."}))
    (run / "lora").mkdir()
    (run / "lora/x.safetensors").touch()
    assert [(each.finished, each.stopped) for each in runs_in(run.parent)] == [(True, "Training stopped.")]
    (run / "stopped.json").write_text("[")
    assert "cannot be read" in str(runs_in(run.parent)[0].stopped)
    assert [row["step"] for row in steps_of(run)] == [1, 12]
    assert runs_in(run / "missing") == []

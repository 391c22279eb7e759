"""Ctrl-C: each command says whether the same command goes on."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from refusals import refused

from thumbtune.cli.stops import stopping
from thumbtune.duels.gallery_folder import at_work
from thumbtune.errors import Interrupted, Terminated, UsageError

Call = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("stop", "kind"),
    [
        (KeyboardInterrupt(), Interrupted),
        (Interrupted("Stopped after step 3; the same command with --resume continues.", code="x"), Interrupted),
        (Terminated("Stopped after step 3; the same command with --resume continues.", code="x"), Terminated),
    ],
)
def test_a_stop_is_told_in_the_words_of_its_command(stop: BaseException, kind: type[Interrupted]) -> None:
    with refused("command-stopped", Interrupted) as caught, stopping("Stopped; the same command continues from there."):
        raise stop
    assert type(caught.value) is kind and "--resume" not in str(caught.value)


def test_a_grid_tells_more_by_itself_and_other_errors_pass() -> None:
    with refused("grid-stopped", Interrupted, naming="cell 2"), stopping("Stopped."):
        raise Interrupted("Stopped in cell 2.", code="grid-stopped")
    with refused("other-error", UsageError), stopping("Stopped."):
        raise UsageError("Another error.", code="other-error")


def test_a_duel_that_is_stopped_keeps_its_folder_and_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "duel"
    with refused("duel-stopped", Interrupted, naming=out), at_work(out):
        out.mkdir()
        (out / "image.png").write_bytes(b"image")
        raise KeyboardInterrupt
    assert (out / "image.png").read_bytes() == b"image"
    with at_work(out):  # the lock is free again
        pass


@pytest.mark.parametrize(
    ("words", "place", "sentence"),
    [
        (["demo"], "thumbtune.experiments.demo.demo", "Stopped; the same command continues from there.\n"),
        (
            ["demo", "--fresh"],
            "thumbtune.experiments.demo.demo",
            "Stopped; the same command without --fresh continues from there.\n",
        ),
        (["paper", "fig9"], "thumbtune.experiments.experiments.perform", "the same command continues from there.\n"),
        (["generate", "a cat"], "thumbtune.runs.generate.generate_images", "Stopped; no image was finished yet.\n"),
    ],
)
def test_ctrl_c_at_the_command_line(
    call: Call, words: list[str], place: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*given: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(place, stopped)
    code, out, err = call(*words, "--out", tmp_path / "out")
    assert code == 130 and out == "" and err.endswith(sentence) and err.startswith("thumbtune: Stopped; ")


def test_ctrl_c_after_the_first_image_names_its_folder(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_image(*given: Any, **named: Any) -> Iterator[Path]:
        yield tmp_path / "out" / "a-cat-0.png"
        raise KeyboardInterrupt

    monkeypatch.setattr("thumbtune.runs.generate.generate_images", one_image)
    code, out, err = call("generate", "a cat", "--out", tmp_path / "out")
    assert code == 130 and out.strip() == str(tmp_path / "out" / "a-cat-0.png")
    assert f"images so far stay in {tmp_path / 'out'}; " in err and err.endswith("writes none of them twice.\n")

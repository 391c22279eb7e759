"""Options of loading, reading and drawing: those that count for no side are refused, and the others are named."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from refusals import refused

from thumbtune.duels.duel import A, B, run_duel
from thumbtune.duels.gallery import GalleryPlan
from thumbtune.duels.merge import merge
from thumbtune.duels.sides import Side
from thumbtune.duels.unused import refuse_unused, used_notes
from thumbtune.errors import UsageError
from thumbtune.evaluation.prompts import PromptSet
from thumbtune.models.model_options import PLAIN, ModelOptions
from thumbtune.models.prompt_chunks import PromptEncoding
from thumbtune.models.protocol import Sampler

RUN, OTHER_RUN, CHECKPOINT = Side("my-run", "run", ""), Side("other", "run", ""), Side("at-50", "checkpoint", "")
IMAGES, LOADED = Side("drawn", "images", "", folder=Path("drawn")), ModelOptions(prediction="v", vae="mine")
CHUNKS = ModelOptions(encoding=PromptEncoding(over_length="chunks", clip_skip=2))


@pytest.mark.parametrize(
    ("options", "sides", "named"),
    [
        (LOADED, [RUN, OTHER_RUN], ["--vae and --prediction", "my-run is a run", "other is a run"]),
        (CHUNKS, [RUN, CHECKPOINT], ["--over-length and --clip-skip", "at-50 is a checkpoint of a run"]),
        (ModelOptions(zero_terminal_snr=True), [IMAGES, RUN], ["--zero-terminal-snr", "drawn is a folder of images"]),
        (CHUNKS, [IMAGES], ["drawn already"]),
        (LOADED, [Side("sdxl", "model", "", options=PLAIN), RUN], ["another model than --base"]),
        (ModelOptions(encoding=PromptEncoding(syntax="a1111")), [RUN], ["Leave out --syntax,"]),
    ],
)
def test_options_that_count_for_no_side_are_refused(options: ModelOptions, sides: list[Side], named: list[str]) -> None:
    with refused("side-unused-option", UsageError, naming=named):
        refuse_unused(options, sides)


def test_each_side_has_a_sentence_of_its_own() -> None:
    others = [Side("like", "images", "", folder=Path("like")), Side("dislike", "images", "", folder=Path("dislike"))]
    with pytest.raises(UsageError) as caught:
        refuse_unused(LOADED, [*others, RUN])
    assert str(caught.value) == (
        "Leave out --vae and --prediction, which would change nothing: like is a folder of images, which are drawn "
        "already. dislike is a folder of images, which are drawn already. my-run is a run, which loads its model and "
        "reads prompts as it was trained."
    )
    model = Side("sd15", "model", "", options=ModelOptions(vae="mine"))
    assert used_notes(ModelOptions(vae="mine"), [model, *others]) == [
        "--vae counts for sd15 alone: like is a folder of images, which are drawn already. dislike is a folder of "
        "images, which are drawn already."
    ]


def test_options_that_count_for_one_side_are_named_with_it() -> None:
    model = Side("sd15", "model", "", options=LOADED)
    refuse_unused(LOADED, [model, RUN])
    why = "my-run is a run, which loads its model and reads prompts as it was trained"
    assert used_notes(LOADED, [model, RUN]) == [
        f"--vae counts for sd15 alone: {why}.",
        f"--prediction counts for sd15 alone: {why}.",
    ]
    assert used_notes(LOADED, [model, replace(model, kind="lora")]) == []
    for plain in (PLAIN, CHUNKS):
        assert used_notes(plain, [RUN, OTHER_RUN]) == []
    refuse_unused(PLAIN, [RUN, IMAGES])


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (("negative",), "Leave out --negative,"),
        (("steps", "size", "vae"), "Leave out --steps, --size and --vae,"),
        (("guidance",), "Leave out --guidance,"),
    ],
)
def test_options_of_drawing_are_refused_where_nothing_is_drawn(given: tuple[str, ...], named: str) -> None:
    with refused("side-unused-option", UsageError, naming=named):
        refuse_unused(PLAIN, [IMAGES, replace(IMAGES, name="others")], given)
    refuse_unused(PLAIN, [IMAGES, RUN], [name for name in given if name != "vae"])
    refuse_unused(PLAIN, [IMAGES, IMAGES], ())


def test_a_default_that_a_person_gave_counts_too() -> None:
    """The runs may read prompts in another way."""
    for given in ("syntax", "over_length"):
        with refused("side-unused-option", UsageError, naming=f"--{given.replace('_', '-')}"):
            refuse_unused(PLAIN, [RUN, OTHER_RUN], [given])
        refuse_unused(PLAIN, [RUN, Side("sd15", "model", "", options=PLAIN)], [given])


@pytest.mark.slow
def test_a_duel_says_which_side_an_option_is_for(
    call: Any, tiny_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    base = tiny_pipeline("epsilon")
    for name, colour in (("one", "red"), ("two", "blue")):
        (tmp_path / name).mkdir()
        Image.new("RGB", (16, 16), colour).save(tmp_path / name / "0.png")
    (tmp_path / "prompts.txt").write_text("a cat\n")
    words = ("--prompts", tmp_path / "prompts.txt", "--per-prompt", "1", "--scorers", "red", "--out", tmp_path / "duel")
    for option in (("--prediction", "v"), ("--syntax", "a1111"), ("--negative", "blurry"), ("--syntax", "plain")):
        code, _, err = call("duel", tmp_path / "one", tmp_path / "two", *words, *option)
        assert code == 2 and option[0] in err and "two is a folder of images" in err, err
    assert not (tmp_path / "duel").exists()
    code, out, err = call("duel", base, tmp_path / "two", *words, "--steps", "1", "--prediction", "v")
    assert code == 0 and f"--prediction counts for {base} alone" in out, err


def test_an_evaluation_of_a_run_against_a_run_refuses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, level in (("one", 10), ("two", 20)):
        (tmp_path / name).mkdir()
        Image.new("RGB", (16, 16), (level,) * 3).save(tmp_path / name / "0.png")
    plan = GalleryPlan(
        sides={A: str(tmp_path / "one"), B: str(tmp_path / "two")},
        prompts=PromptSet("mine", ("a cat",)),
        out=tmp_path / "duel",
        scorers=("red",),
        per_prompt=1,
        options=LOADED,
        given=(),
        cache=None,
    )
    assert run_duel(plan, lambda items, _: items) is not None
    with refused("side-unused-option", UsageError):
        run_duel(replace(plan, given=("prediction",), out=tmp_path / "other"), lambda items, _: items)


@pytest.mark.slow
def test_options_that_count_for_no_side_are_refused_from_python_too(
    tiny_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "one").mkdir()
    Image.new("RGB", (16, 16), "red").save(tmp_path / "one" / "0.png")
    images = str(tmp_path / "one")
    plan = GalleryPlan(
        sides={A: images, B: images},
        prompts=PromptSet("mine", ("a cat",)),
        out=tmp_path / "duel",
        scorers=("red",),
        per_prompt=1,
        sampler=Sampler(steps=1, guidance=1.0),
        cache=None,
    )
    for options, named in ((LOADED, "--vae and --prediction"), (CHUNKS, "--over-length and --clip-skip")):
        with refused("side-unused-option", UsageError, naming=[named, f"{images} is a folder of images"]):
            run_duel(replace(plan, options=options), lambda items, _: items)
    assert not plan.out.exists() and run_duel(plan, lambda items, _: items) is not None
    base = str(tiny_pipeline("epsilon"))
    mixed = replace(plan, sides={A: base, B: images}, options=ModelOptions(prediction="v"), out=tmp_path / "mixed")
    result = run_duel(mixed, lambda items, _: items)
    assert result is not None
    note = f"--prediction counts for {base} alone: {images} is a folder of images, which are drawn already."
    assert [one for one in result["notes"] if one.startswith("--")] == [note]


@pytest.mark.slow
def test_a_run_is_merged_without_options(call: Any, six_of_each: Path, tiny_pipeline: Any, tmp_path: Path) -> None:
    small = ["train.steps=1", "train.batch=4", "lora.rank=2", "train.guards=false", "prediction=v"]
    settings = [f"--set={one}" for one in (f"likes={six_of_each}", f"model={tiny_pipeline('epsilon')}", *small)]
    assert call("train", *settings, "--out", tmp_path / "run")[0] == 0
    for option in (("--prediction", "epsilon"), ("--vae", "mine"), ("--zero-terminal-snr",)):
        code, _, err = call("merge", tmp_path / "run", tmp_path / "out", *option)
        assert code == 2 and option[0] in err and "is a run" in err, err
    assert not (tmp_path / "out").exists()
    merge(str(tmp_path / "run"), tmp_path / "out")
    assert '"v_prediction"' in (tmp_path / "out" / "scheduler" / "scheduler_config.json").read_text()

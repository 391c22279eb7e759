"""The Trainer of Python programs does what `thumbtune train` does, and refuses what it would do otherwise."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from refusals import refused
from safetensors.torch import load_file

import thumbtune
from thumbtune import Config, Trainer
from thumbtune.errors import UsageError
from thumbtune.objective import CSFT, DPO, KTO, Judged, loss_averse
from thumbtune.runs.given_feedback import dataset_of

SMALL: dict[str, Any] = {
    "steps": 4,
    "batch": 4,
    "micro_batch": 2,
    "checkpoint_every": 2,
    "validation_share": 0.3,
    "lr": 1e-3,
    "cooldown": 0,
    "warmup": 0,
    "evaluate": {"steps": 2, "per_prompt": 2},
}
FILE = "pytorch_lora_weights.safetensors"


@dataclass(frozen=True)
class Pull:
    """An objective that no file holds: it raises likes and lowers dislikes, at a strength of its own."""

    strength: float = 3.0
    needs: frozenset[str] = frozenset({"liked", "disliked"})

    def __call__(self, judged: Judged) -> torch.Tensor:
        return judged.weight * -self.strength * judged.sign * judged.log_ratio


@dataclass(frozen=True)
class Steep:
    """An objective with a beta of its own."""

    beta: float = 5000.0
    needs: frozenset[str] = frozenset({"liked", "disliked"})

    def __call__(self, judged: Judged) -> torch.Tensor:
        return judged.weight * -self.beta * judged.sign * judged.log_ratio


@pytest.fixture
def base(tiny_pipeline: Callable[[str], Path]) -> Path:
    return tiny_pipeline("epsilon")


@pytest.fixture
def rows(thumbs: Path) -> list[dict[str, Any]]:
    return [
        {"image": str(file), "prompt": file.with_suffix(".txt").read_text(), "label": file.parent.name == "like"}
        for file in sorted(thumbs.rglob("*.png"))
    ]


@pytest.fixture
def dataset(rows: list[dict[str, Any]]) -> Any:
    from datasets import Dataset
    from datasets import Image as ImageFeature

    return Dataset.from_list(rows).cast_column("image", ImageFeature())


def pipeline_of(base: Path, dtype: torch.dtype = torch.float32) -> Any:
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline.from_pretrained(base, dtype=dtype)


def equal(one: Path, other: Path) -> bool:
    a, b = (load_file(run / "lora" / FILE) for run in (one, other))
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.slow
def test_a_data_set_and_a_pipeline_train_what_a_store_and_a_name_train(
    base: Path, dataset: Any, likes: Path, tmp_path: Path
) -> None:
    named = Trainer(str(base), Config(tmp_path / "named", **SMALL), str(likes))
    steps = [step.step for step in named.steps()]
    assert steps == [1, 2, 3, 4]
    renamed = dataset.rename_column("image", "completion")
    given = Trainer(model=pipeline_of(base), config=Config(tmp_path / "given", **SMALL), feedback=renamed)
    last = given.train()
    assert last is not None and last.step == 4
    assert _held_out(tmp_path / "named") == _held_out(tmp_path / "given")
    assert equal(tmp_path / "named", tmp_path / "given")

    verdict = given.evaluate(scorers="red")
    assert verdict is not None and verdict["decision"] in given.report().read_text().lower()
    card = (tmp_path / "given" / "lora" / "README.md").read_text()
    assert verdict["sentence"] in card
    assert given.load("cpu").family.name == "Stable Diffusion"


def _held_out(run: Path) -> set[tuple[str, bool]]:
    from thumbtune.training import records

    return {(row["prompt"], row["held_out"]) for row in records.read_labels(run, ("prompt", "held_out"))}


@pytest.mark.slow
def test_a_pipeline_in_half_precision_is_trained_as_its_folder_and_not_changed(
    base: Path, likes: Path, tmp_path: Path
) -> None:
    pipeline = pipeline_of(base, torch.float16)
    before = {name: value.clone() for name, value in pipeline.unet.state_dict().items()}
    Trainer(pipeline, Config(tmp_path / "given", **SMALL), str(likes)).train()
    pipeline.save_pretrained(tmp_path / "saved")
    Trainer(str(tmp_path / "saved"), Config(tmp_path / "named", **SMALL), str(likes)).train()
    assert equal(tmp_path / "given", tmp_path / "named")
    after = pipeline.unet.state_dict()
    assert after.keys() == before.keys() and all(torch.equal(after[key], before[key]) for key in before)
    assert pipeline.unet.dtype == torch.float16


@pytest.mark.slow
def test_a_training_that_was_left_is_resumed_and_ends_where_a_whole_one_does(
    base: Path, dataset: Any, tmp_path: Path
) -> None:
    pipeline = pipeline_of(base)
    Trainer(pipeline, Config(tmp_path / "whole", **SMALL), dataset).train()
    config = Config(tmp_path / "broken", **SMALL)
    for step in Trainer(pipeline, config, dataset).steps():
        if step.step == 1:
            break
    with refused("run-exists", UsageError):
        Trainer(pipeline, config, dataset).train()
    last = Trainer(pipeline, config, dataset).train(resume=True)
    assert last is not None and last.step == 4 and equal(tmp_path / "whole", tmp_path / "broken")
    with torch.no_grad():
        next(pipeline.unet.parameters()).add_(1)
    with refused("trainer-other-pipeline"):
        Trainer(pipeline, config, dataset).train(resume=True)


def test_a_pipeline_with_a_lora_is_refused(base: Path, tmp_path: Path) -> None:
    from peft import LoraConfig

    pipeline = pipeline_of(base)
    pipeline.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q"]))
    with refused("trainer-has-lora", UsageError, naming="unet"):
        Trainer(pipeline, Config(tmp_path / "run"))
    pipeline.unload_lora_weights()
    assert Trainer(pipeline, Config(tmp_path / "run")).recipe.model.startswith(str(tmp_path / "run" / "base"))
    with refused("trainer-no-pipeline", UsageError, naming="UNet2DConditionModel"):
        Trainer(pipeline.unet, Config(tmp_path / "run"))


@pytest.mark.slow
def test_an_objective_of_the_program_is_trained_with(base: Path, likes: Path, tmp_path: Path) -> None:
    weak, strong = (
        Trainer(str(base), Config(tmp_path / str(strength), **SMALL), str(likes), objective=Pull(strength))
        for strength in (3.0, 6.0)
    )
    first, other = next(iter(weak.steps())), next(iter(strong.steps()))
    # at the first step the policy is the reference, so losses are 0, and the gradient is in proportion to the strength
    assert first.loss == other.loss == 0 and first.grad_norm is not None
    assert other.grad_norm == pytest.approx(2 * first.grad_norm, rel=1e-4)
    assert weak.train(resume=True).step == 4  # type: ignore[union-attr]
    assert "an objective of one's own" in (tmp_path / "3.0" / "lora" / "README.md").read_text()
    with refused("plugin-of-program", UsageError, naming="Pull"):
        list(thumbtune.train(tmp_path / "6.0" / "recipe.yaml", tmp_path / "6.0", resume=True))


def test_an_objective_of_ours_becomes_options_of_the_recipe(tmp_path: Path) -> None:
    def recipe_of(given: Any, **options: Any) -> Any:
        trainer = Trainer(config=Config(tmp_path / "run", **options), objective=given)
        assert trainer.objective is None
        return trainer.recipe.objective

    own = recipe_of(KTO(beta=500.0, utility=loss_averse, disliked_weight=0.5))
    assert (own.name, own.beta, own.utility, own.disliked_weight) == ("kto", 500.0, "loss-averse", 0.5)
    assert recipe_of(DPO(beta=20.0)).beta == 20 and recipe_of(CSFT()).name == "csft"
    assert recipe_of(KTO(beta=1.0), beta="auto").beta == "auto"
    with refused("config-option-twice", UsageError, naming="objective.beta"):
        recipe_of(KTO(beta=1.0), beta=5)
    with refused("config-option-twice", UsageError, naming="objective.name"):
        recipe_of(DPO(beta=1.0), objective="kto")


def test_what_is_no_objective_is_refused(tmp_path: Path) -> None:
    for thing in (KTO, "kto", lambda judged: judged):
        with refused("objective-incomplete", UsageError):
            Trainer(config=Config(tmp_path / "run"), objective=thing)


def test_options_are_named_as_in_a_recipe_or_as_in_trl() -> None:
    config = Config(
        "runs/first", max_steps=7, learning_rate=1e-4, desirable_weight=2, save_steps=3, bf16=True, fp16=False, seed=5
    )
    assert config.options == {
        "train.steps": 7,
        "train.lr": 1e-4,
        "objective.liked_weight": 2,
        "train.checkpoint_every": 3,
        "train.precision": "bf16",
        "seed": 5,
    }
    recipe = Config("x", steps=7, objective="dpo", lora={"rank": 8}, evaluate={"steps": 3}).recipe()
    assert (recipe.train.steps, recipe.objective.name, recipe.lora.rank) == (7, "dpo", 8)
    assert recipe.evaluate.steps == 3


def test_options_that_mean_something_else_here_are_refused_with_ours() -> None:
    with refused("recipe-unknown-option", UsageError, naming=["per_device_train_batch_size", "train.batch"]):
        Config("x", per_device_train_batch_size=4)
    with refused("recipe-unknown-option", UsageError, naming="num_train_epochs"):
        Config("x", num_train_epochs=4)
    with refused("config-option-twice", UsageError, naming="train.steps"):
        Config("x", steps=4, max_steps=5)
    with refused("config-of-trainer", UsageError, naming="feedback"):
        Config("x", likes="likes")
    with refused("recipe-value", UsageError, naming="train.lr"):
        Trainer(config=Config("x", lr=-1))


def test_rows_and_pillow_images_are_feedback_too(tmp_path: Path) -> None:
    rows = [
        {"completion": Image.new("RGB", (16, 16), (20 * i, 0, 0)), "prompt": f"thing {i}", "label": i % 2 == 0}
        for i in range(4)
    ]
    assert dataset_of(rows).column_names == ["image", "prompt", "label"]
    from thumbtune.feedback.store.store import Store
    from thumbtune.runs.given_feedback import write_store

    for _ in range(2):  # the same rows again add nothing
        write_store(rows, tmp_path / "likes")
        with Store.open(tmp_path / "likes") as store:
            assert (store.counts().likes, store.counts().dislikes) == (2, 2)


def test_feedback_without_a_column_or_of_several_splits_is_refused(dataset: Any) -> None:
    from datasets import DatasetDict

    with refused("feedback-no-column", UsageError, naming="label"):
        dataset_of(dataset.remove_columns("label"))
    with refused("feedback-has-splits", UsageError, naming="train"):
        dataset_of(DatasetDict({"train": dataset}))
    with refused("feedback-empty", UsageError):
        dataset_of([])


def test_rows_that_cannot_be_used_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from thumbtune.runs.given_feedback import write_store

    good = {"image": Image.new("RGB", (16, 16)), "prompt": "a cat", "label": True}
    write_store([good, {**good, "prompt": ""}], tmp_path / "likes")
    assert "1 row of the feedback was left out" in caplog.text and "it has no prompt" in caplog.text


@pytest.mark.slow
def test_a_guard_stops_a_trainer_and_the_best_checkpoint_is_the_result(base: Path, likes: Path, tmp_path: Path) -> None:
    from thumbtune.training.trainer import TrainingBroke, WentWrong

    options = {**SMALL, "lr": 1e6, "steps": 40}
    with pytest.raises((WentWrong, TrainingBroke)):
        Trainer(str(base), Config(tmp_path / "run", **options), str(likes)).train()
    stopped = json.loads((tmp_path / "run" / "stopped.json").read_text())
    assert stopped["best"] < stopped["step"] and (tmp_path / "run" / "lora" / FILE).is_file()


@pytest.mark.slow
def test_notes_of_a_training_are_warnings_once_each(base: Path, likes: Path, tmp_path: Path) -> None:
    from thumbtune.runs import run

    config = Config(tmp_path / "run", **{**SMALL, "steps": 2, "warmup": 10, "cooldown": 20})
    trainer = Trainer(str(base), config, str(likes))
    with pytest.warns(thumbtune.ThumbtuneWarning, match=r"exceed the 2 steps") as told:
        trainer.train()
    sentences = [str(one.message) for one in told if one.category is thumbtune.ThumbtuneWarning]
    assert sentences == run.notes_of(tmp_path / "run") and len({*sentences}) == len(sentences) > 1
    with pytest.warns(thumbtune.ThumbtuneWarning, match=r"exceed the 2 steps") as again:
        next(thumbtune.train(trainer.recipe, tmp_path / "again"))
    ours = [one for one in [*told, *again] if one.category is thumbtune.ThumbtuneWarning]
    assert {one.filename for one in ours} == {__file__}  # the user's own line, and none of the package
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    assert {lines[one.lineno - 1].strip() for one in ours} == {
        "trainer.train()",
        'next(thumbtune.train(trainer.recipe, tmp_path / "again"))',
    }

    with refused("recipe-value", UsageError, naming="The evaluation") as error:
        trainer.evaluate(per_prompt="many")
    assert "recipe.yaml" not in str(error.value)
    with refused("evaluate-prompts-no-texts", UsageError):
        trainer.evaluate(prompts=[])
    found = trainer.evaluate(prompts=["a star", "a fish"], scorers="red")
    assert found is not None and found["settings"] == ["evaluate.scorers=red"]
    from thumbtune.evaluation.duel_folder import read_duel

    images = read_duel(tmp_path / "run" / "evaluation").images.values()
    assert {row["words"] for row in images} == {"a star", "a fish"}


def test_a_config_may_be_a_mapping_and_arguments_of_trl_are_answered(tmp_path: Path) -> None:
    assert Trainer(config={"output_dir": tmp_path / "run", "steps": 2}).recipe.train.steps == 2
    with refused("trainer-no-config", UsageError, naming="Config("):
        Trainer(config="runs/first")  # type: ignore[arg-type]
    with refused("trainer-no-argument", UsageError, naming=["args", "config"]):
        Trainer(args=Config("x"))
    with refused("trainer-no-argument", UsageError, naming=["train_dataset", "feedback"]):
        Trainer(train_dataset=[])
    with refused("recipe-unknown-option", UsageError, naming=["lora={'r': ...}", "lora.rank"]):
        Config("x", lora={"r": 16})
    with refused("recipe-unknown-option", UsageError, naming=["Config takes no num_train_epochs", "train.steps"]):
        Config("x", num_train_epochs=3)
    with refused("config-option-twice", UsageError, naming="objective.beta") as error:
        Trainer(config=Config("x", beta=100), objective=Steep())
    assert "as Steep(beta=100)" in str(error.value)


@pytest.mark.parametrize(
    ("option", "code", "words"),
    [
        ("logging_steps", "config-not-here", "steps.jsonl"),
        ("remove_unused_columns", "config-not-here", "columns"),
        ("lr_scheduler_type", "config-not-here", "cooldown"),
        ("per_device_eval_batch_size", "config-not-here", "micro_batch"),
        ("precompute_ref_log_probs", "config-not-here", "noise_draws=N"),
        ("learning_rat", "recipe-unknown-option", "did you mean learning_rate?"),
        ("max_step", "recipe-unknown-option", "did you mean max_steps?"),
    ],
)
def test_options_of_trl_that_are_not_here_are_answered(option: str, code: str, words: str) -> None:
    with refused(code, UsageError, naming=[option, words]):
        Config("x", **{option: 1})


@pytest.mark.parametrize(
    ("sentence", "in_words"),
    [
        ("add likes, as with `thumbtune import FOLDER --label like`.", "add likes to the feedback."),
        (
            "x has no likes; import some with `thumbtune import FOLDER --likes x`.",
            "x has no likes; add rows with a label to the feedback.",
        ),
        ("continue with --resume --set train.guards=false.", "continue with resume=True and guards=False."),
        (
            "--set train.lr=0: too low; with --set evaluate.scorers=red.",
            "train.lr=0: too low; with evaluate.scorers=red.",
        ),
    ],
)
def test_errors_of_python_name_no_option_of_the_command_line(sentence: str, in_words: str) -> None:
    from thumbtune.runs.python_api import in_words_of_python

    with refused("some-code", UsageError) as error, in_words_of_python():
        raise UsageError(sentence, code="some-code")
    assert str(error.value) == in_words


def test_labels_of_two_types_are_refused_with_the_row_and_both_types() -> None:
    from thumbtune.runs.given_feedback import dataset_of

    rows = [{"image": b"", "prompt": "a cat", "label": label} for label in (None, True, False, "like")]
    with refused("feedback-mixed-labels", UsageError, naming=["row 4", "'like'", "str", "row 2", "bool"]):
        dataset_of(rows)


def test_methods_of_trl_are_answered(tmp_path: Path) -> None:
    trainer = Trainer(config={"output_dir": tmp_path / "run", "steps": 2})
    with refused("trainer-no-argument", UsageError, naming=["resume_from_checkpoint", "trainer.train(resume=True)"]):
        trainer.train(resume_from_checkpoint=True)
    with refused("trainer-saves-itself", UsageError, naming=str(tmp_path / "run")):
        trainer.save_model("elsewhere")
    with refused("trainer-no-repository", UsageError, naming='push_to_hub("user/name")'):
        trainer.push_to_hub()


def test_an_import_that_fails_speaks_of_rows_and_not_of_the_command_line(tmp_path: Path) -> None:
    from thumbtune.runs.given_feedback import in_python, write_store

    rows = [{"image": Image.new("RGB", (16, 16)), "prompt": "a cat", "label": stars} for stars in (5, 3)]
    with refused("import-no-usable-row", naming=["The feedback contains", "row['label'] >= 4"]) as error:
        write_store(rows, tmp_path / "likes")
    assert "--" not in str(error.value) and "arrow" not in str(error.value) and "/tmp" not in str(error.value)
    told = (
        "its label 'meh' is neither like nor dislike; give its meaning, as in --map-label 'meh=like', or name another "
        "column, as in --map label=opinion"
    )
    assert in_python(told).endswith("make it true or false, as in row['label'] == 'meh'")


@pytest.mark.slow
def test_the_card_of_rows_without_raters_counts_no_people(base: Path, rows: list[Any], tmp_path: Path) -> None:
    from thumbtune.runs import model_card

    def opened(file: str) -> Image.Image:
        with Image.open(file) as image:
            return image.copy()

    rows = [{**row, "image": opened(row["image"])} for row in rows]
    for name, given in (("unnamed", rows), ("named", [{**row, "rater": "ada"} for row in rows])):
        trainer = Trainer(str(base), Config(tmp_path / name, **{**SMALL, "steps": 1}), given)
        trainer.train()
        text = model_card.text_of(model_card.facts_of(tmp_path / name))
        assert ("They come from 1 person" in text) == (name == "named")

"""Options have the defaults of the model's family, and a recipe says which and why."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from refusals import refused

import thumbtune
from thumbtune.runs import build, plan
from thumbtune.runs.family_defaults import OF_AUTO, SD1, SD2, SDXL, family_of, refuse_unknown_family
from thumbtune.runs.recipe import Recipe, chosen_for_model, parse_recipe, read_recipe, recipe_text, write_recipe
from thumbtune.runs.recipe_sections import ObjectiveSection, TrainSection
from thumbtune.runs.sampler_defaults import precision_for, sampler_for

Call = Callable[..., tuple[int, str, str]]
SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"


def folder_of(tmp_path: Path, **unet: Any) -> str:
    (tmp_path / "model" / "unet").mkdir(parents=True)
    (tmp_path / "model" / "unet" / "config.json").write_text(json.dumps(unet))
    return str(tmp_path / "model")


@pytest.mark.parametrize(
    ("unet", "family"),
    [
        ({"cross_attention_dim": 768}, SD1),
        ({"cross_attention_dim": 1024}, SD2),
        ({"cross_attention_dim": 2048, "addition_embed_type": "text_time"}, SDXL),
        ({"cross_attention_dim": 32}, None),
        ({"cross_attention_dim": [768, 768]}, None),
        ({}, None),
    ],
)
def test_the_unet_of_a_folder_tells_its_family(tmp_path: Path, unet: dict[str, Any], family: str | None) -> None:
    assert family_of(folder_of(tmp_path, **unet)) == family


@pytest.mark.parametrize(
    ("name", "family"),
    [
        (SD15, SD1),
        ("someone/a-fine-tune", None),
        ("CompVis/stable-diffusion-v1-4", SD1),
        ("stabilityai/stable-diffusion-2-1", SD2),
        ("stabilityai/stable-diffusion-xl-base-1.0", SDXL),
        ("someone/RealVisXL_V4.0", SDXL),
        ("someone/sd_xl_base", SDXL),
        ("someone/sdxlturbo", SDXL),
        ("maxlab/photoreal", None),
        ("someone/maxlike", None),
        ("someone-xl/a-fine-tune", None),
        ("stable-diffusion-v1-5/a-fine-tune", None),
        ("PixArt-alpha/PixArt-XL-2-1024-MS", None),
        ("PixArt-alpha/PixArt-Sigma-XL-2-512-MS", "PixArt-Sigma"),
        ("black-forest-labs/FLUX.2-klein-base-9B", "FLUX.2 Klein"),
        ("someone/flux.2-dev-of-mine", "FLUX.2"),
        ("Wan-AI/Wan2.2-TI2V-5B-Diffusers", "Wan"),
        ("flux.1/something-else", None),
        ("tiny-emoji-64", None),
        ("runs/a/b", None),
        ("", None),
    ],
)
def test_a_model_that_is_not_here_has_the_family_of_its_name(name: str, family: str | None) -> None:
    assert family_of(name) == family


def test_the_hubs_cache_knows_better_than_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Path(folder_of(tmp_path, cross_attention_dim=1024)) / "unet" / "config.json"
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda name, file: str(config))
    assert family_of("someone/looks-like-xl") == SD2


def test_an_index_knows_better_than_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = tmp_path / "model_index.json"
    index.write_text(json.dumps({"_class_name": "SomeOtherPipeline"}))
    found = {"model_index.json": str(index)}
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda name, file: found.get(file))
    assert family_of("someone/qwen-image-of-another-kind") is None


def test_a_name_that_tells_nothing_shows_no_defaults_as_the_models(call: Call, tmp_path: Path) -> None:
    name = "someone/a-fine-tune"
    assert chosen_for_model(Recipe(model=name)) == chosen_for_model(Recipe())
    code, out, err = call("recipe", "--set", f"model={name}", "--set", "train.lr=1e-5")
    assert (code, out) == (1, "") and name in err and "train.steps" in err and "train.lr" not in err
    (tmp_path / "whole.yaml").write_text(recipe_text(Recipe(model=name)))  # names every option
    assert call("recipe", tmp_path / "whole.yaml")[0] == 0
    with refused("recipe-family-unknown", naming=[name, "evaluate.guidance"]):
        refuse_unknown_family({"model": name, "train": {"weights": "full"}})


def test_a_plan_names_the_owner_of_each_default() -> None:
    assert [line.partition(" (")[0] for line in plan._defaults(Recipe())] == ["defaults    of beta auto"]
    sdxl = Recipe(model="stabilityai/stable-diffusion-xl-base-1.0")
    owners = [line.partition(" (")[0].removeprefix("defaults    of ") for line in plan._defaults(sdxl)]
    assert set(owners) == {default.of for default in chosen_for_model(sdxl).values()} >= {SDXL}


def test_no_training_begins_with_the_defaults_of_another_model() -> None:
    name = "Lykon/dreamshaper-8"
    recipe = read_recipe(None, [f"model={name}"])
    calls = (
        lambda: build.check_model(recipe),
        lambda: next(plan.lines(recipe, Path("run"))),
        lambda: next(plan.model_lines(recipe, Path("run"))),
        lambda: next(thumbtune.train(recipe, "run")),
        lambda: next(thumbtune.train([f"model={name}"], "run")),
    )
    for call in calls:
        with refused("recipe-family-unknown", naming=[name, "train.lr"]):
            call()
    build.check_model(parse_recipe(recipe.model_dump(), "here"))  # names every option


def test_a_hub_that_answers_only_later_does_not_hide_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "someone/a-fine-tune"
    late = read_recipe(None, [f"model={name}"])
    config = Path(folder_of(tmp_path, cross_attention_dim=768)) / "unet" / "config.json"
    found = {"unet/config.json": str(config)}
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda name, file: found.get(file))
    assert family_of(name) == SD1 and late.train.lr == TrainSection().lr
    with refused("recipe-family-unknown", naming=[name, "train.lr"]):
        refuse_unknown_family(late.model_dump(exclude_unset=True))
    refuse_unknown_family(read_recipe(None, [f"model={name}"]).model_dump(exclude_unset=True))
    config.write_text(json.dumps({"cross_attention_dim": 32}))  # of no family, so the bundled model's are all there are
    refuse_unknown_family(late.model_dump(exclude_unset=True))


PLAIN = (0.8, 1.0, [0.0, 1.0], 1.0)
OF_BETA_AUTO = (0.5, 3.0, [0.5, 1.0], 0.5)


def levers(recipe: Recipe) -> tuple[object, ...]:
    """The liked share, the bias, the window of dislikes, and the gain scale."""
    train = recipe.train
    return train.liked_share, train.timestep_bias, train.disliked_timesteps, recipe.objective.gain_scale


def test_the_bundled_model_keeps_the_defaults_of_the_sections_but_for_beta_auto() -> None:
    plain = read_recipe(None, ["objective.beta=250"])
    assert plain.train == TrainSection() and plain.objective == ObjectiveSection(beta=250)
    assert chosen_for_model(plain) == {}
    bundled = Recipe(model=build.model_path("tiny-emoji-64"))
    assert bundled == Recipe(model=bundled.model, train=Recipe().train)
    assert set(chosen_for_model(bundled)) == set(OF_AUTO)
    assert all(why.sentence.startswith("Default of beta auto: ") for why in chosen_for_model(bundled).values())


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ((), OF_BETA_AUTO),
        (("objective.beta=250",), PLAIN),
        (("objective.name=dpo",), PLAIN),
        (("objective.name=sft",), PLAIN),
        (("objective.name=bco",), PLAIN),
        (("objective.log_ratio=relative",), PLAIN),
        ((f"model={SD15}",), PLAIN),  # the paper's beta
        ((f"model={SD15}", "objective.beta=auto"), OF_BETA_AUTO),
        ((f"model={SD15}", "objective.gain_scale=2"), (*OF_BETA_AUTO[:3], 2.0)),
        (("model=black-forest-labs/FLUX.1-dev",), PLAIN),  # nothing was measured on transformers
        (("train.liked_share=0.7",), (0.7, *OF_BETA_AUTO[1:])),
        (("train.disliked_timesteps=[0,1]",), (0.5, 3.0, [0.0, 1.0], 0.5)),
    ],
)
def test_beta_auto_has_its_own_noise_levels_and_share_of_likes(
    settings: tuple[str, ...], expected: tuple[object, ...]
) -> None:
    assert levers(read_recipe(None, list(settings))) == expected


@pytest.mark.parametrize("setting", ["objective.beta=80", "objective.name=dpo", "objective.name=sft"])
def test_the_recipe_of_a_run_with_beta_auto_takes_another_objective(setting: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(recipe_text(Recipe()))
    assert levers(read_recipe(tmp_path / "recipe.yaml", [setting])) == PLAIN
    assert levers(read_recipe(tmp_path / "recipe.yaml", ["objective.beta=auto", "train.steps=3"])) == OF_BETA_AUTO


def test_what_a_person_set_in_a_file_stays_when_beta_becomes_a_number(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("train:\n  timestep_bias: 2\n  liked_share: 0.6\n")
    found = levers(read_recipe(tmp_path / "recipe.yaml", ["objective.beta=80"]))
    assert found == (0.6, 2.0, [0.0, 1.0], 1.0)


def test_sd_15_has_the_papers_objective_and_the_rate_of_a_lora() -> None:
    recipe = read_recipe(None, [f"model={SD15}"])
    assert (recipe.objective.beta, recipe.train.liked_share) == (5000, 0.8)
    assert (recipe.train.lr, recipe.train.steps, recipe.train.warmup, recipe.train.cooldown) == (1e-4, 500, 50, 100)
    assert (recipe.train.precision, recipe.train.micro_batch, recipe.train.gradient_checkpointing) == (
        *("auto", "auto"),
        True,
    )
    assert (recipe.evaluate.guidance, recipe.evaluate.steps) == (7.5, 50)
    assert recipe == Recipe(model=SD15) == parse_recipe({"model": SD15}, "here")


def test_what_a_recipe_names_stays() -> None:
    recipe = read_recipe(None, [f"model={SD15}", "train.steps=40", "train.lr=3e-4", "objective.beta=auto"])
    assert (recipe.train.steps, recipe.train.lr, recipe.objective.beta) == (40, 3e-4, "auto")
    assert (recipe.train.warmup, recipe.train.cooldown) == (4, 8)
    assert Recipe(model=SD15, train=TrainSection(lr=2e-5)).train.lr == 2e-5
    assert Recipe(model=SD15, train=TrainSection(lr=2e-5)).train.precision == "auto"


def test_all_weights_are_trained_as_in_the_paper() -> None:
    train = read_recipe(None, [f"model={SD15}", "train.weights=full"]).train
    assert (train.lr, train.steps, train.batch, train.warmup, train.cooldown) == (1e-7, 10_000, 8, 1000, 0)


@pytest.mark.parametrize("name", ["sft", "csft", "bco", "my_file.py:Own"])
def test_an_objective_without_the_papers_beta_keeps_its_own(name: str) -> None:
    assert read_recipe(None, [f"model={SD15}", f"objective.name={name}"]).objective.beta == "auto"


def test_a_gain_scale_asks_for_beta_auto() -> None:
    assert read_recipe(None, [f"model={SD15}", "objective.gain_scale=2"]).objective.beta == "auto"


def test_the_papers_recipes_stay_literal() -> None:
    recipe = read_recipe(Path("paper"))
    literal = yaml.safe_load((Path(build.__file__).parents[1] / "recipes" / "paper.yaml").read_text())
    for section in ("objective", "train", "evaluate"):
        for option, value in literal[section].items():
            assert getattr(getattr(recipe, section), option) == value, option


def test_a_written_recipe_gives_the_reasons_and_reads_back_equal(tmp_path: Path) -> None:
    recipe = read_recipe(None, [f"model={SD15}", "train.lr=1e-5"])
    text = recipe_text(recipe)
    assert "  # Default of SD 1.x: as in the paper.\n  beta: 5000.0" in text
    assert "Default of SD 1.x" not in text.split("  lr: ")[0].splitlines()[-1]
    assert set(chosen_for_model(recipe)) == {
        *("objective.beta", "train.steps", "train.micro_batch", "train.warmup", "train.cooldown", "train.precision"),
        *("train.gradient_checkpointing", "evaluate.guidance", "evaluate.steps"),
    }
    (tmp_path / "recipe.yaml").write_text(text)
    assert read_recipe(tmp_path / "recipe.yaml") == recipe


@pytest.mark.parametrize("value", ["0", "-1", "2.5", "all", "true"])
def test_a_micro_batch_is_a_number_or_auto(value: str) -> None:
    from thumbtune.errors import UsageError

    with refused("recipe-value", UsageError, naming=["train.micro_batch"]):
        read_recipe(None, [f"train.micro_batch={value}"])


def test_auto_is_one_image_and_full_precision_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(model=SD15)
    assert build.settings_of(recipe).halve_parts and not build.settings_of(Recipe()).halve_parts
    if build.team().device.type == "cpu":
        assert (build.precision_of(recipe), build.micro_batch_of(recipe)) == ("no", 1)

    class Team:
        """The state of a process on a GPU."""

        device = __import__("torch").device("cuda")
        num_processes = 1

    monkeypatch.setattr(build, "team", Team)
    for has_bf16, precision in ((True, "bf16"), (False, "fp16")):
        monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda has=has_bf16, **_: has)
        assert build.precision_of(recipe) == precision
    assert build.micro_batch_of(recipe) == recipe.train.batch == 32
    Team.num_processes = 2
    assert build.micro_batch_of(recipe) == 2


def test_images_are_generated_as_the_family_is_used(tmp_path: Path) -> None:
    assert (sampler_for([None]).guidance, sampler_for(["tiny-emoji-64"]).steps) == (3.0, 25)
    sampler = sampler_for([None, "tiny-emoji-64", SD15])
    assert (sampler.guidance, sampler.steps) == (7.5, 50)
    assert sampler_for(["stabilityai/stable-diffusion-xl-base-1.0"]).guidance == 5.0
    assert sampler_for([SD15], steps=10, guidance=0.0).guidance == 0.0
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "recipe.yaml").write_text(recipe_text(Recipe(model=SD15)))
    assert sampler_for([tmp_path / "run"]).steps == 50
    assert sampler_for([tmp_path / "run" / "checkpoints" / "step-000002"]).steps == 50


def test_a_duel_has_the_precision_of_its_run_or_else_of_its_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Team:
        device = torch.device("cuda")
        num_processes = 1

    monkeypatch.setattr(build, "team", Team)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    (tmp_path / "images").mkdir()
    assert precision_for([None, "tiny-emoji-64", tmp_path / "images"]) == "no"
    assert precision_for([tmp_path / "images", SD15]) == "bf16"
    for name, precision in (("first", "no"), ("second", "fp16")):
        (tmp_path / name / "checkpoints").mkdir(parents=True)
        text = recipe_text(Recipe(model=SD15, train=TrainSection(precision=precision)))
        (tmp_path / name / "recipe.yaml").write_text(text)
        assert precision_for([SD15, tmp_path / name, None]) == precision  # of the run, though it comes later
    assert precision_for([tmp_path / "first" / "checkpoints" / "step-000002", tmp_path / "second"]) == "no"


def test_a_recipe_in_the_current_folder_is_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recipe.yaml").write_text("model: stabilityai/stable-diffusion-xl-base-1.0\n")
    monkeypatch.chdir(tmp_path)
    assert sampler_for([SD15]).guidance == 7.5


def test_the_recipe_command_shows_the_reasons(call: Call) -> None:
    code, out, _ = call("recipe", "--set", f"model={SD15}")
    assert code == 0 and "# Default of SD 1.x: usual for a LoRA of this size.\n  lr: 0.0001" in out


@pytest.mark.parametrize("name", ["paper", "paper-sd21", "sdxl"])
def test_a_shipped_recipe_is_read_and_written_back(name: str, tmp_path: Path) -> None:
    recipe = read_recipe(Path(name))
    assert read_recipe(write_recipe(recipe, tmp_path / "copy.yaml")) == recipe


def test_the_recipe_of_sdxl_has_its_defaults() -> None:
    recipe = read_recipe(Path("sdxl"))
    assert (recipe.objective.beta, recipe.evaluate.guidance, recipe.train.micro_batch) == (5000.0, 5.0, "auto")
    assert recipe.train.gradient_checkpointing and recipe.train.weights == "lora"


@pytest.mark.parametrize(
    ("pipeline", "name", "guidance", "steps"),
    [("FluxPipeline", "FLUX.1", 3.5, 28), ("Krea2Pipeline", "Krea 2", 5.5, 28), ("SanaPipeline", "Sana", 4.5, 20)],
)
def test_a_transformer_draws_as_its_pipeline_and_trains_as_a_lora_of_its_size(
    tmp_path: Path, pipeline: str, name: str, guidance: float, steps: int
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
    recipe = Recipe(model=str(tmp_path / "model"))
    assert family_of(recipe.model) == name
    assert (recipe.evaluate.guidance, recipe.evaluate.steps) == (guidance, steps)
    assert (recipe.train.lr, recipe.train.steps, recipe.objective.beta) == (1e-4, 500, "auto")
    assert chosen_for_model(recipe)["evaluate.guidance"].sentence == f"Default of {name}: as in diffusers' pipeline."

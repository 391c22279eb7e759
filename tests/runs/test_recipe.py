"""Recipes: what is read is what was written, and what is refused is refused in one sentence."""

from pathlib import Path

import pytest
import yaml
from refusals import refused

from thumbtune.errors import UsageError
from thumbtune.runs.recipe import Recipe, read_recipe, recipe_options, write_recipe
from thumbtune.runs.renamed import RenamedOption


def test_a_written_recipe_reads_back_the_same(tmp_path: Path) -> None:
    recipe = read_recipe(None, ["train.lr=1e-3", "evaluate.scorers=red", "likes=my likes", "objective.beta=12.5"])
    assert read_recipe(write_recipe(recipe, tmp_path / "recipe.yaml")) == recipe


def test_a_written_recipe_explains_every_option(tmp_path: Path) -> None:
    text = write_recipe(Recipe(), tmp_path / "recipe.yaml").read_text()
    for name, field in recipe_options().items():
        assert field.description, name
        assert f"# {field.description}" in text


def test_the_paper_s_numbers_are_the_defaults_where_they_carry_over() -> None:
    recipe = Recipe()
    assert (recipe.objective.utility, recipe.objective.reference_point) == ("kahneman-tversky", "batch")
    assert recipe.objective.beta == "auto"  # 5000 is for the errors of SD 1.5, and does not carry over
    assert recipe.train.liked_share == 0.5  # beta auto has its own (docs/grounds.md)
    assert read_recipe(None, ["objective.beta=5000"]).train.liked_share == 0.8


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("train.stepz=3", "did you mean train.steps?"),
        ("lr=3", "did you mean train.lr?"),
        ("train.steps", "write it as option=value"),
        ("train.steps=abc", "train.steps is 'abc', but should be a whole number."),
        ("train.steps=2.5", "train.steps is 2.5, but should be a whole number."),
        ("train.lr=fast", "train.lr is 'fast', but should be a number."),
        ("train.flip=perhaps", "train.flip is 'perhaps', but should be true or false."),
        ("train.lr=-1", "train.lr is -1, but should be greater than 0."),
        ("objective.beta=0", "objective.beta is 0, but should be a number greater than 0, or auto."),
        ("objective.beta=-5", "objective.beta is -5, but should be a number greater than 0, or auto."),
        ("objective.beta=.nan", "but should be a number greater than 0, or auto."),
        ("objective.beta=atuo", "objective.beta is 'atuo', but should be a number greater than 0, or auto."),
        ("train.lr=0", "train.lr is 0, but should be greater than 0."),
        ("train.lr=inf", "train.lr is inf, but should be a number of at most 3.4e+38."),
        ("objective.anchor=inf", "objective.anchor is inf, but should be a number of at most 3.4e+38."),
        ("objective.beta=1e40", "objective.beta is 1e+40, but should be a number of at most 3.4e+38."),
        ("objective.liked_weight=.nan", "objective.liked_weight is nan, but should be greater than or equal to 0."),
        (
            "objective.name=my_file:",
            "objective.name is 'my_file:', but should be kto, bco, dpo, nft, sft or csft",
        ),
        (
            "objective.utility=:mine",
            "objective.utility is ':mine', but should be kahneman-tversky, loss",
        ),
        ("train.ema=1", "train.ema is 1, but should be less than 1."),
        (
            "train.sync_reference_every=-1",
            "train.sync_reference_every is -1, but should be greater than or equal to 0.",
        ),
        ("train.liked_share=1.5", "train.liked_share is 1.5, but should be less than or equal to 1."),
        ("train.liked_share=0", "train.liked_share is 0, but should be greater than 0."),
        ("objective.reference_point=none", "'batch', 'mismatched', 'balanced', 'running' or 'zero'"),
        ("objective.name=ppo", "should be kto, bco, dpo, nft, sft or csft"),
        ("objective.anchor=-1", "objective.anchor is -1, but should be greater than or equal to 0."),
        ("objective.utility=brave", "kahneman-tversky, loss-averse or risk-seeking"),
        ("train.steps=[", "--set train.steps=["),
    ],
)
def test_bad_settings_get_one_sentence(setting: str, said: str) -> None:
    unknown, unreadable = (
        "did you mean" in said or "there is no option" in said,
        "--set" in said or "option=value" in said,
    )
    code = "recipe-unknown-option" if unknown else "recipe-setting" if unreadable else "recipe-value"
    with refused(code, UsageError, naming=said):
        read_recipe(None, [setting])


def test_an_unknown_key_in_a_file_names_the_nearest_known_one(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("train:\n  stepps: 10\n")
    with refused("recipe-unknown-option", UsageError, naming=[file, "train.stepps", "train.steps?"]):
        read_recipe(file)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("- a\n- b\n", "recipe-no-mapping"),
        ("just words", "recipe-no-mapping"),
        ("train: 5\n", "recipe-value"),
        ("a: [\n", "recipe-unreadable"),
        ("\x00", "recipe-unreadable"),
    ],
)
def test_files_that_are_no_recipe_get_one_sentence(tmp_path: Path, text: str, code: str) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    with refused(code, UsageError, naming=file):
        read_recipe(file)


def test_the_paper_s_recipe_has_the_paper_s_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "paper").mkdir()  # a folder of that name is no recipe
    recipe = read_recipe(Path("paper"))
    assert (recipe.objective.beta, recipe.objective.utility, recipe.objective.reference_point) == (
        5000,
        "kahneman-tversky",
        "batch",
    )
    t = recipe.train
    assert (t.weights, t.batch, t.steps, t.warmup, t.lr) == ("full", 8, 10_000, 1000, 1e-7)
    assert (t.liked_share, t.prompt_dropout, t.max_grad_norm, t.weight_decay, t.validation_share) == (
        0.8,
        0.2,
        1,
        0.01,
        0,
    )
    assert (t.cooldown, t.ema, t.sync_reference_every) == (0, 0, 0)
    assert read_recipe(Path("paper"), ["train.steps=20"]).train.steps == 20
    Path("paper.yaml").write_text("seed: 3")
    assert read_recipe(Path("paper.yaml")).seed == 3  # a file is read as what it is


def test_a_full_training_refuses_the_options_of_a_lora() -> None:
    with refused("option-unused", UsageError, naming=["train.weights", "lora"]):
        read_recipe(None, ["train.weights=full", "lora.rank=64"])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with refused("recipe-unreadable", UsageError, naming=tmp_path / "none.yaml"):
        read_recipe(tmp_path / "none.yaml")


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("")
    assert read_recipe(file) == Recipe()


def test_settings_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump({"train": {"steps": 7, "batch": 3}}))
    recipe = read_recipe(file, ["train.steps=9"])
    assert (recipe.train.steps, recipe.train.batch) == (9, 3)


def test_bco_has_its_own_reference_point_and_refuses_what_it_has_no_use_for() -> None:
    assert read_recipe(None, ["objective.name=bco"]).objective.reference_point == "balanced"
    assert (
        read_recipe(None, ["objective.name=bco", "objective.reference_point=zero"]).objective.reference_point == "zero"
    )
    for name in ("dpo", "sft", "csft"):  # no second pass for a point that nothing asks for
        assert read_recipe(None, [f"objective.name={name}"]).objective.reference_point == "zero"
    for name in ("sft", "csft"):
        with refused("option-unused", UsageError, naming=[name, "objective.anchor"]):
            read_recipe(None, [f"objective.name={name}", "objective.anchor=3"])
    for name in ("bco", "dpo", "sft", "csft"):
        with refused("option-unused", UsageError, naming=[f"The recipe: {name} ", "objective.liked_weight"]):
            read_recipe(None, [f"objective.name={name}", "objective.liked_weight=3"])


@pytest.mark.parametrize(
    ("settings", "values"),
    [
        (["objective.name=sft", "objective.beta=5"], ["sft", "objective.beta", "auto"]),
        (["objective.name=csft", "objective.beta=5000"], ["csft", "objective.beta", "auto"]),
        (["objective.name=sft", "train.liked_share=0.2"], ["sft", "train.liked_share", "0.8"]),
        (["objective.beta=3", "objective.gain_scale=2"], ["beta", "objective.gain_scale"]),
        (["objective.name=bco", "objective.disliked_weight=2"], ["bco", "objective.disliked_weight", "1.0"]),
        (["objective.name=dpo", "train.liked_share=1"], ["dpo", "train.liked_share", "0.8"]),
    ],
)
def test_options_that_would_change_nothing_are_refused(settings: list[str], values: list[str]) -> None:
    with refused("option-unused", UsageError, naming=["The recipe: ", *values]):
        read_recipe(None, settings)


def test_the_paper_s_recipe_becomes_that_of_sft_without_its_beta(tmp_path: Path) -> None:
    for name in ("sft", "csft"):
        recipe = read_recipe(Path("paper"), [f"objective.name={name}"])  # as docs/paper.md says for the tables
        assert (recipe.objective.beta, recipe.objective.reference_point, recipe.train.lr) == ("auto", "zero", 1e-7)
        assert read_recipe(write_recipe(recipe, tmp_path / "recipe.yaml")) == recipe
        with refused("option-unused", UsageError, naming=[name, "objective.beta"]):
            read_recipe(Path("paper"), [f"objective.name={name}", "objective.beta=3"])
    dpo = read_recipe(Path("paper"), ["objective.name=dpo"])
    assert (dpo.objective.beta, dpo.objective.reference_point) == (5000, "zero")
    assert read_recipe(Path("paper"), ["objective.name=kto"]) == read_recipe(Path("paper"))


def test_a_long_path_with_spaces_comes_back(tmp_path: Path) -> None:
    path = "/home/some user/" + "with a rather long name of a folder/" * 6 + "prompts.txt"
    recipe = read_recipe(None, [f"evaluate.prompts={path}", f"likes={path}"])
    assert read_recipe(write_recipe(recipe, tmp_path / "recipe.yaml")) == recipe


# --- options of earlier versions


def test_a_removed_option_at_the_value_that_changed_nothing_loads_with_a_note(tmp_path: Path) -> None:
    file = tmp_path / "old.yaml"
    file.write_text("objective:\n  disliked_floor: 0.0\n")
    with pytest.warns(RenamedOption, match="objective.disliked_floor is no longer an option"):
        assert read_recipe(file) == Recipe()
    with pytest.warns(RenamedOption, match="objective.disliked_floor is no longer an option"):
        assert read_recipe(None, ["objective.disliked_floor=0"]) == Recipe()


def test_a_removed_option_with_another_value_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "old.yaml"
    file.write_text("objective:\n  disliked_floor: 0.5\n")
    named = ["objective.disliked_floor", 0.5, "docs/own-objective.md"]
    with refused("recipe-removed-option", UsageError, naming=[file, *named]):
        read_recipe(file)
    with refused("recipe-removed-option", UsageError, naming=["--set objective.disliked_floor=0.5", *named]):
        read_recipe(None, ["objective.disliked_floor=0.5"])


@pytest.mark.parametrize(
    ("option", "given", "read"),
    [
        ("train.timestep_weighting", "sigma_sqrt", "sigma-sqrt"),
        ("train.timestep_density", "logit_normal", "logit-normal"),
        ("train.optimizer", "adamw_8bit", "adamw-8bit"),
        ("lora.targets", "attention_and_feed_forward", "attention-and-feed-forward"),
        ("objective.utility", "loss_averse", "loss-averse"),
        ("objective.utility", "my_file.py:loss_averse", "my_file.py:loss_averse"),
    ],
)
def test_words_with_underscores_are_those_with_hyphens(option: str, given: str, read: str) -> None:
    section, _, name = option.partition(".")
    assert getattr(getattr(read_recipe(None, [f"{option}={given}"]), section), name) == read
    if read != given:
        with refused("recipe-value", UsageError, naming=[option, f"{given}x"]):
            read_recipe(None, [f"{option}={given}x"])

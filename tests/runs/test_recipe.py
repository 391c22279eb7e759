"""Recipes: what is read is what was written, and what is refused is refused in one sentence."""

from pathlib import Path

import pytest
import yaml

from thumbtune.errors import UsageError
from thumbtune.runs import recipe as config


def test_a_written_recipe_reads_back_the_same(tmp_path: Path) -> None:
    recipe = config.read(None, ["train.lr=1e-3", "evaluate.scorers=red", "likes=my likes", "objective.beta=12.5"])
    assert config.read(config.write(recipe, tmp_path / "recipe.yaml")) == recipe


def test_a_written_recipe_explains_every_option(tmp_path: Path) -> None:
    text = config.write(config.Recipe(), tmp_path / "recipe.yaml").read_text()
    for name, field in config.options().items():
        assert field.description, name
        assert f"# {field.description}" in text


def test_the_paper_s_numbers_are_the_defaults_where_they_carry_over() -> None:
    recipe = config.Recipe()
    assert (recipe.objective.utility, recipe.objective.reference_point) == ("kahneman-tversky", "batch")
    assert recipe.objective.beta == "auto"  # 5000 is for the errors of SD 1.5, and does not carry over
    assert recipe.train.liked_share == 0.8


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("train.stepz=3", "did you mean train.steps?"),
        ("lr=3", "did you mean train.lr?"),
        ("train.steps", "write it as option=value"),
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
            "objective.name is 'my_file:', but should be kto, bco, dpo, sft or csft",
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
        ("objective.name=ppo", "should be kto, bco, dpo, sft or csft"),
        ("objective.anchor=-1", "objective.anchor is -1, but should be greater than or equal to 0."),
        ("objective.utility=brave", "kahneman-tversky, loss-averse or risk-seeking, or something in your own file"),
        ("train.steps=[", "the value cannot be read"),
    ],
)
def test_bad_settings_get_one_sentence(setting: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        config.read(None, [setting])
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_key_in_a_file_names_the_nearest_known_one(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("train:\n  stepps: 10\n")
    with pytest.raises(UsageError, match=r"there is no option train\.stepps; did you mean train\.steps\?"):
        config.read(file)


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words", "train: 5\n", "a: [\n", "\x00"])
def test_files_that_are_no_recipe_get_one_sentence(tmp_path: Path, text: str) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    with pytest.raises(UsageError) as error:
        config.read(file)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_the_paper_s_recipe_has_the_paper_s_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "paper").mkdir()  # a folder of that name is no recipe
    recipe = config.read(Path("paper"))
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
    assert config.read(Path("paper"), ["train.steps=20"]).train.steps == 20
    Path("paper.yaml").write_text("seed: 3")
    assert config.read(Path("paper.yaml")).seed == 3  # a file is read as what it is


def test_a_full_training_refuses_the_options_of_a_lora() -> None:
    with pytest.raises(UsageError, match=r"train\.weights is full, which has no use for the options of lora"):
        config.read(None, ["train.weights=full", "lora.rank=64"])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        config.read(tmp_path / "none.yaml")


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("")
    assert config.read(file) == config.Recipe()


def test_settings_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump({"train": {"steps": 7, "batch": 3}}))
    recipe = config.read(file, ["train.steps=9"])
    assert (recipe.train.steps, recipe.train.batch) == (9, 3)


def test_bco_has_its_own_reference_point_and_refuses_what_it_has_no_use_for() -> None:
    assert config.read(None, ["objective.name=bco"]).objective.reference_point == "balanced"
    assert (
        config.read(None, ["objective.name=bco", "objective.reference_point=zero"]).objective.reference_point == "zero"
    )
    for name in ("dpo", "sft", "csft"):  # no second pass for a point that nothing asks for
        assert config.read(None, [f"objective.name={name}"]).objective.reference_point == "zero"
    for name in ("sft", "csft"):
        with pytest.raises(UsageError, match=rf"{name} has no use for objective.anchor: leave it out"):
            config.read(None, [f"objective.name={name}", "objective.anchor=3"])
    for name in ("bco", "dpo", "sft", "csft"):
        with pytest.raises(
            UsageError, match=rf"^The recipe: {name} has no use for objective.liked_weight: leave it out"
        ):
            config.read(None, [f"objective.name={name}", "objective.liked_weight=3"])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["objective.name=sft", "objective.beta=5"], "sft has no use for objective.beta: leave it out or at auto, or"),
        (["objective.name=csft", "objective.beta=5000"], "csft has no use for objective.beta: leave it out or at auto"),
        (
            ["objective.name=sft", "train.liked_share=0.2"],
            "sft has no use for train.liked_share: leave it out or at 0.8",
        ),
        (
            ["objective.beta=3", "objective.gain_scale=2"],
            "a beta that is a number has no use for objective.gain_scale: ",
        ),
        (["objective.name=bco", "objective.disliked_floor=1"], "bco has no use for objective.disliked_floor: leave it"),
        (["objective.name=dpo", "train.liked_share=1"], "dpo has no use for train.liked_share: leave it out or at 0.8"),
    ],
)
def test_options_that_would_change_nothing_are_refused(settings: list[str], said: str) -> None:
    with pytest.raises(UsageError) as error:
        config.read(None, settings)
    assert str(error.value).startswith(f"The recipe: {said}") and "\n" not in str(error.value)


def test_the_paper_s_recipe_becomes_that_of_sft_without_its_beta(tmp_path: Path) -> None:
    for name in ("sft", "csft"):
        recipe = config.read(Path("paper"), [f"objective.name={name}"])  # as docs/paper.md says for the tables
        assert (recipe.objective.beta, recipe.objective.reference_point, recipe.train.lr) == ("auto", "zero", 1e-7)
        assert config.read(config.write(recipe, tmp_path / "recipe.yaml")) == recipe
        with pytest.raises(UsageError, match=rf"{name} has no use for objective\.beta"):
            config.read(Path("paper"), [f"objective.name={name}", "objective.beta=3"])
    dpo = config.read(Path("paper"), ["objective.name=dpo"])
    assert (dpo.objective.beta, dpo.objective.reference_point) == (5000, "zero")
    assert config.read(Path("paper"), ["objective.name=kto"]) == config.read(Path("paper"))


def test_a_long_path_with_spaces_comes_back(tmp_path: Path) -> None:
    path = "/home/some user/" + "with a rather long name of a folder/" * 6 + "prompts.txt"
    recipe = config.read(None, [f"evaluate.prompts={path}", f"likes={path}"])
    assert config.read(config.write(recipe, tmp_path / "recipe.yaml")) == recipe

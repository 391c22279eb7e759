"""The faces: what users import by name, each name with a docstring, and nothing that nobody listed here."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from refusals import refused

import thumbtune
from thumbtune.errors import UsageError
from thumbtune.runs.python_api import recipe_from
from thumbtune.runs.recipe import Recipe, read_recipe, write_recipe

FACES = {
    "thumbtune.objective": "BCO CSFT DPO KTO LOG_RATIOS NFT REFERENCE_POINTS SFT UTILITIES AutoBeta Beta Fixed Judged "
    "LogRatio Objective PromptPrefixes ReferencePoint Traits Utility absolute gain_of gradient_weight kahneman_tversky "
    "loss_averse prefixed relative risk_seeking traits_of",
    "thumbtune.models": "FlowProcess Full LoRA Model ModelOptions Plane Process PromptEncoding Sampler StableDiffusion "
    "StableDiffusionXL Tuning VPProcess adapter_of load_pipeline process_of",
    "thumbtune": "Config Recipe Step ThumbtuneError ThumbtuneWarning Trainer UsageError __version__ evaluate load "
    "train",
}


@pytest.mark.parametrize("name", FACES)
def test_a_face_has_the_names_that_are_listed_and_each_says_what_it_is(name: str) -> None:
    face = importlib.import_module(name)
    assert sorted(face.__all__) == sorted(FACES[name].split())
    for public in face.__all__:
        thing = getattr(face, public)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert inspect.getdoc(thing), public
        else:
            assert public in (face.__doc__ or "") or public in {"__version__", "Utility"}, public


def test_the_front_door_opens_without_torch_and_knows_no_other_name() -> None:
    code = "import thumbtune, sys; thumbtune.Recipe; print(dir(thumbtune), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("False") and "'train'" in done.stdout
    with pytest.raises(AttributeError, match="nothing"):
        _ = thumbtune.nothing


def test_a_recipe_is_taken_in_every_form(tmp_path: Path) -> None:
    wanted = read_recipe(None, ["train.steps=5", "objective.beta=60"])
    file = write_recipe(wanted, tmp_path / "recipe.yaml")
    mapping, settings = {"train.steps": 5, "objective": {"beta": 60}}, ["train.steps=5", "objective.beta=60"]
    forms = [wanted, file, str(file), mapping, settings]
    assert all(recipe_from(form) == wanted for form in forms)
    assert recipe_from({"train": {"steps": 5}, "train.lr": 1e-3}).train == Recipe().train.model_copy(
        update={"steps": 5, "lr": 1e-3}
    )
    assert recipe_from("paper") == read_recipe(Path("paper"))
    with refused("recipe-unknown-option", UsageError, naming="train.stepz"):
        recipe_from({"train.stepz": 5})

"""A prediction that contradicts a model's files is noted, and so is a base model that is worse than zeros."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from models.single_files import SD1, SD2, SDXL, networks, tensors_of, write

from thumbtune.models.loading import load_pipeline
from thumbtune.models.model_options import ModelOptions
from thumbtune.models.told_prediction import prediction_note, told_by_files
from thumbtune.runs.tuning import _worse_than_zeros

V, EPSILON = ModelOptions(prediction="v"), ModelOptions(prediction="epsilon")


@pytest.mark.parametrize("kind", ["epsilon", "xl-epsilon"])
def test_a_folder_that_says_epsilon(
    kind: str, tiny_pipeline: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    name = str(tiny_pipeline(kind))
    assert told_by_files(name) == "epsilon"
    load_pipeline(name, options=EPSILON)
    load_pipeline(name)
    assert not [record for record in caplog.records if record.name == "thumbtune"]
    load_pipeline(name, options=V)
    (record,) = [record for record in caplog.records if record.name == "thumbtune"]
    assert f"The files of {name} say epsilon, and prediction=v" in record.getMessage()


@pytest.mark.parametrize(
    ("family", "more", "metadata", "told", "wrong"),
    [
        (SDXL, {"v_pred": torch.zeros(0)}, {}, "v_prediction", EPSILON),
        (SD1, {}, {"prediction_type": "epsilon"}, "epsilon", V),
        (SD2, {}, {"prediction_type": "v"}, "v_prediction", EPSILON),
        (SD1, {}, {}, None, None),  # a v model of this family often does not say it
    ],
)
def test_a_file_that_says_it(
    family: str, more: dict[str, Any], metadata: dict[str, str], told: str | None, wrong: Any, tmp_path: Path
) -> None:
    name = str(write(tmp_path / "a.safetensors", tensors_of(family, networks(family)) | more, **metadata))
    assert told_by_files(name) == told
    noted = [options for options in (V, EPSILON, ModelOptions()) if prediction_note(name, options)]
    assert noted == ([wrong] if wrong else [])


def test_settings_beside_a_file_say_it_too(tmp_path: Path) -> None:
    file = write(tmp_path / "a.safetensors", tensors_of(SD2, networks(SD2)))
    file.with_suffix(".yaml").write_text("model: {params: {parameterization: v}}")
    assert told_by_files(str(file)) == "v_prediction"
    assert "say v, and prediction=epsilon" in (prediction_note(str(file), EPSILON) or "")


@pytest.mark.parametrize(
    ("prediction", "step", "error", "noted"),
    [
        ("epsilon", 1, 1.3, "predict v and not epsilon"),
        ("v_prediction", 1, 1.3, "predict epsilon and not v"),
        ("epsilon", 1, 1.0, None),
        ("epsilon", 2, 1.3, None),
        ("sample", 1, 1.3, None),
        ("epsilon", 1, None, None),
    ],
)
def test_a_base_model_worse_than_zeros(prediction: str, step: int, error: float | None, noted: str | None) -> None:
    model = SimpleNamespace(process=SimpleNamespace(prediction=prediction))
    found = _worse_than_zeros(SimpleNamespace(step=step, policy_error=error, reference_error=error), model)  # type: ignore[arg-type]
    assert (found is None) if noted is None else noted in (found or "") and "1.30" in (found or "")

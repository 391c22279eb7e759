"""The scripts on memory: models of true size, without weights, and one of the rows that are kept."""

import json
from pathlib import Path

import pytest

from benchmarks import memory
from benchmarks.models import SD1, SD2, SDXL, write_empty_weights, write_model
from thumbtune.models.without_weights import pipeline_without_weights


@pytest.mark.slow
@pytest.mark.parametrize(("family", "millions"), [(SD1, 859.5), (SD2, 865.9), (SDXL, 2567.5)])
def test_a_model_of_true_size_has_the_published_number_of_weights(family: str, millions: float, tmp_path: Path) -> None:
    pipeline = pipeline_without_weights(str(write_empty_weights(write_model(tmp_path / "model", family))))
    assert pipeline is not None
    assert sum(weight.numel() for weight in pipeline.unet.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)


@pytest.mark.slow
def test_a_row_of_memory_is_the_one_that_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    name = "LoRA, bf16, checkpointing (default)"
    memory.main(["--only", f"SD 1.5 at 512: {name}"])
    kept = json.loads(memory.FILE.read_text())["SD 1.5 at 512"][name]
    assert (
        f"| SD 1.5 at 512: {name} | {' | '.join(f'{value:.2f}' for value in kept.values())} |"
        in capsys.readouterr().out
    )

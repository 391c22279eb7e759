"""After a training, the next command is one that works."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from thumbtune.runs import run
from thumbtune.runs.recipe import read_recipe
from thumbtune.training.records import LABELS


@pytest.mark.parametrize(
    ("held_out", "settings", "told"),
    [
        ([True, False], [], ""),
        ([False, False], [], " --set evaluate.prompts=FILE, a text file with a prompt a line"),
        ([False, False], ["evaluate.prompts=mine.txt"], ""),
    ],
)
def test_without_held_out_prompts_it_names_the_option_that_is_needed(
    held_out: list[bool], settings: list[str], told: str, tmp_path: Path
) -> None:
    folder = tmp_path / "my run"
    folder.mkdir()
    pq.write_table(pa.table({"held_out": held_out}), folder / LABELS)
    assert run.evaluation_command(folder, read_recipe(None, settings)) == f"thumbtune evaluate '{folder}'{told}"

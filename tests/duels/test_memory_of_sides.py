"""All sides draw as many images at once as there is memory for each, with its own options; the number is kept."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from thumbtune.duels import gallery
from thumbtune.duels.gallery import GalleryPlan
from thumbtune.duels.sides import side
from thumbtune.errors import UsageError
from thumbtune.evaluation.prompts import PromptSet
from thumbtune.models.model_options import PLAIN, ModelOptions
from thumbtune.models.prompt_chunks import PromptEncoding
from thumbtune.models.protocol import Sampler
from thumbtune.runs import build, drawn_at_once
from thumbtune.runs.recipe import read_recipe, recipe_text

Pipeline = Callable[..., Path]


@pytest.fixture
def cut(tiny_pipeline: Pipeline, tmp_path: Path) -> Path:
    """A model without its VAE."""
    shutil.copytree(tiny_pipeline("epsilon"), tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "vae")
    index = tmp_path / "cut" / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"vae": [None, None]}))
    return tmp_path / "cut"


def run_of(folder: Path, *settings: str) -> Path:
    """What a duel looks at in a finished run with one checkpoint."""
    recipe = read_recipe(None, list(settings))
    (folder / "checkpoints" / "2").mkdir(parents=True)
    (folder / "recipe.yaml").write_text(recipe_text(recipe))
    for file in (folder / build.result_of(recipe), folder / "checkpoints" / "2" / "weights.safetensors"):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"weights")
    return folder


def planned(out: Path, prompts: tuple[str, ...], **options: Any) -> GalleryPlan:
    return GalleryPlan(sides={}, prompts=PromptSet("p", prompts), out=out, scorers=(), **options)


def test_every_side_says_what_it_is_loaded_with(tiny_pipeline: Pipeline, cut: Path, tmp_path: Path) -> None:
    base = tiny_pipeline("epsilon")
    vae, way = str(base / "vae"), PromptEncoding(over_length="chunks", clip_skip=1)
    run = run_of(tmp_path / "run", f"model={cut}", f"vae={vae}", "prompts.over_length=chunks", "prompts.clip_skip=1")
    given = ModelOptions(vae=vae, encoding=PromptEncoding(clip_skip=2))
    for name in (run, run / "checkpoints" / "2"):
        one = side(str(name), options=given)
        assert one.options is None and one.loaded_with == ModelOptions(vae=vae, encoding=way)
    assert side(str(cut), options=given).loaded_with == given
    plain = run_of(tmp_path / "plain", f"model={base}")
    assert side(str(plain), options=given).loaded_with == PLAIN


@pytest.mark.slow
def test_a_side_that_needs_options_is_estimated_with_them(
    tiny_pipeline: Pipeline, cut: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tiny_pipeline("epsilon")
    options = ModelOptions(vae=str(base / "vae"))
    run = run_of(tmp_path / "run", f"model={cut}", f"vae={options.vae}")
    plan = planned(tmp_path / "out", ("a", "b"), options=options, sampler=Sampler(size=512))
    monkeypatch.setattr(drawn_at_once, "_check_one", lambda *_: None)  # of which not one fits
    for free, count in ((0, 1), (2**40, 8)):
        monkeypatch.setattr(drawn_at_once, "free_in_machine", lambda free=free: free)
        for name in (base, cut, run, run / "checkpoints" / "2"):
            assert gallery._most_at_once(plan, side(str(name), options=options)) == count


def test_prompts_count_with_their_prefix_and_the_negative_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(gallery, "at_once", lambda *given: asked.append(given) or 4)
    one = gallery.Side("run", "run", "", prompt_prefix="good", reader="model", own_options=ModelOptions(vae="mine"))
    plan = planned(tmp_path, ("cat", "dog"), sampler=Sampler(size=64, negative="blur"))
    assert gallery._most_at_once(plan, one) == 4
    assert asked == [("model", None, 64, 8, ModelOptions(vae="mine"), ["good, cat", "good, dog", "blur"])]


@pytest.fixture
def duel(tiny_pipeline: Pipeline, tmp_path: Path) -> GalleryPlan:
    """Two models that draw 10 images each; nothing scores them."""
    sides = {"a": str(tiny_pipeline("epsilon")), "b": str(tiny_pipeline("v_prediction"))}
    few = {"per_prompt": 5, "sampler": Sampler(steps=1, guidance=1.0)}
    return replace(planned(tmp_path / "out", ("cat", "dog"), **few), sides=sides)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The side and the number of images of each batch that was drawn."""
    seen: list[tuple[str, int]] = []
    generate_side = gallery.generate_side

    def of_side(grid: Any, side: str, generate: Any, *given: Any) -> None:
        def counted(prompts: Any, seeds: Any, sampler: Any) -> Any:
            seen.append((side, len(prompts)))
            return generate(prompts, seeds, sampler)

        generate_side(grid, side, counted, *given)

    monkeypatch.setattr(gallery, "generate_side", of_side)
    return seen


def memory_for(monkeypatch: pytest.MonkeyPatch, duel: GalleryPlan, a: int, b: int) -> None:
    found = {duel.sides["a"]: a, duel.sides["b"]: b}
    monkeypatch.setattr(gallery, "at_once", lambda reader, *given: found[reader])


def quiet(items: Any, text: str) -> Any:
    return items


def batch_of(duel: GalleryPlan) -> int:
    return json.loads((duel.out / "duel.json").read_text())["batch"]


@pytest.mark.slow
def test_all_sides_draw_in_the_batch_of_the_one_with_the_least_memory(
    duel: GalleryPlan, drawn: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory_for(monkeypatch, duel, 8, 4)
    gallery.gather(duel, quiet)
    assert drawn == [(side, count) for side in "ab" for count in (4, 4, 2)]
    assert batch_of(duel) == 4


@pytest.mark.slow
@pytest.mark.parametrize(("first", "later"), [(2, 8), (8, 1)])
def test_a_duel_goes_on_in_its_batch_whatever_memory_there_is(
    duel: GalleryPlan, drawn: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch, first: int, later: int
) -> None:
    memory_for(monkeypatch, duel, first, first)
    gallery.gather(duel, quiet)
    whole = {file: file.read_bytes() for file in duel.out.rglob("*.png")}
    for file in list(whole)[::3]:
        file.unlink()
    drawn.clear()
    memory_for(monkeypatch, duel, later, later)
    gallery.gather(duel, quiet)
    assert max(count for _, count in drawn) == first == batch_of(duel)
    assert {file: file.read_bytes() for file in duel.out.rglob("*.png")} == whole


@pytest.mark.slow
def test_another_duel_in_its_place_has_its_own_batch(duel: GalleryPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    memory_for(monkeypatch, duel, 8, 8)
    gallery.gather(duel, quiet)
    memory_for(monkeypatch, duel, 2, 2)
    with pytest.raises(UsageError, match="contains a duel with other seeds; choose"):
        gallery.gather(replace(duel, first_seed=1), quiet)
    gallery.gather(replace(duel, first_seed=1, replace=True), quiet)
    assert batch_of(duel) == 2

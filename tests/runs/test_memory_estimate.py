"""The estimate of memory against the bytes of what training and drawing really make, by setting."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_transformers import BUILDERS
from torch import nn

from thumbtune.models.loading import load_pipeline
from thumbtune.models.protocol import Sampler
from thumbtune.objective.kto import KTO
from thumbtune.runs import build, memory_estimate
from thumbtune.runs.forecast import bytes_at_most
from thumbtune.runs.memory_estimate import _inputs, estimate, longest_in_chunks
from thumbtune.runs.recipe import Recipe, read_recipe
from thumbtune.runs.text_length import cut_prompts
from thumbtune.training.batches import Batches
from thumbtune.training.cache import Cache
from thumbtune.training.encoded import Encoded
from thumbtune.training.live_memory import LiveMemory
from thumbtune.training.optimizers import slots_of
from thumbtune.training.trainer import train

SETTINGS: list[tuple[str, list[str]]] = [
    ("epsilon", []),
    ("xl-epsilon", ["train.gradient_checkpointing=true", "train.quantize_base=int8"]),
    ("epsilon", ["train.quantize_base=nf4"]),
    ("epsilon", ["train.weights=full"]),
    ("epsilon", ["lora.rank=256", "train.optimizer=adamw-8bit"]),
]


def recipe_of(kind: str, options: list[str], tiny_pipeline: Callable[[str], Path]) -> Recipe:
    if any("nf4" in option or "8bit" in option for option in options):
        pytest.importorskip("bitsandbytes")
    return read_recipe(None, [f"model={tiny_pipeline(kind)}", "train.precision=no", *options])


def bytes_of(network: nn.Module) -> int:
    return sum(value.nbytes for value in (*network.parameters(), *network.buffers()))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "options"), SETTINGS)
def test_weights_moments_and_the_peak_of_a_step_are_those_of_a_real_training(
    kind: str,
    options: list[str],
    tiny_pipeline: Callable[[str], Path],
    make_training: Any,
    make_likes: Any,
    tmp_path: Path,
) -> None:
    recipe = recipe_of(kind, options, tiny_pipeline)
    found = estimate(recipe, micro_batch=4)
    assert found is not None and found.micro_batch == 4
    model = build.model_of(recipe)
    parts = {name: part for name, part in model.pipeline.components.items() if isinstance(part, nn.Module)}
    noise = np.random.default_rng(0)
    images = [Image.fromarray(noise.integers(0, 256, (16, 16, 3), dtype=np.uint8)) for _ in range(8)]
    likes = make_likes(images, [True, False] * 4, prompts=list("abcdefgh"))
    encoded = Encoded(likes, model, Cache(tmp_path / "cache")).fill()
    batches = Batches(encoded=encoded, process=model.process, size=4, liked_share=0.5)
    with LiveMemory() as memory:
        for part in parts.values():
            for value in (*part.parameters(), *part.buffers()):
                memory.count(value)
        training = make_training(model, "zero", micro_batch=4, steps=3, optimizer=recipe.train.optimizer)
        for step in train(training, batches, KTO(beta=3.0)):
            if step.step == 2:
                memory.begin_peak()
    kept = sum(
        v.nbytes for slots in slots_of(training.optimizer).values() for slot, v in slots.items() if slot != "step"
    )
    copy = sum(weight.nbytes for weight in training.parameters) if recipe.train.weights == "full" else 0
    assert (found.optimiser, found.reference) == (kept + copy, copy)
    assert found.networks == {name: bytes_of(part) for name, part in parts.items()}
    assert found.step == pytest.approx(memory.peak, rel=0.15)


@pytest.mark.slow
def test_a_sample_is_drawn_beside_what_the_optimiser_keeps(tiny_pipeline: Callable[[str], Path]) -> None:
    base = f"model={tiny_pipeline('epsilon')}"
    without = estimate(read_recipe(None, [base]), micro_batch=1, at_once=1)
    found = estimate(read_recipe(None, [base, "train.sample_every=5"]), micro_batch=1, at_once=4)
    assert without is not None and found is not None and without.samples == 0
    assert found.samples == without.generate + without.optimiser < found.generate + found.optimiser


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "options"), SETTINGS[1:4:2])
def test_the_peak_of_drawing_is_that_of_the_tuned_model_on_the_base_as_it_was(
    kind: str, options: list[str], tiny_pipeline: Callable[[str], Path]
) -> None:
    recipe = recipe_of(kind, options, tiny_pipeline)
    found = estimate(recipe, micro_batch=1, at_once=2)
    assert found is not None and found.at_once == 2
    model = build.model_of(recipe, training=False)
    with LiveMemory() as memory:
        for part in model.pipeline.components.values():
            if isinstance(part, nn.Module):
                for value in part.parameters():
                    memory.count(value)
        model.generate(["ab", "cd"], [1, 2], Sampler(steps=2, guidance=3.0))
    assert found.generate == pytest.approx(memory.peak, rel=0.15)


@pytest.mark.slow
def test_parts_that_rest_are_not_on_an_accelerator(tiny_pipeline: Callable[[str], Path]) -> None:
    recipe = read_recipe(None, [f"model={tiny_pipeline('xl-epsilon')}", "train.precision=no"])
    here, apart = (estimate(recipe, 2, accelerator=accelerator) for accelerator in (False, True))
    assert here is not None and apart is not None
    assert estimate(recipe, 2) == here  # this machine has none
    assert here.networks == apart.networks and here.generate == apart.generate
    texts = here.networks["text_encoder"] + here.networks["text_encoder_2"]
    assert here.step - apart.step == texts + here.networks["vae"]
    assert here.encode - apart.encode - here.networks["unet"] in (texts, here.networks["vae"])


@pytest.mark.slow
def test_networks_that_are_stored_in_16_bits_are_loaded_so(
    tiny_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    plain = str(tiny_pipeline("epsilon"))
    load_pipeline(plain).to(dtype=torch.float16).save_pretrained(tmp_path / "half")
    told = {
        (model, *how): estimate(read_recipe(None, [f"model={model}", f"train.weights={how[0]}"]), precision=how[1])
        for model in (plain, str(tmp_path / "half"))
        for how in (("lora", "bf16"), ("lora", "no"), ("full", "bf16"))
    }
    whole, *loads = [found.load for found in told.values() if found is not None]
    vae = next(found.networks["vae"] for key, found in told.items() if found is not None and key[2] == "no")
    assert loads == [whole, whole, (whole + vae) // 2, whole, whole]


@pytest.mark.slow
def test_half_precision_halves_the_frozen_weights_alone(tiny_pipeline: Callable[[str], Path]) -> None:
    for kind in ("epsilon", "xl-epsilon"):
        recipe = read_recipe(None, [f"model={tiny_pipeline(kind)}", "train.precision=no"])
        plain, half = (estimate(recipe, 2, precision=precision) for precision in ("no", "bf16"))
        assert plain is not None and half is not None
        assert half.optimiser == plain.optimiser and half.step < plain.step and half.generate < plain.generate
        model = build.model_of(recipe, precision="bf16")
        parts = {name: part for name, part in model.pipeline.components.items() if isinstance(part, nn.Module)}
        assert half.networks == {name: bytes_of(part) for name, part in parts.items()}
        assert (half.networks["vae"] == plain.networks["vae"]) == kind.startswith("xl")


def test_a_model_that_is_not_here_has_no_estimate() -> None:
    recipe = read_recipe(None, ["model=someone/something"])
    assert estimate(recipe) is None
    assert build.half_of(recipe, "bf16") == torch.bfloat16


def test_a_model_with_all_weights_that_draws_holds_them_once_and_has_the_base_as_its_reference(
    tiny_pipeline: Callable[[str], Path], perturb: Any
) -> None:
    recipe = recipe_of("epsilon", ["train.weights=full"], tiny_pipeline)
    base = {name: weight.clone() for name, weight in build.model_of(recipe).trainable()}
    with LiveMemory() as memory:
        training = build.model_of(recipe)
        copied = memory.now
    with LiveMemory() as memory:
        drawing = build.model_of(recipe, training=False)
        assert copied - memory.now == pytest.approx(bytes_of(training.network), rel=0.01)
    perturb(drawing)
    tuned = [weight.clone() for _, weight in drawing.trainable()]
    with drawing.reference():
        assert all(weight.equal(base[name]) for name, weight in drawing.trainable())
    assert all(weight.equal(own) for (_, weight), own in zip(drawing.trainable(), tuned, strict=True))


@pytest.mark.slow
def test_long_prompts_are_counted_once_until_they_change(
    tiny_pipeline: Callable[[str], Path], six_of_each: Path, call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add(prompt: str) -> None:
        for name, red in (("like", 255), ("dislike", 0)):
            (tmp_path / prompt[:3] / name).mkdir(parents=True)
            Image.new("RGB", (16, 16), (red, len(prompt), 7)).save(tmp_path / prompt[:3] / name / "0.png")
            (tmp_path / prompt[:3] / name / "0.txt").write_text(prompt)
        assert call("import", tmp_path / prompt[:3], "--likes", six_of_each)[0] == 0

    counted: list[int] = []

    def counting(model: str, prompts: Any, encoding: Any) -> Any:
        counted.append(len(list(prompts)))
        return cut_prompts(model, prompts, encoding)

    monkeypatch.setattr(memory_estimate, "cut_prompts", counting)
    likes, chunks = f"likes={six_of_each}", "prompts.over_length=chunks"
    recipe = recipe_of("epsilon", [likes, chunks], tiny_pipeline)
    add("abcdefghijklmno")
    for _ in range(2):
        assert longest_in_chunks(recipe) == 3
        assert bytes_at_most(recipe) < float("inf") and estimate(recipe, 1) is not None
    assert counted == [7]
    add("ab" * 90)
    assert longest_in_chunks(recipe) == longest_in_chunks(recipe) == 30
    assert counted == [7, 8]
    a1111 = recipe_of("epsilon", [likes, chunks, "prompts.syntax=a1111"], tiny_pipeline)
    xl = recipe_of("xl-epsilon", [likes, chunks], tiny_pipeline)
    assert [longest_in_chunks(one) for one in (a1111, xl, a1111, xl)] == [30] * 4
    assert counted == [7, 8, 8, 8]
    assert longest_in_chunks(recipe_of("epsilon", [likes], tiny_pipeline)) == 1 and len(counted) == 4


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["epsilon", "xl-epsilon"])
def test_prompts_in_chunks_count_as_long_as_the_longest_of_the_likes(
    kind: str, tiny_pipeline: Callable[[str], Path], call: Any, tmp_path: Path
) -> None:
    def of(prompt: str, *options: str) -> Recipe:
        folder = tmp_path / str(len(prompt))
        for name, red in (("like", 255), ("dislike", 0)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), (red, len(prompt), 0)).save(folder / name / "0.png")
            (folder / name / "0.txt").write_text(prompt)
        assert call("import", folder, "--likes", folder / "store")[0] == 0
        return recipe_of(kind, [f"likes={folder / 'store'}", *options], tiny_pipeline)

    chunks, found = "prompts.over_length=chunks", {}
    for prompt, count in (("abc", 1), ("abcdefghijklmno", 3), ("ab" * 90, 30)):  # six letters are read at once
        recipe = of(prompt, chunks)
        assert longest_in_chunks(recipe) == count and longest_in_chunks(of(prompt)) == 1
        model = build.model_of(recipe)
        condition = _inputs(model, recipe, 16).condition(2)
        tokens = count * model.pipeline.tokenizer.model_max_length
        assert condition["text"].shape[:2] == (2, tokens)
        assert ("text_mask" in condition) == (count > 1)
        found[count] = estimate(recipe, micro_batch=2)
    plain = estimate(of("ab" * 90), micro_batch=2)
    one, three, many = found.values()
    assert one is not None and three is not None and many is not None and plain is not None
    assert plain.step == one.step  # cut
    text = 2 * 4 * condition["text"].shape[2] * model.pipeline.tokenizer.model_max_length  # of two images, a chunk
    assert many.step - one.step > 29 * text
    assert many.encode > three.encode >= one.encode and many.generate > one.generate


@pytest.mark.slow
@pytest.mark.parametrize("name", list(BUILDERS))
def test_a_step_of_every_family_is_counted(name: str, tiny_pipeline: Callable[[str], Path]) -> None:
    small = ["train.size=32", "evaluate.size=32"]  # the tiny Wan has few places
    found = estimate(read_recipe(None, [f"model={tiny_pipeline(name)}", *small]), 1)
    assert found is not None and min(found.step, found.generate) > sum(found.networks.values())

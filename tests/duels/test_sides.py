"""Sides of a duel: what a name stands for, which images a folder has for which prompt, and what a side draws."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusals import refused
from safetensors.torch import load_file, save_file

import thumbtune
from thumbtune.duels.network_alone import part_of
from thumbtune.duels.sides import Side, loaded, side
from thumbtune.errors import UsageError
from thumbtune.models.lora import DIFFUSERS_FILE, KOHYA_FILE
from thumbtune.models.protocol import Sampler
from thumbtune.runs import build, objectives
from thumbtune.runs.recipe import read_recipe, write_recipe

Pipeline = Callable[[str], Path]
SCALE = ["lora.rank=4", "lora.alpha=8"]
CHECKPOINT = Path("checkpoints", "step-000002")


def drawn(one: Side | Any) -> np.ndarray[Any, Any]:
    """Two images by a side, or by a model."""
    if isinstance(one, Side):
        with loaded(one, "cpu") as model:
            return drawn(model)
    images = one.generate(["a cat", "red dog"], [7, 8], Sampler(steps=3, guidance=3.0))
    return np.stack([np.array(image) for image in images]).astype(int)


def weights_of(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.trainable()}


@pytest.fixture
def make_run(tiny_pipeline: Pipeline, perturb: Any, tmp_path: Path) -> Callable[..., tuple[Path, Any, Any]]:
    """(prompt prefix, options) -> a run's folder with a checkpoint, the model of its result, that of its checkpoint."""

    def make(prefix: str | None = None, *options: str) -> tuple[Path, Any, Any]:
        folder = tmp_path / "run"
        scale = [] if "train.weights=full" in options else SCALE
        recipe = read_recipe(None, ["likes=likes", f"model={tiny_pipeline('epsilon')}", *scale, *options])
        models = [build.model_of(recipe) for _ in range(2)]
        for seed, model in enumerate(models):
            perturb(model, by=0.2 if scale else 0.02, seed=seed)
        models[0].save(folder / build.result_of(recipe).parent)
        (folder / CHECKPOINT).mkdir(parents=True)
        save_file(weights_of(models[1]), folder / CHECKPOINT / "weights.safetensors")
        (folder / "likes.json").write_text(json.dumps({"prompt_prefix": prefix}))
        write_recipe(recipe, folder / "recipe.yaml")
        return folder, *models

    return make


# --- models


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["lora", "full"])
def test_a_run_draws_with_its_result_and_a_checkpoint_with_its_own_weights(make_run: Any, weights: str) -> None:
    folder, result, kept = make_run("good image", f"train.weights={weights}")
    result.complete = kept.complete = "good image, {}".format
    run, checkpoint = side(str(folder)), side(f"{folder / CHECKPOINT}/")
    assert (run.kind, run.prompt_prefix, run.folder, run.name) == ("run", "good image", None, str(folder))
    assert (checkpoint.kind, checkpoint.prompt_prefix, checkpoint.folder) == ("checkpoint", "good image", None)
    assert run.fingerprint != checkpoint.fingerprint
    images = drawn(run), drawn(checkpoint)
    assert np.abs(images[0] - drawn(result)).max() <= 1 and np.abs(images[1] - drawn(kept)).max() <= 1
    assert np.abs(images[0] - images[1]).max() > 20, "they are two different models"


def test_other_weights_or_another_model_are_another_fingerprint(make_run: Any, tiny_pipeline: Pipeline) -> None:
    folder, result, kept = make_run()
    before = side(str(folder)), side(str(folder / CHECKPOINT))
    assert side(str(folder)).fingerprint == before[0].fingerprint and before[0].prompt_prefix is None
    (folder / "likes.json").unlink()  # an older run has none
    assert side(str(folder)).prompt_prefix is None
    kept.save(folder / "lora")
    save_file(weights_of(result), folder / CHECKPOINT / "weights.safetensors")
    after = side(str(folder)), side(str(folder / CHECKPOINT))
    write_recipe(
        read_recipe(None, ["likes=likes", f"model={tiny_pipeline('v_prediction')}", *SCALE]), folder / "recipe.yaml"
    )
    moved = side(str(folder)), side(str(folder / CHECKPOINT))
    assert len({one.fingerprint for one in (*before, *after, *moved)}) == 6


@pytest.mark.slow
def test_all_sides_draw_in_the_precision_that_is_asked_for(make_run: Any, tiny_pipeline: Pipeline) -> None:
    folder, result, _ = make_run()
    result.save(folder / "alone")
    base = str(tiny_pipeline("epsilon"))
    for name in (folder, folder / CHECKPOINT, folder / "alone", base, f"unet:{base}"):
        plain, half = side(str(name), base), side(str(name), base, precision="bf16")
        assert side(str(name), base, precision="no").fingerprint == plain.fingerprint != half.fingerprint
        with loaded(half, "cpu") as model:
            assert model.half == torch.bfloat16 and model.pipeline.unet.conv_in.weight.dtype == torch.bfloat16
        with loaded(plain, "cpu") as model:
            assert model.half is None and model.pipeline.unet.conv_in.weight.dtype == torch.float32
        change = np.abs(drawn(plain) - drawn(half))
        assert 0 < change.max() and change.mean() < 4
    (folder / "images").mkdir()
    (folder / "images" / "1.png").write_bytes(b"")
    images = str(folder / "images")
    assert side(images, base, precision="bf16").fingerprint == side(images, base).fingerprint  # nobody draws these
    recipe = read_recipe(folder / "recipe.yaml", ["train.precision=bf16"])
    write_recipe(recipe, folder / "recipe.yaml")
    assert thumbtune.load(folder, "cpu").half == torch.bfloat16
    assert thumbtune.load(base, "cpu").half is None


@pytest.mark.slow
def test_a_whole_network_draws_from_weights_in_half_precision(make_run: Any) -> None:
    folder, _, _ = make_run(None, "train.weights=full")
    for name in (folder, folder / CHECKPOINT):
        with loaded(side(str(name), precision="bf16"), "cpu") as model:
            assert model.network.conv_in.weight.dtype == torch.bfloat16
            assert model.network.conv_norm_out.weight.dtype == torch.float32
            half = drawn(model)
        with loaded(side(str(name)), "cpu") as model:
            assert {weight.dtype for weight in model.network.parameters()} == {torch.float32}
            assert 0 < np.abs(drawn(model) - half).max() and np.abs(drawn(model) - half).mean() < 4


@pytest.mark.slow
def test_a_run_that_has_not_finished_is_said(make_run: Any) -> None:
    folder, _, kept = make_run()
    shutil.rmtree(folder / "lora")
    with refused("run-unfinished", naming="run"):
        side(str(folder))
    assert np.abs(drawn(side(str(folder / CHECKPOINT))) - drawn(kept)).max() <= 1


@pytest.mark.slow
def test_a_checkpoint_of_averaged_weights_draws_with_the_average(make_run: Any) -> None:
    """The average is what a run with `train.ema` ends as: that of the last checkpoint is the run's result."""
    folder, result, _ = make_run(None, "train.ema=0.9")
    save_file(weights_of(result), folder / CHECKPOINT / "average.safetensors")
    assert np.abs(drawn(side(str(folder / CHECKPOINT))) - drawn(side(str(folder)))).max() <= 1


@pytest.mark.parametrize("what", ["torn", "empty", "of other layers", "of another rank"])
def test_a_checkpoint_that_cannot_be_read_is_one_sentence(make_run: Any, what: str) -> None:
    folder, _, kept = make_run()
    file = folder / CHECKPOINT / "weights.safetensors"
    if what in ("torn", "empty"):
        file.write_bytes(file.read_bytes()[: 300 if what == "torn" else 0])
    elif what == "of other layers":
        save_file({"weight": torch.ones(2)}, file)
    else:
        save_file({name: torch.cat([weight] * 2) for name, weight in weights_of(kept).items()}, file)
    one = side(str(folder / CHECKPOINT))
    with refused("checkpoint-misfit", naming="weights.safetensors") as caught, loaded(one, "cpu"):
        pass
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_lora_is_drawn_on_its_base_in_both_forms(
    make_diffusion: Any, perturb: Any, tiny_pipeline: Pipeline, tmp_path: Path
) -> None:
    base, model = str(tiny_pipeline("epsilon")), make_diffusion()
    perturb(model)
    model.save(tmp_path / "lora")
    named = [tmp_path / "lora", tmp_path / "lora" / DIFFUSERS_FILE, tmp_path / "lora" / KOHYA_FILE]
    for path in named:
        with refused("side-no-base", UsageError, naming=[path, "--base"]):
            side(str(path))
    found = [side(str(path), base) for path in named]
    assert [(one.kind, one.prompt_prefix, one.folder) for one in found] == [("lora", None, None)] * 3
    assert found[0].fingerprint == found[1].fingerprint != found[2].fingerprint
    assert found[0].fingerprint != side(str(named[0]), str(tiny_pipeline("v_prediction"))).fingerprint
    ours, plain = drawn(model), drawn(side(base))
    assert np.abs(ours - plain).max() > 20
    for one in found[1:]:
        assert np.abs(drawn(one) - ours).max() <= 1


@pytest.mark.parametrize("what", ["text", "no lora", "other layers", "other sizes"])
def test_a_file_that_is_no_lora_for_its_base_is_one_sentence(
    tiny_pipeline: Pipeline, tmp_path: Path, what: str
) -> None:
    file = tmp_path / "my.safetensors"
    layer = {
        "other layers": "unet.nowhere",
        "other sizes": "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q",
    }
    if what == "text":
        file.write_text("no tensors")
    elif what == "no lora":
        save_file({"weight": torch.ones(2)}, file)
    else:
        pair = {f"{layer[what]}.lora_A.weight": torch.ones(2, 3), f"{layer[what]}.lora_B.weight": torch.ones(3, 2)}
        save_file(pair, file)
    with refused("side-misfit", naming="my.safetensors") as caught:
        drawn(side(str(file), str(tiny_pipeline("epsilon"))))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_model_is_a_folder_or_a_bundled_name(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    shutil.copytree(tiny_pipeline("epsilon"), tmp_path / "copy")
    one, copy = side(str(tiny_pipeline("epsilon"))), side(str(tmp_path / "copy"))
    assert (one.kind, one.folder, one.prompt_prefix) == ("model", None, None)
    assert one.fingerprint == copy.fingerprint != side(str(tiny_pipeline("v_prediction"))).fingerprint
    assert np.array_equal(drawn(one), drawn(copy))
    file = tmp_path / "copy" / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\1")
    assert side(str(tmp_path / "copy")).fingerprint != one.fingerprint
    bundled = side("tiny-emoji-64")
    assert bundled.kind == "model" and bundled.fingerprint == side(str(build.BUNDLED / "tiny-emoji-64")).fingerprint


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "~/no such model", "../nowhere.safetensors"])
def test_a_path_to_nothing_is_no_hub_id(name: str) -> None:
    with refused("side-unknown", UsageError):
        side(name)


def test_a_name_that_is_nothing_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    with refused("side-unknown", UsageError, naming="notes.txt"):
        side("notes.txt")
    (tmp_path / "folder").mkdir()
    with refused("image-folder-empty", UsageError, naming=["folder", ".png"]):
        side("folder")


def test_a_name_that_is_longer_than_any_path_is_one_sentence() -> None:
    with pytest.raises(UsageError):
        side("a cat, asleep " * 30)


@pytest.mark.slow
def test_a_real_run_is_its_last_checkpoint(
    call: Any, tiny_pipeline: Pipeline, six_of_each: Path, tmp_path: Path
) -> None:
    options = [f"likes={six_of_each}", f"model={tiny_pipeline('epsilon')}", "train.steps=4", "train.lr=0.05"]
    options += ["train.batch=4", "train.micro_batch=4", "train.checkpoint_every=2", "train.warmup=0", *SCALE]
    options += ["objective.name=csft", "train.guards=false"]
    code, _, err = call("train", "--out", tmp_path / "run", *(w for option in options for w in ("--set", option)))
    assert code == 0, err
    names = ("run", "run/checkpoints/step-000004", "run/checkpoints/step-000002")
    sides = [side(str(tmp_path / name)) for name in names]
    assert {one.prompt_prefix for one in sides} == {
        objectives.good_prefix_of(objectives.objective_of(read_recipe(tmp_path / "run/recipe.yaml")))
    }
    assert sides[0].prompt_prefix and [one.kind for one in sides] == ["run", "checkpoint", "checkpoint"]
    run, last, earlier = map(drawn, sides)
    assert np.abs(run - last).max() <= 1 < np.abs(run - earlier).max()


# --- UNets that were published alone


@pytest.mark.slow
def test_a_unet_alone_takes_the_place_of_the_bases_own(tiny_pipeline: Pipeline, perturb: Any, tmp_path: Path) -> None:
    base = str(tiny_pipeline("epsilon"))
    whole = Path(shutil.copytree(base, tmp_path / "whole"))
    weights = whole / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({name: 1.3 * tensor for name, tensor in load_file(weights).items()}, weights)
    alone = tmp_path / "alone"
    shutil.copytree(whole / "unet", alone / "unet")
    one = side(str(alone), base)
    assert one.kind == "unet"
    assert np.array_equal(drawn(one), drawn(side(str(whole))))
    assert not np.array_equal(drawn(one), drawn(side(base)))
    assert np.array_equal(drawn(side(f"unet:{alone}", base)), drawn(one))
    own = side(str(shutil.copytree(alone / "unet", tmp_path / "mine")), base)  # the folder of its files, under any name
    assert own.kind == "unet" and np.array_equal(drawn(own), drawn(one))


@pytest.mark.slow
def test_the_folder_of_a_transformer_is_one_alone_as_the_folder_above_it(
    tiny_pipeline: Pipeline, tmp_path: Path
) -> None:
    base, alone = str(tiny_pipeline("sd3")), tmp_path / "run" / "transformer"
    shutil.copytree(Path(base) / "transformer", alone)
    weights = alone / "diffusion_pytorch_model.safetensors"
    save_file({name: 1.1 * tensor for name, tensor in load_file(weights).items()}, weights)
    for name in (alone.parent, alone):
        one = side(str(name), base)
        assert one.kind == "transformer" and one.check is not None
        one.check()
        assert not np.array_equal(drawn(one), drawn(side(base)))
        with refused("side-misfit", naming=[name, "SD3Transformer2DModel"]):
            _check_of(side(str(name), str(tiny_pipeline("flux"))))
    assert np.array_equal(drawn(side(str(alone), base)), drawn(side(str(alone.parent), base)))
    with refused("side-no-base", UsageError, naming=alone):
        side(str(alone))
    for part in ("vae", "text_encoder"):  # parts that no side replaces
        assert part_of(str(Path(base) / part)) is None


def _check_of(side_: Any) -> None:
    side_.check()


def test_a_unet_without_a_base_or_for_another_is_one_sentence(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    with refused("side-no-base", UsageError, naming="--base"):
        side("unet:somebody/theirs")
    alone = tmp_path / "alone"
    shutil.copytree(tiny_pipeline("epsilon") / "unet", alone / "unet")
    config_file = alone / "unet" / "config.json"
    config_file.write_text(config_file.read_text().replace('"cross_attention_dim": 16', '"cross_attention_dim": 8'))
    one = side(str(alone), str(tiny_pipeline("epsilon")))
    with refused("side-misfit"):
        drawn(one)


def test_a_model_on_the_hub_is_known_by_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    monkeypatch.setattr("thumbtune.hub.is_reachable", lambda: True)
    commits = iter(["aa", "bb"])
    asked: list[tuple[str, str]] = []

    def download(name: str, index: str) -> str:
        asked.append((name, index))
        return f"/cache/models--{name}/snapshots/{next(commits)}/{index}"

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert [side("some/model").fingerprint for _ in range(2)] == ["some/model@aa", "some/model@bb"]
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_: "/cache/snapshots/cc/model_index.json")
    assert (side("some/model").kind, side("some/model").folder) == ("model", None)
    assert asked == [("some/model", "model_index.json")] * 2

    def unreachable(name: str, index: str) -> str:
        raise LocalEntryNotFoundError("An error happened. Please check your connection.")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", unreachable)
    for said in ("some/model", "unet:some/unet"):
        with refused("model-missing", naming="some/"):
            side(said, "tiny-emoji-64")

"""The model card of a run: its header, its numbers, its snippet, and when it is written."""

import html
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from huggingface_hub import ModelCard
from models.single_files import SD1, networks, tensors_of, write
from PIL import Image
from pyarrow import parquet

from thumbtune.runs import model_card
from thumbtune.runs.card_files import write_card
from thumbtune.runs.recipe import read_recipe
from thumbtune.training import records

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(call: Call, settings: list[str], tmp_path: Path) -> Path:
    folder = tmp_path / "private-place" / "my-run"
    code, out, err = call("train", "--out", folder, *settings)
    assert code == 0, err
    assert re.findall(r"^ +step (\d+) ", out, flags=re.MULTILINE) == ["1", "6"]  # the first and the last
    return folder


def card_of(run: Path) -> ModelCard:
    return ModelCard.load(run / "lora" / "README.md")


def snippet_in(card: ModelCard) -> str:
    return re.findall(r"```python\n(.*?)```", card.text, flags=re.DOTALL)[0]


@pytest.mark.slow
def test_a_card_is_written_at_the_end_of_a_training_and_renewed_by_an_evaluation(
    call: Call, run: Path, tmp_path: Path
) -> None:
    card = card_of(run)
    header = card.data.to_dict()
    assert header["library_name"] == "diffusers" and header["pipeline_tag"] == "text-to-image"
    assert {"lora", "template:diffusion-lora", "thumbtune", "kto"} <= {*header["tags"]}
    assert (header["license"], header["license_name"]) == ("other", model_card.OTHER_LICENSE)
    assert "base_model" not in header  # a folder of this machine is no id of the hub
    assert "It was not evaluated." in card.text and "Diffusion-KTO" in card.text

    rows = records.read_labels(run, ("label", "held_out", "prompt"))
    trained = [row for row in rows if not row["held_out"]]
    likes = sum(row["label"] for row in trained)
    prompts = len({row["prompt"] for row in trained})
    data = f"{likes} likes and {len(trained) - likes} dislikes of images of {prompts} prompts; "
    assert data + f"{len(rows) - len(trained)} more labels of" in card.text

    code, _, err = call("evaluate", run)
    assert code == 0, err
    card, header = card_of(run), card_of(run).data.to_dict()
    verdict = json.loads((run / "evaluation" / "verdict.json").read_text())
    assert verdict["sentence"] in card.text and "It was not evaluated." not in card.text
    for gate in verdict["gates"]:
        assert gate["sentence"] in card.text
    result = json.loads((run / "evaluation" / "result.json").read_text())
    row = next(row for row in result["standings"] if (row["style"], row["estimand"]) == (None, "median"))
    assert f"| red | {row['rate']:.0%} |" in card.text
    for entry in header["widget"]:
        assert f"![{entry['text']}]({entry['output']['url']})" in card.text
        with Image.open(run / "lora" / entry["output"]["url"]) as image:
            assert image.size == (32, 16)  # before and after
    for private in (str(tmp_path), "private-place", "thumbs"):
        assert private not in card.content
    assert html.escape(snippet_in(card), quote=True).replace("&quot;", "&#34;") in (run / "report.html").read_text()


@pytest.mark.slow
def test_before_is_on_the_left(call: Call, run: Path) -> None:
    assert call("evaluate", run)[0] == 0
    prompt = card_of(run).data.to_dict()["widget"][0]["text"]
    from thumbtune.evaluation.duel_folder import read_duel

    duel = read_duel(run / "evaluation")
    _, number, seed = min(key for key, row in duel.images.items() if row["words"] == prompt)
    with Image.open(run / "lora" / "images" / "0.png") as both:
        for side, left in (("a", 0), ("b", 16)):
            with Image.open(duel.folder / duel.images[side, number, seed]["file"]) as one:
                assert both.crop((left, 0, left + 16, 16)).tobytes() == one.convert("RGB").tobytes()


@pytest.mark.slow
def test_the_snippet_of_a_card_runs_and_draws_what_the_tuned_model_draws(
    call: Call, run: Path, tiny_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    import thumbtune
    from thumbtune.models.protocol import Sampler

    place = tmp_path / "elsewhere"
    shutil.copytree(run / "lora", place)
    (place / "epsilon").symlink_to(tiny_pipeline("epsilon"))
    done = subprocess.run(
        [sys.executable, "-c", snippet_in(card_of(run))], cwd=place, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    expected = thumbtune.load(run, "cpu").generate(["a red apple"], [0], Sampler(steps=2))[0]
    with Image.open(place / "image.png") as drawn:
        difference = max(abs(a - b) for a, b in zip(drawn.tobytes(), expected.tobytes(), strict=True))
    assert drawn.size == (16, 16) and difference <= 1


@pytest.mark.slow
def test_the_snippet_for_the_bundled_model_has_lines_that_a_page_shows_whole(run: Path) -> None:
    facts = replace(model_card.facts_of(run), recipe=read_recipe(None, ["train.precision=no"]))
    snippet = model_card.snippet_of(facts)
    assert max(map(len, snippet.splitlines())) <= 88
    assert (
        'base = files("thumbtune") / "bundled" / "tiny-emoji-64"\n' in snippet and "from_pretrained(base, " in snippet
    )
    compile(snippet, "snippet", "exec")
    text = model_card.text_of(facts)
    assert "| precision | float32 |" in text
    for row in ("timestep_bias | 3: high noise more often", "disliked_timesteps | dislikes only from 0.5 to 1 of"):
        assert f"| {row}" in text
    assert "| gain_scale | 0.5: " in text and "`pip install thumbtune`" in text and "in the folder of this file" in text
    text = model_card.text_of(replace(facts, repo="ann/mine", recipe=read_recipe(None, ["objective.beta=250"])))
    assert not any(word in text for word in ("timestep_bias", "disliked_timesteps", "gain_scale", "in the folder of"))


@pytest.mark.slow
def test_the_snippet_for_a_checkpoint_in_one_file_loads_it_with_its_own_class(run: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "my-base.safetensors", tensors_of(SD1, networks(SD1)))
    recipe = model_card.facts_of(run).recipe.model_copy(update={"model": str(file)})
    snippet = model_card.snippet_of(replace(model_card.facts_of(run), recipe=recipe))
    compile(snippet, "snippet", "exec")
    assert "from diffusers import StableDiffusionPipeline\n" in snippet
    assert 'base = "my-base.safetensors"  # the base model: put its file here\n' in snippet
    assert "pipeline = StableDiffusionPipeline.from_single_file(base, dtype=" in snippet


@pytest.mark.slow
def test_a_card_tells_that_its_images_hardly_differ(call: Call, run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    assert call("evaluate", copy)[0] == 0
    result = copy / "evaluation" / "result.json"
    content = json.loads(result.read_text())
    for told in (None, "The images of b hardly differ from those of a."):
        result.write_text(json.dumps(content | {"hardly_differ": told}))
        text = model_card.text_of(model_card.facts_of(copy))
        assert ("before and after hardly differ" in text) == (told is not None)


@pytest.mark.slow
def test_samples_of_the_training_are_the_images_of_a_card_without_an_evaluation(
    call: Call, settings: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert call("train", "--out", run, *settings, "--set", "train.sample_every=3")[0] == 0
    prompts = (run / "samples" / "prompts.txt").read_text().splitlines()
    assert [one["text"] for one in card_of(run).data.to_dict()["widget"]] == prompts
    with Image.open(run / "lora" / "images" / "0.png") as both, Image.open(run / "samples/step-000006/0.png") as after:
        assert both.crop((16, 0, 32, 16)).tobytes() == after.tobytes()


@pytest.mark.slow
def test_a_card_that_a_person_changed_stays_and_the_run_can_be_used(call: Call, run: Path) -> None:
    card = run / "lora" / "README.md"
    changed = card.read_text() + "My own words.\n"
    card.write_text(changed)
    code, _, err = call("evaluate", run)
    assert code == 0 and "was changed by hand" in err
    assert card.read_text() == changed
    card.unlink()
    assert write_card(run) == card and "It was not evaluated." not in card.read_text()


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("---\nlicense: mit\n---\nwords", {"license": "mit"}),
        (
            "---\nlicense: other\nlicense_name: own\nlicense_link: LICENSE.md\n---\n",
            {"license": "other", "license_name": "own", "license_link": "LICENSE.md"},
        ),
        ("no header", {"license": "other", "license_name": model_card.OTHER_LICENSE}),
        ("---\n: [\n---\n", {"license": "other", "license_name": model_card.OTHER_LICENSE}),
    ],
)
def test_the_licence_is_that_of_the_card_of_the_base(card: str, expected: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(card)
    assert model_card.license_of(str(tmp_path)) == expected


def test_the_licence_of_a_base_on_the_hub_is_linked_where_it_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_card.hub, "settings_file", lambda name, file: None)
    told = model_card.license_of("somebody/model")
    assert told == {
        "license": "other",
        "license_name": model_card.OTHER_LICENSE,
        "license_link": "https://huggingface.co/somebody/model",
    }
    assert model_card.license_of("tiny-emoji-64") == {"license": "apache-2.0"}


@pytest.mark.slow
def test_the_card_of_a_whole_network_has_a_snippet_that_runs(
    call: Call, settings: list[str], tiny_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    code, _, err = call("train", "--out", run, *settings, "--set", "train.weights=full")
    assert code == 0, err
    card = ModelCard.load(run / "unet" / "README.md")
    assert not {"lora", "template:diffusion-lora"} & {*card.data.to_dict()["tags"]}
    place = tmp_path / "elsewhere"
    shutil.copytree(run / "unet", place / "unet")
    (place / "unet" / "epsilon").symlink_to(tiny_pipeline("epsilon"))
    done = subprocess.run(
        [sys.executable, "-c", snippet_in(card)], cwd=place / "unet", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_card_of_a_stopped_training_tells_the_step_of_its_weights(
    call: Call, settings: list[str], tmp_path: Path
) -> None:
    run, far_off = tmp_path / "run", ["--set", "train.lr=1e6", "--set", "train.warmup=0", "--set", "train.steps=60"]
    code, _, err = call("train", "--out", run, *settings, *far_off)
    assert code == 1 and "Training stopped" in err
    best = json.loads((run / "stopped.json").read_text())["best"]
    assert f"a guard stopped the training, and the weights are those of step {best}" in card_of(run).text


@pytest.mark.slow
def test_the_snippet_of_a_family_that_is_called_otherwise_runs(
    call: Call, likes: Path, tiny_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    run, base = tmp_path / "run", tiny_pipeline("qwen-image")
    options = [f"likes={likes}", f"model={base}", "train.steps=1", "train.batch=2", "train.micro_batch=1"]
    options += ["train.precision=no", "train.validate_every=0", "train.guards=false", "evaluate.steps=1"]
    code, _, err = call("train", "--out", run, *(word for one in options for word in ("--set", one)))
    assert code == 0, err
    place = tmp_path / "elsewhere"
    shutil.copytree(run / "lora", place)
    (place / base.name).symlink_to(base)
    snippet = snippet_in(card_of(run))
    assert "true_cfg_scale=" in snippet
    done = subprocess.run([sys.executable, "-c", snippet], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (place / "image.png").is_file()


def test_the_snippet_of_clips_asks_for_frames(
    tiny_pipeline: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_card.run, "prompt_prefix_of", lambda folder: None)
    recipe = read_recipe(None, [f"model={tiny_pipeline('wan')}", "frames=5", "train.precision=no"])
    lora = tmp_path / "lora"
    facts = model_card.Facts(run=tmp_path, recipe=recipe, result=lora, repo=None, images=(), duel=None)
    snippet = model_card.snippet_of(facts)
    compile(snippet, "snippet", "exec")
    assert "num_frames=5, max_sequence_length=" in " ".join(snippet.split()) and 'output_type="pil"' in snippet
    assert snippet.endswith('result.frames[0][0].save("image.png")  # the first frame')


@pytest.mark.slow
def test_the_folder_of_a_lora_where_a_run_belongs_is_told_what_works(call: Call, run: Path, tmp_path: Path) -> None:
    code, _, err = call("generate", "a cat", "--run", run / "lora")
    assert code == 2 and f"{run / 'lora'} is a part of a run; name the run, {run}." in err
    alone = tmp_path / "alone"
    shutil.copytree(run / "lora", alone)
    for words in (("generate", "a cat", "--run", alone), ("evaluate", alone)):
        code, _, err = call(*words)
        assert code == 2 and f"{alone} is a LoRA and not a run; " in err
        assert f"`thumbtune merge {alone} OUT --base MODEL`" in err and "`generate --model OUT`" in err


@pytest.mark.slow
def test_a_card_counts_no_label_of_several_raters_as_a_person(run: Path) -> None:
    file = run / "likes.parquet"
    table = parquet.read_table(file)
    (run / "SHA256SUMS").unlink()
    for names, told in (
        (["majority of 3", "majority of 2", "ann"], "A label joins the votes of up to 3 people."),
        (["ann", "bob"], "They come from 2 people, whom this card does not name."),
    ):
        raters = pa.array([names[row % len(names)] for row in range(len(table))])
        parquet.write_table(table.set_column(table.schema.get_field_index("rater"), "rater", raters), file)
        text = model_card.text_of(model_card.facts_of(run))
        assert told in text and ("They come from" in text) == (told.startswith("They"))

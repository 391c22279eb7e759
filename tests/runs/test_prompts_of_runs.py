"""How a recipe's prompts are read: notes, the hold-out, resume, duels, and a run from likes to a verdict."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from refusals import refused
from safetensors.torch import load_file

import thumbtune
from thumbtune.duels.sides import side
from thumbtune.errors import UsageError
from thumbtune.models.loading import load_pipeline
from thumbtune.models.model_options import ModelOptions
from thumbtune.models.prompt_chunks import PromptEncoding
from thumbtune.models.protocol import Sampler
from thumbtune.runs import build, run
from thumbtune.runs.lora_about import about
from thumbtune.runs.prompt_notes import mark_notes
from thumbtune.runs.recipe import read_recipe, recipe_text, write_recipe
from thumbtune.runs.setup import prepare
from thumbtune.runs.text_length import cut_prompts
from thumbtune.training.batches import Batches
from thumbtune.training.cache import Cache
from thumbtune.training.encoded import Encoded

Call = Callable[..., tuple[int, str, str]]
Pipeline = Callable[[str], Path]
PLAIN, A1111 = PromptEncoding(), PromptEncoding(syntax="a1111")
CHUNKS, BOTH = PromptEncoding(over_length="chunks"), PromptEncoding(over_length="chunks", syntax="a1111")
LONG = "abcdefghijklmno"  # three chunks of the tiny text encoders, which read six letters at once
READING = ["prompts.over_length=chunks", "prompts.syntax=a1111", "prompts.clip_skip=2"]


def likes_of(call: Call, folder: Path, prompts: list[str]) -> Path:
    """A store with a liked and a disliked image of each prompt."""
    for i, prompt in enumerate(prompts):
        for kind, red in (("like", 255), ("dislike", 0)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), (red, 10 * i, i)).save(folder / kind / f"{i}.png")
            (folder / kind / f"{i}.txt").write_text(prompt)
    code, _, err = call("import", folder, "--likes", folder / "store")
    assert code == 0, err
    return folder / "store"


@pytest.mark.parametrize(
    ("prompts", "encoding", "notes"),
    [
        (["a cat (asleep)", "a dog"], PLAIN, []),
        (
            ["a (red:1.3) cat", "a dog"],
            PLAIN,
            ["Of 2 prompts, 1 contains weights as A1111 writes them, which are read as"],
        ),
        (
            ["a (red:1.3) cat", "x BREAK y", "<lora:ink:1> z", "a dog", "a dog"],
            PLAIN,
            ["Of 4 prompts, 3 contain weights, BREAK and LoRA tags as A1111 writes them"],
        ),
        (["a (red:1.3) cat", "x BREAK y"], BOTH, []),
        (["<lora:ink:1> z", "<lyco:a>", "b"], BOTH, ["Of 3 prompts, 2 contain LoRA tags, which are taken out"]),
        (["embedding:bad cat"], PLAIN, ["Of 1 prompt, 1 contains a textual inversion (embedding:name), which is not"]),
        (["embedding:bad cat"], A1111, ["Of 1 prompt, 1 contains a textual inversion (embedding:name), which is not"]),
        (
            ["a [cat:dog:0.5]"],
            A1111,
            ["Of 1 prompt, 1 contains edits such as [cat:dog:0.5] or [cat|dog], which are not"],
        ),
        (["a dog"], BOTH, []),
    ],
)
def test_marks_in_prompts_are_counted_and_what_is_done_is_told(
    prompts: list[str], encoding: PromptEncoding, notes: list[str]
) -> None:
    found = mark_notes(list(dict.fromkeys(prompts)), encoding)
    assert len(found) == len(notes) and all(a.startswith(b) for a, b in zip(found, notes, strict=True)), found


@pytest.mark.parametrize("kind", ["epsilon", "xl-epsilon"])
@pytest.mark.parametrize(
    ("encoding", "cut", "same_as"),
    [
        (PLAIN, [0, 1], {1: 0}),
        (CHUNKS, [], {}),
        (A1111, [0, 1], {1: 0, 4: 2, 5: 2}),
        (BOTH, [], {4: 2, 5: 2}),
    ],
)
def test_prompts_that_are_one_to_the_model_are_known(
    encoding: PromptEncoding, cut: list[int], same_as: dict[int, int], kind: str, tiny_pipeline: Pipeline
) -> None:
    prompts = ["abcdefx", "abcdefy", "ab", "(ab:1.2)", "ab <lora:x:1>", "((ab:1.0):1.0)"]
    read = prompts[:3] if encoding.syntax == "plain" else prompts
    found = cut_prompts(str(tiny_pipeline(kind)), read, encoding)
    assert found.cut == tuple(prompts[i] for i in cut)
    assert dict(found.divided) == ({} if encoding.over_length == "cut" else {"abcdefx": 2, "abcdefy": 2})
    assert found.same_as == {prompts[a]: prompts[b] for a, b in same_as.items()}


def test_a_recipe_records_how_prompts_are_read_and_an_old_one_reads_them_as_before(tmp_path: Path) -> None:
    recipe = read_recipe(None, READING)
    assert build.encoding_of(recipe) == PromptEncoding(over_length="chunks", syntax="a1111", clip_skip=2)
    assert read_recipe(write_recipe(recipe, tmp_path / "recipe.yaml")) == recipe
    text = recipe_text(read_recipe(None))
    assert "prompts:" in text and "clip_skip: null" in text and "negative_prompt: ''" in text
    start = text.index("\nprompts:")
    (tmp_path / "old.yaml").write_text(text[:start] + text[text.index("\ntrain:") :])
    old = read_recipe(tmp_path / "old.yaml")
    assert old == read_recipe(None) and build.encoding_of(old).is_usual
    with refused("run-other-recipe", UsageError, naming="prompts.over_length = cut, not chunks"):
        run.refuse_differences(old, recipe, tmp_path)


@pytest.mark.parametrize("value", ["clip_skip=0", "clip_skip=1.5", "clip_skip=yes", "syntax=comfy", "over_length=75"])
def test_other_values_are_refused(value: str) -> None:
    with refused("recipe-value", UsageError, naming=f"prompts.{value.partition('=')[0]}"):
        read_recipe(None, [f"prompts.{value}"])


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("clip_skip", "prompts.clip_skip"),
        ("max_token_length", "prompts.over_length"),
        ("weighted_captions", "prompts.syntax"),
        ("negative_prompt", "evaluate.negative_prompt"),
        ("evaluate.negative", "evaluate.negative_prompt"),
    ],
)
def test_the_names_of_others_lead_to_ours(name: str, ours: str) -> None:
    with refused("recipe-unknown-option", UsageError, naming=f"did you mean {ours}?"):
        read_recipe(None, [f"{name}=1"])


def test_the_headers_of_a_lora_tell_its_clip_skip(tiny_pipeline: Pipeline) -> None:
    model = str(tiny_pipeline("epsilon"))
    recipes = [read_recipe(None, [f"model={model}", *more]) for more in ([], READING)]
    facts = [about(recipe, load_pipeline(model), model) for recipe in recipes]
    assert "ss_clip_skip" not in facts[0] and facts[1]["ss_clip_skip"] == "2"


def test_a_file_given_as_prompts_leads_to_the_option_for_files(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("prompts: mine.txt\n")
    with refused("recipe-value", UsageError, naming="or use evaluate.prompts"):
        read_recipe(tmp_path / "recipe.yaml")


@pytest.mark.parametrize(("kind", "skip"), [("epsilon", 3), ("xl-epsilon", 1)])
def test_a_dry_run_refuses_a_layer_that_is_not_there(
    kind: str, skip: int, call: Call, settings: list[str], tiny_pipeline: Pipeline, tmp_path: Path
) -> None:
    chosen = ["--set", f"model={tiny_pipeline(kind)}", "--set", f"prompts.clip_skip={skip}"]
    code, _, err = call("train", "--dry-run", "--out", tmp_path / "run", *settings, *chosen)
    assert code == 2 and f"prompts.clip_skip is {skip}" in err and "Traceback" not in err


@pytest.mark.slow
def test_the_notes_and_the_plan_of_a_training_name_marks_and_the_way_of_reading(
    call: Call, small: list[str], tiny_pipeline: Pipeline, tmp_path: Path
) -> None:
    store = likes_of(call, tmp_path / "thumbs", [f"{LONG} ({letter})" for letter in "abcdef"])
    chosen = [f"likes={store}", f"model={tiny_pipeline('epsilon')}", *small, "evaluate.negative_prompt=(bad:1.5)"]
    notes = prepare(read_recipe(None, chosen)).notes()
    assert any("7 prompts have more than the 8 tokens" in note for note in notes)
    assert any(note.startswith("Of 7 prompts, 1 contains weights") and "'(bad:1.5)'" in note for note in notes)
    read = prepare(read_recipe(None, [*chosen, *READING])).notes()
    divided = [note for note in read if "tokens" in note]
    assert [note.partition(";")[0] for note in divided] == [
        "Of 7 prompts, 6 prompts are read in chunks of 8 tokens, the longest in 3"
    ]
    assert not any("weights" in note for note in read)
    options = [word for option in [*chosen, *READING] for word in ("--set", option)]
    code, out, err = call("train", "--dry-run", "--out", tmp_path / "run", *options)
    assert code == 0 and "prompts     are read in this way: chunks, a1111, clip skip 2" in out, err


def test_long_prompts_are_encoded_once_for_each_way_and_a_batch_hides_what_fills_it(
    make_diffusion: Any, make_likes: Any, tmp_path: Path
) -> None:
    images = [Image.new("RGB", (16, 16), (40 * i, 0, 0)) for i in range(6)]
    prompts = ["ab", "abcdefgh", LONG, "cd", "abcdefghi", "b"]
    likes = make_likes(images, [True, False] * 3, prompts=prompts)
    usual, chunked = make_diffusion(), make_diffusion()
    chunked.read_prompts(CHUNKS)
    before, after = (Encoded(likes, model, Cache(tmp_path / "cache")).fill() for model in (usual, chunked))
    assert before.condition([LONG, "ab"])["text"].shape == (2, 8, 16)
    assert after.condition([LONG])["text"].shape == (1, 24, 16)
    assert torch.equal(after.condition(["ab"])["text"], before.condition(["ab"])["text"])
    batches = Batches(encoded=after, process=chunked.process, size=6, liked_share=0.5, prompt_dropout=0.3)
    whole = batches.batch(1)
    lengths = {"": 8} | {prompt: len(after.condition([prompt])["text"][0]) for prompt in prompts}
    if "text_mask" in whole.condition:
        assert set(whole.condition["text_mask"].sum(dim=1).tolist()) <= set(lengths.values())
    for mismatched in (False, True):
        together = batches.batch(1, mismatched=mismatched)
        with torch.no_grad():
            noisy = chunked.process.noised(together.latents, together.noise, together.t)
            answers = chunked.predict(noisy, together.t, together.condition)
            for i in range(6):
                part = batches.batch(1, i, i + 1, mismatched=mismatched)
                noisy = chunked.process.noised(part.latents, part.noise, part.t)
                alone = chunked.predict(noisy, part.t, part.condition)
                torch.testing.assert_close(alone, answers[i : i + 1], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_generate_reads_prompts_as_it_is_told_and_a_run_as_it_was_trained(
    call: Call, tiny_pipeline: Pipeline, tmp_path: Path
) -> None:
    model = tiny_pipeline("epsilon")

    def drawn(name: str, *options: object) -> bytes:
        asked = ["--seeds", 1, "--steps", 2, "--guidance", 5, "--out", tmp_path / name]
        code, _, err = call("generate", LONG, "--model", model, *asked, *options)
        assert code == 0, err
        (file,) = (tmp_path / name).glob("*.png")
        return np.array(Image.open(file)).tobytes()

    images = [
        drawn("usual"),
        drawn("negative", "--negative", "xyz"),
        drawn("chunks", "--over-length", "chunks"),
        drawn("skip", "--clip-skip", 2),
    ]
    assert len(set(images)) == 4
    loaded = thumbtune.load(model, "cpu", ModelOptions(encoding=CHUNKS))
    assert images[2] == np.array(loaded.generate([LONG], [0], Sampler(steps=2, guidance=5.0))[0]).tobytes()
    assert "1 contains weights" in call("generate", "(a:2)", "--model", model, "--seeds", 1, "--steps", 1)[2]
    write_recipe(read_recipe(None, [f"model={model}", *READING]), tmp_path / "run" / "recipe.yaml")
    for option in (("--syntax", "a1111"), ("--over-length", "cut"), ("--clip-skip", 2)):
        code, _, err = call("generate", "a", "--run", tmp_path / "run", *option)
        assert code == 2 and "reads prompts as it was trained" in err


def duelled(call: Call, out: Path, model: Path, *options: object) -> dict[str, Any]:
    (out.parent / "prompts.txt").write_text(f"ab\n{LONG}\n")
    asked = ["--prompts", out.parent / "prompts.txt", "--scorers", "red", "--per-prompt", 1, "--steps", 2]
    code, _, err = call("duel", model, model, *asked, "--out", out, *options)
    assert code == 0, err
    found: dict[str, Any] = json.loads((out / "duel.json").read_text())
    return found


@pytest.mark.slow
def test_a_duel_records_how_prompts_were_read_and_a_usual_one_is_recorded_as_before(
    call: Call, tiny_pipeline: Pipeline, tmp_path: Path
) -> None:
    model = tiny_pipeline("epsilon")
    usual = duelled(call, tmp_path / "usual", model)
    assert usual["sampler"].keys() == {"steps", "guidance", "size"}
    assert usual["sides"]["a"].keys() == {"name", "kind", "fingerprint", "prompt_prefix"}
    options = ["--negative", "bad, worse", "--over-length", "chunks", "--syntax", "a1111", "--clip-skip", 2]
    found = duelled(call, tmp_path / "read", model, *options)
    assert found["sampler"]["negative"] == "bad, worse"
    reading = {"over_length": "chunks", "syntax": "a1111", "clip_skip": 2}
    assert [found["sides"][name]["prompt_encoding"] for name in "ab"] == [reading, reading]
    page = (tmp_path / "read" / "report.html").read_text()
    words = "--over-length chunks --syntax a1111 --clip-skip 2 --negative &#39;bad, worse&#39;"
    assert words in page or words.replace("&#39;", "'") in page
    images = [(tmp_path / name / "a" / "001-10001.png").read_bytes() for name in ("usual", "read")]
    assert images[0] != images[1]
    assert duelled(call, tmp_path / "read", model, *options) == found
    asked = ["--prompts", tmp_path / "prompts.txt", "--scorers", "red", "--per-prompt", 1, "--steps", 2]
    code, _, err = call("duel", model, model, *asked, "--out", tmp_path / "read")
    assert code == 2 and "contains a duel with other sides and sampler" in err


def test_a_side_that_is_a_run_reads_prompts_as_it_was_trained(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    recipe = read_recipe(None, [f"model={tiny_pipeline('epsilon')}", *READING])
    folder = tmp_path / "run"
    build.model_of(recipe).save(folder / build.result_of(recipe).parent)
    (folder / "likes.json").write_text("{}")
    write_recipe(recipe, folder / "recipe.yaml")
    own = build.encoding_of(recipe)
    assert side(str(folder), options=ModelOptions(encoding=CHUNKS)).encoding == own
    lora = folder / "lora" / "kohya.safetensors"
    assert side(str(lora), recipe.model, ModelOptions(encoding=CHUNKS)).encoding == CHUNKS
    load = side(str(folder)).load
    assert load is not None and load("cpu").encoding == own
    assert thumbtune.load(folder, "cpu").encoding == own


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "xl-epsilon"])
def test_long_prompts_from_likes_to_a_verdict(
    call: Call, small: list[str], tiny_pipeline: Pipeline, tmp_path: Path, kind: str
) -> None:
    lengths = (2, 6, 7, 9, 12, 13, 15, 16, 18, 20)
    store = likes_of(call, tmp_path / "thumbs", ["abcdefghijklmnopqrst"[:length] for length in lengths])
    reading = [*READING[:2], *([] if kind.startswith("xl") else READING[2:])]
    chosen = [f"likes={store}", f"model={tiny_pipeline(kind)}", *small, *reading, "train.validation_share=0.5"]
    chosen += ["evaluate.steps=2", "evaluate.per_prompt=2", "evaluate.negative_prompt=(bad:1.3) abcdefgh"]
    runs = [tmp_path / "four", tmp_path / "one"]
    for folder, micro in zip(runs, (4, 1), strict=True):
        options = [word for option in [*chosen, f"train.micro_batch={micro}"] for word in ("--set", option)]
        code, _, err = call("train", "--out", folder, *options)
        assert code == 0, err
    name = "lora/pytorch_lora_weights.safetensors"
    first, second = (load_file(folder / name) for folder in runs)
    for key, value in first.items():
        torch.testing.assert_close(second[key], value, rtol=0, atol=1e-5)
    code, out, err = call("evaluate", runs[0])
    assert code == 0, err
    verdict = json.loads((runs[0] / "evaluation" / "verdict.json").read_text())
    assert verdict["decision"] in ("ship", "do not ship", "not enough evidence"), (code, out, err)
    assert verdict["agreement"] is not None
    manifest = json.loads((runs[0] / "evaluation" / "duel.json").read_text())
    assert manifest["sampler"]["negative"] == "(bad:1.3) abcdefgh"
    encodings = [manifest["sides"][each]["prompt_encoding"] for each in "ab"]
    assert encodings[0] == encodings[1] and encodings[0]["over_length"] == "chunks"
    assert call("generate", LONG, "--run", runs[0], "--seeds", 1, "--out", tmp_path / "images")[0] == 0

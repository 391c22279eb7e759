"""What rides in the package: small enough, traced, loadable, and good enough to recognise."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image
from torch.nn.functional import interpolate

from base_model.vocabulary import CONCEPTS, MEASURE, STYLES, held_out
from thumbtune.evaluation.scorers.faithfulness import FaithfulnessJudge, with_names
from thumbtune.evaluation.scorers.style_classifier import StyleClassifier
from thumbtune.experiments.demo import concepts, prompt_of
from thumbtune.models.families.stable_diffusion import StableDiffusion
from thumbtune.models.loading import load_pipeline
from thumbtune.models.protocol import Sampler
from thumbtune.runs import build
from thumbtune.runs.bundled_words import vocabulary

MEGABYTE = 1_000_000
FILES = sorted(p for p in build.BUNDLED.rglob("*") if p.is_file() and "__pycache__" not in p.parts)


def test_the_weights_stay_under_forty_megabytes_and_those_of_the_judges_under_ten() -> None:
    weights = [p for p in FILES if p.suffix == ".safetensors"]
    assert {p.parent.name for p in weights} == {"unet", "vae", "text_encoder", "judge", "small", "large"}
    assert sum(p.stat().st_size for p in weights) <= 40 * MEGABYTE
    judges = [p for p in weights if "tiny-emoji-64" not in p.parts]
    assert sum(p.stat().st_size for p in judges) <= 10 * MEGABYTE


def test_the_notice_traces_every_bundled_file_and_nothing_else() -> None:
    notice = (Path(__file__).parent.parent / "NOTICE").read_text()
    listed = {line.strip() for line in notice.splitlines() if line.startswith("    ") and len(line.split()) == 1}
    assert listed == {path.relative_to(build.BUNDLED).as_posix() for path in FILES}


def test_the_notice_names_every_source_by_its_version() -> None:
    notice = (Path(__file__).parent.parent / "NOTICE").read_text()
    for package, version, licence in STYLES.values():
        (line,) = [line for line in notice.splitlines() if f"{package} " in line]
        assert version in line and licence in line
    assert MEASURE[1][0] not in notice  # nothing that rides in the package was learnt from it


def test_no_rated_concept_is_judged() -> None:
    known = concepts()
    assert len(known["unrated"]) >= 24
    assert not set(known["rated"]) & set(known["unrated"])


def test_the_judge_knows_every_concept_with_or_without_an_article() -> None:
    judge = FaithfulnessJudge(build.BUNDLED / "judge")
    known = concepts()
    names = [*known["rated"], *known["unrated"]]
    assert set(judge.concepts) == set(names)
    assert all(judge.knows(prompt_of(name)) for name in names)
    assert not judge.knows("a portrait of somebody")
    page = [Image.new("RGB", (64, 64), "white")] * 2
    bare, with_article = judge.score(page, ["octopus", "an octopus"])
    assert 0 <= bare == with_article <= 1
    asked = ("a small sun, line art", "sunflower, on blue", "the moon")
    assert [judge.requested_concept(prompt) for prompt in asked] == [
        "sun", "sunflower", "crescent moon",
    ]  # fmt: skip


def test_the_judge_takes_every_other_word_for_a_concept_as_its_name() -> None:
    judge = FaithfulnessJudge(build.BUNDLED / "judge")
    others = [(word, name) for name, words in vocabulary().concepts.items() for word in words]
    assert len(others) == 28
    pages = [Image.effect_noise((64, 64), 90).convert("RGB") for _ in others]
    for form in ("{}", "a {}", "A small {}, line art, on blue", "the {}"):
        prompts = [form.format(word) for word, _ in others]
        assert all(judge.knows(prompt) for prompt in prompts)
        named = [form.format(name) for _, name in others]
        assert [judge.requested_concept(prompt) for prompt in prompts] == [name for _, name in others]
        assert torch.equal(judge.score(pages, prompts), judge.score(pages, named))
    assert not judge.knows("a catapult with a carpet") and not judge.knows("homework")
    for name in judge.concepts:  # a name is no other word of another concept
        assert with_names(f"a {name}, flat") == f"a {name}, flat"


@pytest.mark.slow
def test_the_style_that_is_asked_for_is_drawn() -> None:
    """One concept in three in every style that it was shown in; the card counts all, and the held-out ones too."""
    asked = [(name, style) for name in CONCEPTS[::3] for style in STYLES if not held_out(name, style)]
    model = StableDiffusion(load_pipeline(build.model_path("tiny-emoji-64")))
    images = model.generate([f"{prompt_of(name)}, {style}" for name, style in asked], range(len(asked)), Sampler())
    judge = StyleClassifier(build.BUNDLED / "style")
    assert judge.styles == list(STYLES)
    right = [found == style for found, (_, style) in zip(judge.names(images), asked, strict=True)]
    assert sum(right) / len(right) >= 0.85
    for style in ("line art", "soft 3d"):
        own = [ok for ok, (_, wanted) in zip(right, asked, strict=True) if wanted == style]
        assert sum(own) / len(own) >= 0.85


def test_the_judge_of_styles_averages_two_networks_which_each_see_their_own_size() -> None:
    judge = StyleClassifier(build.BUNDLED / "style")
    assert [one.config.image_size for one in judge.networks] == [128, 64]
    page = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        large = judge.networks[0](pixel_values=interpolate(page, size=128, mode="bilinear")).logits.softmax(1)
        small = judge.networks[1](pixel_values=page).logits.softmax(1)
    torch.testing.assert_close(judge._probabilities(page), (large + small) / 2)


def test_diffusers_draws_with_the_bundled_model_without_being_told_a_type() -> None:
    pipeline: Any = DiffusionPipeline.from_pretrained(build.model_path("tiny-emoji-64"))
    assert {pipeline.unet.dtype, pipeline.vae.dtype, pipeline.text_encoder.dtype} == {torch.float32}
    seeded = torch.Generator("cpu").manual_seed(3)
    theirs = pipeline("a red apple", num_inference_steps=3, guidance_scale=3.0, generator=seeded).images[0]
    ours = StableDiffusion(load_pipeline(build.model_path("tiny-emoji-64")))
    (image,) = ours.generate(["a red apple"], [3], Sampler(steps=3, guidance=3.0))
    assert np.abs(np.array(theirs).astype(int) - np.array(image).astype(int)).max() <= 1


@pytest.mark.slow
def test_what_the_bundled_model_draws_is_what_was_asked() -> None:
    names = [*concepts()["rated"][::3], *concepts()["unrated"][::3]]
    model = StableDiffusion(load_pipeline(build.model_path("tiny-emoji-64")))
    images = model.generate([prompt_of(name) for name in names], list(range(len(names))), Sampler())
    judge = FaithfulnessJudge(build.BUNDLED / "judge")
    found = sum(name in top for name, top in zip(names, judge.names(images, top=5), strict=True))
    assert found / len(names) >= 0.8
    scores = judge.score(images, [prompt_of(name) for name in names])
    wrong = judge.score(images, [prompt_of(name) for name in names[1:] + names[:1]])
    assert scores.mean() > 0.6
    assert wrong.mean() < 0.1

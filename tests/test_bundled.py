"""What rides in the package: small enough, traced, loadable, and good enough to recognise."""

from pathlib import Path

import pytest
from PIL import Image

from thumbtune import build
from thumbtune.demo import concepts, prompt_of
from thumbtune.evaluation.judge import Judge
from thumbtune.models.protocol import Sampler
from thumbtune.models.stable_diffusion import StableDiffusion, load_pipeline

MEGABYTE = 1_000_000
FILES = sorted(p for p in build.BUNDLED.rglob("*") if p.is_file() and "__pycache__" not in p.parts)


def test_the_weights_stay_under_thirty_megabytes_in_half_precision() -> None:
    weights = [p for p in FILES if p.suffix == ".safetensors"]
    assert {p.parent.name for p in weights} == {"unet", "vae", "text_encoder", "judge"}
    assert sum(p.stat().st_size for p in weights) <= 30 * MEGABYTE


def test_the_notice_traces_every_bundled_file() -> None:
    notice = (Path(__file__).parent.parent / "NOTICE").read_text()
    for path in FILES:
        top = path.relative_to(build.BUNDLED).parts[0]
        assert top in notice, f"NOTICE does not say where bundled/{top} comes from"


def test_no_rated_concept_is_judged() -> None:
    known = concepts()
    assert len(known["unrated"]) >= 24
    assert not set(known["rated"]) & set(known["unrated"])


def test_the_judge_knows_every_concept_with_or_without_an_article() -> None:
    judge = Judge(build.BUNDLED / "judge")
    known = concepts()
    names = [*known["rated"], *known["unrated"]]
    assert set(judge.concepts) == set(names)
    assert all(judge.knows(prompt_of(name)) for name in names)
    assert not judge.knows("a portrait of somebody")
    page = [Image.new("RGB", (64, 64), "white")] * 2
    bare, with_article = judge.score(page, ["octopus", "an octopus"])
    assert 0 <= bare == with_article <= 1


@pytest.mark.slow
def test_what_the_bundled_model_draws_is_what_was_asked() -> None:
    names = [*concepts()["rated"][::3], *concepts()["unrated"][::3]]
    model = StableDiffusion(load_pipeline(build.model_path("tiny-emoji-64")))
    images = model.generate([prompt_of(name) for name in names], list(range(len(names))), Sampler())
    judge = Judge(build.BUNDLED / "judge")
    found = sum(name in top for name, top in zip(names, judge.names(images, top=5), strict=True))
    assert found / len(names) >= 0.8
    scores = judge.score(images, [prompt_of(name) for name in names])
    wrong = judge.score(images, [prompt_of(name) for name in names[1:] + names[:1]])
    assert scores.mean() > 0.6
    assert wrong.mean() < 0.1

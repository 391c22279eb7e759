"""The model of the vector world: images that are vectors, prompts and prefixes, the reference, the sampler."""

import math

import pytest
import torch

from thumbtune.experiments.vector_model import RANGE, VectorModel, image_of, pretrain, prompt_of, vector_of
from thumbtune.experiments.vector_world import true_samples
from thumbtune.models.protocol import Model, Sampler
from thumbtune.training.sampling import seeded_generator

STEP = 2 * RANGE / (256**3 - 1)


def test_an_image_holds_a_vector_to_a_millionth() -> None:
    vectors = 3 * torch.randn(40, 8, generator=seeded_generator("vectors"))
    back = VectorModel().encode([image_of(row) for row in vectors.tolist()])
    assert (back - vectors).abs().max() <= STEP
    again = VectorModel().encode([image_of(row) for row in back.tolist()])
    assert (again - back).abs().max() <= 1e-6  # of float32 at 8
    assert vector_of(image_of([RANGE, -RANGE, 0.0, 1.0, 99.0, -99.0, math.inf, math.nan])) == pytest.approx(
        [RANGE, -RANGE, 0, 1, RANGE, -RANGE, RANGE, 0], abs=STEP
    )


def test_it_is_what_training_asks_for() -> None:
    assert isinstance(VectorModel(), Model)


def test_the_words_of_csft_change_nothing_before_they_are_trained() -> None:
    model, x, t = VectorModel(seed=3), torch.randn(4, 8, generator=seeded_generator("x")), torch.full((4,), 500)
    of = {p: model.embed([p] * 4) for p in ("prompt 7", "good image, prompt 7", "bad image, prompt 7", "prompt 8", "")}
    out = {prompt: model.predict(x, t, condition) for prompt, condition in of.items()}
    assert torch.equal(out["prompt 7"], out["good image, prompt 7"])
    assert torch.equal(out["prompt 7"], out["bad image, prompt 7"])
    assert not torch.allclose(out["prompt 7"], out["prompt 8"])
    assert not torch.allclose(out["prompt 7"], out[""])
    told = [of[prompt]["text"][0, -1].item() for prompt in ("prompt 7", "good image, prompt 7", "bad image, prompt 7")]
    assert told == [0, 1, -1]
    with pytest.raises(KeyError):
        model.embed(["prompt 48"])


def test_the_reference_keeps_the_first_weights_until_it_is_synced() -> None:
    model, x, t = VectorModel(seed=1), torch.randn(4, 8, generator=seeded_generator("x")), torch.full((4,), 500)
    condition = model.embed(["prompt 3"] * 4)
    first = model.predict(x, t, condition)
    with torch.no_grad():
        for _, weight in model.trainable():
            weight.add_(0.01)
    now = model.predict(x, t, condition)
    with model.reference():
        assert torch.equal(model.predict(x, t, condition), first)
    model.freeze_reference()
    with model.reference():
        assert torch.equal(model.predict(x, t, condition), now)


@pytest.fixture(scope="module")
def pretrained() -> VectorModel:
    model = VectorModel(seed=1)
    assert list(pretrain(model, 150, seed=1)) == list(range(1, 151))
    return model


def test_a_seed_generates_the_same_in_any_batch(pretrained: VectorModel) -> None:
    model, sampler = pretrained, Sampler(steps=5, guidance=1.5)
    prompts = [prompt_of(k) for k in range(4)]
    together = model.encode(model.generate(prompts, [5, 6, 7, 8], sampler))
    alone = model.encode(model.generate(prompts[2:3], [7], sampler))
    assert torch.allclose(together[2:3], alone, atol=1e-4)
    noise = torch.randn(1, 8, generator=torch.Generator().manual_seed(7))
    assert torch.allclose(model.denoise(noise, prompts[2:3], sampler), alone, atol=1e-4)


def test_guidance_goes_from_the_empty_prompt_through_the_prompt() -> None:
    """With one step, the sample is (x - s e) / a of the noise e = u + w (c - u)."""
    model, x = VectorModel(seed=2), torch.randn(3, 8, generator=seeded_generator("x"))
    t = torch.full((3,), 999)
    bar = model.process.alphas_cumprod[999]
    with_prompt, without = (model.predict(x, t, model.embed([text] * 3)) for text in ("prompt 9", ""))
    for guidance in (1.0, 1.5, 3.0):
        noise = without + guidance * (with_prompt - without)
        expected = (x - (1 - bar).sqrt() * noise) / bar.sqrt()
        found = model.denoise(x, ["prompt 9"] * 3, Sampler(steps=1, guidance=guidance))
        assert torch.allclose(found, expected.detach(), atol=1e-3)


def test_pretraining_lowers_the_error_and_keeps_the_weights_of_words_at_zero(pretrained: VectorModel) -> None:
    @torch.no_grad()
    def error(model: VectorModel) -> float:
        prompts = torch.arange(48).repeat(10)
        clean = true_samples(prompts, seeded_generator("held out"))
        noise = torch.randn(clean.shape, generator=seeded_generator("noise"))
        t = model.process.times(torch.arange(480) / 480)
        text = model.embed([prompt_of(k) for k in prompts.tolist()])
        return float((model.predict(model.process.noised(clean, noise, t), t, text) - noise).pow(2).mean())

    assert error(pretrained) < 0.7 * error(VectorModel(seed=1))
    assert not pretrained.network.first.weight[:, 20].any()

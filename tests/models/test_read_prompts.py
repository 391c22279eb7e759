"""How adapters read prompts: chunks, weights, clip skip and negative prompts, on real pipelines at tiny size.

Their text encoders read 8 tokens at once, six letters and two marks: ten letters are two chunks, fifteen are three.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from refusals import refused
from torch import Tensor

from thumbtune.errors import UsageError
from thumbtune.models.prompt_chunks import PromptEncoding
from thumbtune.models.protocol import Sampler

ONE, TWO, THREE = "ab", "abcdefghij", "abcdefghijklmno"
CHUNKS = PromptEncoding(over_length="chunks")
A1111 = PromptEncoding(over_length="chunks", syntax="a1111")
FAMILIES = ["epsilon", "v_prediction", "xl-epsilon", "xl-v_prediction"]
Make = Callable[..., Any]


@pytest.fixture
def make_reader(make_diffusion: Make) -> Make:
    """(family, encoding) -> a tiny model that reads prompts so; its text encoders are as if they had been trained."""

    def make(family: str, encoding: PromptEncoding = CHUNKS) -> Any:
        model = make_diffusion(family)
        generator = torch.Generator().manual_seed(3)
        for name in ("text_encoder", "text_encoder_2"):
            if (encoder := getattr(model.pipeline, name, None)) is not None:
                bias = getattr(encoder, "text_model", encoder).final_layer_norm.bias
                bias.data.add_(torch.randn(bias.shape, generator=generator))
        model.read_prompts(encoding)
        return model

    return make


def pixels(images: list[Any]) -> np.ndarray[Any, Any]:
    return np.stack([np.array(image) for image in images]).astype(int)


def about(model: Any, count: int) -> dict[str, Tensor]:
    from PIL import Image

    return model.image_condition([Image.new("RGB", (16, 16))] * count)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_short_prompts_are_read_as_before_bit_for_bit(family: str, make_reader: Make) -> None:
    usual, chunked, weighed = (make_reader(family, encoding) for encoding in (PromptEncoding(), CHUNKS, A1111))
    for prompt in ("", ONE, "abcdef"):
        for name, value in usual.embed([prompt]).items():
            assert torch.equal(chunked.embed([prompt])[name], value) and torch.equal(
                weighed.embed([prompt])[name], value
            )


@pytest.mark.parametrize("family", FAMILIES)
def test_each_chunk_is_read_as_a_prompt_of_its_own(family: str, make_reader: Make) -> None:
    usual, chunked = make_reader(family, PromptEncoding()), make_reader(family)
    parts = ["abcdef", "ghijkl", "mno"]
    # a word that is cut between two chunks stays cut: its letters are tokens already
    read = make_reader(family, PromptEncoding(over_length="chunks", syntax="a1111")).embed([" BREAK ".join(parts)])
    alone = [usual.embed([part]) for part in parts]
    torch.testing.assert_close(read["text"][0], torch.cat([one["text"][0] for one in alone]), rtol=0, atol=1e-6)
    assert chunked.embed([THREE])["text"].shape[1] == 24
    if "pooled" in read:
        torch.testing.assert_close(read["pooled"], alone[0]["pooled"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prediction_depends_on_its_own_prompt_only_however_long_the_others_are(
    family: str, make_reader: Make
) -> None:
    model = make_reader(family)
    prompts = [ONE, TWO, THREE, ""]
    noisy, t = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([5, 300, 700, 999])
    together = model.embed(prompts) | about(model, 4)
    assert together["text_mask"].sum(dim=1).tolist() == [8, 16, 24, 8]
    with torch.no_grad():
        whole = model.predict(noisy, t, together)
        for i, prompt in enumerate(prompts):
            alone = model.embed([prompt]) | about(model, 1)
            assert "text_mask" not in alone
            torch.testing.assert_close(
                model.predict(noisy[i : i + 1], t[i : i + 1], alone), whole[i : i + 1], atol=1e-5, rtol=0
            )
        longer = model.predict(noisy[:1], t[:1], model.embed([TWO]) | about(model, 1))
    assert (longer - whole[:1]).abs().max() > 1e-5  # the second chunk counts


@pytest.mark.parametrize("family", ["v_prediction", "xl-v_prediction"])
@pytest.mark.parametrize("negative", ["", "xy", THREE])
def test_guidance_reads_both_prompts_as_if_each_stood_alone(family: str, negative: str, make_reader: Make) -> None:
    """The loop of denoising by hand, with two calls of the network at each time, on texts of their own lengths."""
    model, steps, guidance = make_reader(family), 3, 4.0
    (drawn,) = pixels(model.generate([TWO], [11], Sampler(steps=steps, guidance=guidance, negative=negative)))
    scheduler, vae = model.pipeline.scheduler, model.pipeline.vae
    scheduler.set_timesteps(steps)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(11)) * scheduler.init_noise_sigma
    sizes = {"time_ids": torch.tensor([[16.0, 16, 0, 0, 16, 16]])} if family.startswith("xl") else {}
    with torch.no_grad():
        for t in scheduler.timesteps:
            wanted, avoided = (model.predict(latents, t[None], model.embed([text]) | sizes) for text in (TWO, negative))
            latents = scheduler.step(avoided + guidance * (wanted - avoided), t, latents).prev_sample
        decoded = vae.decode(latents / vae.config.scaling_factor).sample
    by_hand = ((decoded / 2 + 0.5).clamp(0, 1) * 255).round()[0].permute(1, 2, 0).numpy()
    assert np.abs(by_hand - drawn).max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_an_image_depends_on_its_own_prompt_and_seed_only(family: str, make_reader: Make) -> None:
    model, sampler = make_reader(family), Sampler(steps=2, guidance=3.0, negative="abcdefgh")
    prompts, seeds = [THREE, ONE, TWO, "cd"], [1, 2, 3, 4]
    whole = pixels(model.generate(prompts, seeds, sampler))
    for i in range(4):
        assert np.abs(pixels(model.generate(prompts[i : i + 1], seeds[i : i + 1], sampler)) - whole[i]).max() <= 1
    assert np.abs(pixels(model.generate([TWO], [1], sampler)) - whole[0]).max() > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_without_guidance_a_negative_prompt_changes_nothing(family: str, make_reader: Make) -> None:
    for encoding in (PromptEncoding(), CHUNKS):
        model = make_reader(family, encoding)
        with_one, without = (Sampler(steps=2, guidance=1.0, negative=text) for text in (THREE, ""))
        assert (pixels(model.generate([TWO], [5], with_one)) == pixels(model.generate([TWO], [5], without))).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_negative_prompt_is_that_of_the_pipeline(family: str, make_reader: Make) -> None:
    model = make_reader(family, PromptEncoding())
    prompts, seeds = [ONE, "cd"], [7, 8]
    ours = pixels(model.generate(prompts, seeds, Sampler(steps=2, guidance=5.0, negative="xyz")))
    theirs = model.pipeline(
        prompts,
        negative_prompt=["xyz", "xyz"],
        num_inference_steps=2,
        guidance_scale=5.0,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
    ).images
    assert np.abs(ours - pixels(theirs)).max() <= 1
    other = pixels(model.generate(prompts, seeds, Sampler(steps=2, guidance=5.0)))
    assert (ours != other).any()


@pytest.mark.parametrize("family", ["epsilon", "v_prediction"])
def test_weights_change_the_image_and_equal_weights_do_not(family: str, make_reader: Make) -> None:
    model, sampler = make_reader(family, A1111), Sampler(steps=2, guidance=5.0)
    texts = [model.embed([prompt])["text"] for prompt in ("a b", "(a:1.6) b", "a <lora:ink:1> b")]
    assert (texts[0] - texts[1]).abs().max() > 0.05 and torch.equal(texts[0], texts[2])
    assert (model.generate(["a b"], [1], sampler)[0].tobytes()) == model.generate(["a <lora:x:1>b"], [1], sampler)[
        0
    ].tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_the_fingerprint_differs_between_ways_of_reading(family: str, make_reader: Make) -> None:
    ways = [PromptEncoding(), CHUNKS, A1111, PromptEncoding(syntax="a1111"), PromptEncoding(clip_skip=2)]
    assert len({make_reader(family, way).fingerprint() for way in ways}) == len(ways)


def test_clip_skip_is_that_of_the_pipeline_counted_from_one(make_reader: Make) -> None:
    usual = make_reader("epsilon", PromptEncoding()).embed([ONE])["text"]
    assert torch.equal(make_reader("epsilon", PromptEncoding(clip_skip=1)).embed([ONE])["text"], usual)
    second = make_reader("epsilon", PromptEncoding(clip_skip=2))
    encoder = second.pipeline.text_encoder
    ids = second.pipeline.tokenizer([ONE], padding="max_length", return_tensors="pt").input_ids
    with torch.no_grad():
        wanted = encoder.final_layer_norm(encoder(ids, output_hidden_states=True).hidden_states[1])
    torch.testing.assert_close(second.embed([ONE])["text"], wanted, rtol=0, atol=1e-6)
    assert (second.embed([ONE])["text"] - usual).abs().max() > 1e-3


def test_sdxl_takes_the_layer_before_the_last_and_no_other(make_reader: Make) -> None:
    usual, named = make_reader("xl-epsilon", PromptEncoding()), make_reader("xl-epsilon", PromptEncoding(clip_skip=2))
    for name, value in usual.embed([ONE]).items():
        assert torch.equal(named.embed([ONE])[name], value)
    for skip in (1, 3):
        with refused("prompts-clip-skip", UsageError, naming=f"prompts.clip_skip is {skip}"):
            usual.read_prompts(PromptEncoding(clip_skip=skip))


def test_layers_that_are_not_there_are_refused(make_reader: Make) -> None:
    model = make_reader("epsilon", PromptEncoding())
    with refused("prompts-clip-skip", UsageError, naming="layers 1 to 2"):
        model.read_prompts(PromptEncoding(clip_skip=3))
    # SD 2.x: its files lack the last layer, so its own is the second
    model.pipeline.text_encoder.config.hidden_size = 1024
    model.read_prompts(PromptEncoding(clip_skip=2))
    usual = make_reader("epsilon", PromptEncoding()).embed([ONE])["text"]
    assert torch.equal(model.embed([ONE])["text"], usual)
    with refused("prompts-clip-skip", UsageError, naming="layers 2 to 3"):
        model.read_prompts(PromptEncoding(clip_skip=1))

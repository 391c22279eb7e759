"""Half precision: frozen weights in it give the numbers of autocast; what draws, encodes and rests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_transformers import BUILDERS
from torch import Tensor, nn

from thumbtune.models import devices
from thumbtune.models import drawing as shared
from thumbtune.models.families import adapter_of
from thumbtune.models.full import Full
from thumbtune.models.half import CAST, store
from thumbtune.models.loading import load_pipeline
from thumbtune.models.lora import LoRA
from thumbtune.models.lora_targets import PRESETS
from thumbtune.models.prompt_chunks import PromptEncoding
from thumbtune.models.protocol import Sampler, Tuning

KINDS = ["epsilon", "v_prediction", "xl-epsilon"]
HALVES = [torch.bfloat16, torch.float16]
Make = Callable[..., Any]


@pytest.fixture
def make(tiny_pipeline: Callable[[str], Path]) -> Make:
    def made(kind: str = "epsilon", half: torch.dtype | None = None, tuning: Tuning | None = None) -> Any:
        return adapter_of(load_pipeline(str(tiny_pipeline(kind))), tuning, half=half)

    return made


def image(seed: int) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 255, (16, 16, 3))
    return Image.fromarray(values.astype(np.uint8))


def condition_of(kind: str) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)

    def random(*shape: int) -> Tensor:
        return torch.randn(2, *shape, generator=generator)

    if not kind.startswith("xl"):
        return {"text": random(8, 16)}
    return {"text": random(8, 40), "pooled": random(12), "time_ids": 16 * torch.ones(2, 6)}


def predicted(model: Any, kind: str, half: torch.dtype) -> Tensor:
    noisy = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    with torch.autocast("cpu", half):
        return model.predict(noisy, torch.tensor([40, 900]), condition_of(kind)).float()


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("targets", ["attention", "with-convolutions"])
def test_frozen_weights_in_half_precision_change_no_number_of_a_training_step(
    make: Make, perturb: Any, kind: str, half: torch.dtype, targets: str
) -> None:
    tuning = LoRA(rank=4, targets=PRESETS[targets])
    models = [make(kind, used, tuning) for used in (None, half)]
    found = []
    for model in models:
        perturb(model)
        with torch.no_grad(), model.reference():
            reference = predicted(model, kind, half)
        out = predicted(model, kind, half)
        out.square().mean().backward()
        found.append((reference, out, *(weight.grad for _, weight in model.trainable())))
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))
    assert all(weight.dtype == torch.float32 for _, weight in models[1].trainable())
    bytes_of = [sum(w.nbytes for w in model.network.parameters() if not w.requires_grad) for model in models]
    assert bytes_of[1] < 0.52 * bytes_of[0]  # norms stay in float32


def test_a_dora_keeps_the_weights_whose_lengths_it_trains(make: Make, perturb: Any) -> None:
    found = []
    for used in (None, torch.bfloat16):
        model = make("epsilon", used, LoRA(rank=4, dora=True))
        perturb(model)
        found.append(predicted(model, "epsilon", torch.bfloat16))
    assert torch.equal(*found)
    attention = model.network.mid_block.attentions[0].transformer_blocks[0].attn1
    assert attention.to_q.base_layer.weight.dtype == torch.float32
    assert model.network.conv_in.weight.dtype == torch.bfloat16


def test_the_vae_of_sdxl_and_norms_and_trained_weights_stay_in_float32(make: Make) -> None:
    xl, half = make("xl-epsilon", torch.float16), torch.float16
    assert {weight.dtype for weight in xl.pipeline.vae.parameters()} == {torch.float32}
    for part in (xl.pipeline.unet, xl.pipeline.text_encoder, xl.pipeline.text_encoder_2):
        for layer in part.modules():
            for weight in layer.parameters(recurse=False):
                assert weight.dtype == (half if isinstance(layer, CAST) else torch.float32)
    whole = make("epsilon", half, Full(autocast=half))
    assert {weight.dtype for _, weight in whole.trainable()} == {torch.float32}
    assert whole.pipeline.vae.decoder.conv_in.weight.dtype == torch.float32
    assert make("epsilon", torch.bfloat16).pipeline.vae.decoder.conv_in.weight.dtype == torch.bfloat16
    plain = nn.Linear(2, 2)
    store([plain], None)
    assert plain.weight.dtype == torch.float32


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_latents_embeddings_and_images_are_near_those_of_float32(make: Make, kind: str) -> None:
    plain, half = make(kind), make(kind, torch.bfloat16)
    assert plain.fingerprint() != half.fingerprint() != make(kind, torch.float16).fingerprint()
    latents = [model.encode([image(0), image(1)]) for model in (plain, half)]
    assert {one.dtype for one in latents} == {torch.float32}
    assert torch.equal(*latents) == kind.startswith("xl")
    assert (latents[0] - latents[1]).norm() < 0.02 * latents[0].norm()
    for name, value in plain.embed(["abc", "", "cde"]).items():
        other = half.embed(["abc", "", "cde"])[name]
        assert other.dtype == torch.float32 and not torch.equal(value, other)
        assert (value - other).norm() < 0.02 * value.norm()
    sampler = Sampler(steps=3, guidance=3.0)
    images = [np.stack(model.generate(["abc", "de"], [3, 4], sampler)).astype(int) for model in (plain, half)]
    assert 0 < np.abs(images[0] - images[1]).max() and np.abs(images[0] - images[1]).mean() < 3
    again = half.generate(["de"], [4], sampler)[0]
    assert np.abs(np.array(again).astype(int) - images[1][1]).max() <= 2
    noisy = torch.zeros(1, 4, 8, 8)
    condition = {name: value[:1] for name, value in condition_of(kind).items()}
    with torch.autocast("cpu", torch.bfloat16):  # drawing has left nothing behind
        assert half.predict(noisy, torch.tensor([3]), condition).dtype == torch.bfloat16


@pytest.mark.parametrize("kind", KINDS)
def test_a_vae_beyond_the_range_of_fp16_encodes_and_draws(make: Make, kind: str) -> None:
    model, plain = make(kind, torch.float16), make(kind)
    for one in (model, plain):
        one.pipeline.vae.encoder.conv_in.weight.data *= 1e5
        one.pipeline.vae.decoder.conv_in.weight.data *= 1e5
    assert torch.equal(model.encode([image(0)]), plain.encode([image(0)]))
    assert len(model.generate(["abc"], [3], Sampler(steps=1))) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_that_gives_no_numbers_is_refused(make: Make, kind: str) -> None:
    from refusals import refused

    model = make(kind, torch.float16)
    for weight in model.pipeline.vae.decoder.parameters():
        weight.data.fill_(float("nan"))
    with refused("model-not-finite"):
        model.generate(["abc"], [3], Sampler(steps=1))


class Moves:
    """What was moved where, in order; nothing moves for real."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, model: Any) -> None:
        self.seen: list[tuple[str, str]] = []
        self.names = {part: name for name, part in model.pipeline.components.items() if isinstance(part, nn.Module)}
        self.places = dict.fromkeys(self.names.values(), "cpu")
        monkeypatch.setattr(devices, "device_of", lambda network: torch.device(self.places[self.names[network]]))
        monkeypatch.setattr(nn.Module, "to", self.moved_to(nn.Module.to))

    def moved_to(self, usual: Any) -> Any:
        def to(network: nn.Module, device: Any) -> nn.Module:
            if network not in self.names:
                return usual(network, device)
            name = self.names[network]
            self.seen.append((name, str(device)))
            self.places[name] = str(device)
            return network

        return to


@pytest.mark.parametrize("kind", KINDS)
def test_parts_that_training_does_not_need_rest_and_come_back(
    make: Make, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    model = make(kind)
    moves = Moves(monkeypatch, model)
    texts = ["text_encoder", "text_encoder_2"][: 2 if kind.startswith("xl") else 1]
    moves.places |= dict.fromkeys(["vae", *texts], "meta")  # as if an accelerator had all
    model.rest()
    assert moves.seen == [(part, "cpu") for part in ("vae", *texts)]
    moves.seen.clear()
    model.rest()
    assert moves.seen == []  # once is enough
    moves.places |= dict.fromkeys(["vae", *texts], "meta")
    model.encode([image(0)])  # the model is on the CPU
    assert sorted(moves.seen) == sorted((part, "cpu") for part in ("vae", *texts))
    moves.seen.clear()
    moves.places |= dict.fromkeys(["vae", *texts], "meta")
    model.embed(["abc"])
    assert moves.seen[0] == ("vae", "cpu") and {part for part, _ in moves.seen} == {"vae", *texts}
    moves.places |= dict.fromkeys(["vae", *texts], "meta")
    moves.seen.clear()
    model.generate(["abc"], [1], Sampler(steps=1))
    assert sorted(moves.seen) == sorted((part, "cpu") for part in ("vae", *texts))


@pytest.mark.parametrize("kind", KINDS)
def test_prompts_in_chunks_are_embedded_and_drawn_in_half_precision_too(
    make: Make, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    plain, half = make(kind), make(kind, torch.bfloat16)
    for model in (plain, half):
        model.read_prompts(PromptEncoding(over_length="chunks", syntax="a1111"))
    prompts, sampler = ["abcdefghij (kl:1.3)", "ab"], Sampler(steps=2, guidance=3.0)
    for name, value in plain.embed(prompts).items():
        other = half.embed(prompts)[name]
        assert other.dtype == torch.float32 and (value - other).norm() <= 0.03 * value.norm()
    images = [np.stack(model.generate(prompts, [3, 4], sampler)).astype(int) for model in (plain, half)]
    assert np.abs(images[0] - images[1]).mean() < 4
    moves = Moves(monkeypatch, half)
    half.rest()
    half.generate(prompts, [3, 4], sampler)
    assert set(moves.places.values()) == {"cpu"}


class Vae:
    """A VAE with memory for `room` images at once; in tiles it needs less."""

    def __init__(self, room: int) -> None:
        self.room, self.tiling, self.asked = room, False, []

    def decode(self, latents: Tensor, return_dict: bool) -> tuple[Tensor]:
        self.asked.append((len(latents), self.tiling))
        if len(latents) > self.room and not self.tiling:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] not enough memory")
        return (2 * latents,)

    def enable_tiling(self) -> None:
        self.tiling = True

    def disable_tiling(self) -> None:
        self.tiling = False


@pytest.mark.slow
@pytest.mark.parametrize(
    ("room", "half", "asked"),
    [
        (8, None, [(4, False)]),
        (2, None, [(4, False), (2, False), (2, False)]),
        (1, torch.bfloat16, [(1, False)] * 4),
        (0, torch.bfloat16, [(1, False), (1, True)] * 4),
        (0, None, [(4, False), (2, False), *[(1, False), (1, True)] * 4]),
    ],
)
def test_images_are_decoded_in_parts_that_the_memory_holds(
    room: int, half: torch.dtype | None, asked: list[tuple[int, bool]]
) -> None:
    vae = Vae(room)
    latents = torch.arange(8.0).reshape(4, 2)
    assert torch.equal(shared.decoded(vae, latents, half), 2 * latents)
    assert vae.asked == asked and not vae.tiling


def test_other_faults_of_decoding_are_not_taken_for_a_lack_of_memory() -> None:
    class Broken(Vae):
        def decode(self, latents: Tensor, return_dict: bool) -> tuple[Tensor]:
            raise RuntimeError("shapes do not fit")

    vae = Broken(1)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        shared.decoded(vae, torch.zeros(1, 2), None)
    assert not vae.tiling


def test_networks_that_an_accelerator_cannot_hold_together_take_turns(make: Make, monkeypatch: Any) -> None:
    model = make()
    expected = model.generate(["a cat"], [3], Sampler(steps=2))
    told: list[Any] = []
    pipeline = model.pipeline
    monkeypatch.setattr(shared, "takes_turns", lambda weights, device: weights > 0)
    monkeypatch.setattr(pipeline, "enable_model_cpu_offload", lambda **options: told.append(options), raising=False)
    monkeypatch.setattr(pipeline, "remove_all_hooks", lambda: told.append("removed"), raising=False)
    drawn = model.generate(["a cat"], [3], Sampler(steps=2))
    assert told == [{"device": torch.device("cpu")}, "removed"]
    assert np.array_equal(np.asarray(drawn[0]), np.asarray(expected[0]))


@pytest.mark.parametrize(("device", "turns"), [("cuda", [False, True]), ("cpu", [False, False])])
def test_networks_take_turns_where_four_fifths_of_the_memory_are_too_little(
    device: str, turns: list[bool], monkeypatch: Any
) -> None:
    monkeypatch.setattr(shared, "room_of", lambda device: 1000)
    assert [shared.takes_turns(weights, torch.device(device)) for weights in (800, 801)] == turns


@pytest.mark.slow
@pytest.mark.parametrize("name", list(BUILDERS))
def test_every_family_of_transformers_draws_in_half_precision(name: str, make: Make) -> None:
    model = make(name, torch.bfloat16)
    model.size = 32
    image = np.asarray(model.generate(["a cat"], [3], Sampler(steps=2))[0], np.float64)
    plain = make(name)
    plain.size = 32
    expected = np.asarray(plain.generate(["a cat"], [3], Sampler(steps=2))[0], np.float64)
    assert image.shape == (32, 32, 3) and abs(image - expected).mean() < 8


def test_t5_in_fp16_computes_layers_that_exceed_its_range_in_float32(make: Make) -> None:
    def encoder_of(model: Any) -> Any:
        encoder = model.pipeline.text_encoder_2
        with torch.no_grad():  # as of published weights: products beyond 65504
            encoder.encoder.block[0].layer[1].DenseReluDense.wi.weight.mul_(3000)
            encoder.encoder.block[0].layer[1].DenseReluDense.wo.weight.mul_(3000)
        return encoder

    ids = torch.arange(8)[None] + 3
    models = [make("flux", half) for half in (None, torch.float16)]
    with torch.no_grad():
        expected = encoder_of(models[0])(ids).last_hidden_state
        encoder = encoder_of(models[1])
        with torch.autocast("cpu", torch.float16):
            found = encoder(ids).last_hidden_state
    assert found.isfinite().all()
    torch.testing.assert_close(found.float(), expected, rtol=0.02, atol=0.02)
    kept = [name for name, weight in encoder.named_parameters() if weight.dtype == torch.float32]
    assert kept and all(name.endswith("wo.weight") for name in kept)

"""What every family of networks must do: one suite over all adapters, on real classes at tiny size."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tiny_transformers import BUILDERS
from torch import Tensor

from thumbtune.models.full import Full
from thumbtune.models.plane import image_of_point
from thumbtune.models.prompt_encoding import MASK
from thumbtune.models.protocol import Model, Sampler

SAMPLER = Sampler(steps=4, guidance=3.0)
PROMPTS, SEEDS = ["a cat", "red dog", ""], [3, 14, 15]
LATENT = {
    "epsilon": (4, 8, 8),
    "v_prediction": (4, 8, 8),
    "full": (4, 8, 8),
    "xl-epsilon": (4, 8, 8),
    "xl-v_prediction": (4, 8, 8),
    "xl-full": (4, 8, 8),
    **dict.fromkeys(BUILDERS, (4, 8, 8)),
    "klein": (16, 8, 8),
    "flux2": (16, 8, 8),
    "sana": (4, 16, 16),
    "lumina2": (4, 4, 4),
    "plane": (2,),
}


@pytest.fixture(scope="module", params=list(LATENT))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def fresh(family: str, request: pytest.FixtureRequest) -> Callable[[], Any]:
    """A factory of equal models, each loaded anew."""
    if family == "plane":
        make_plane: Callable[[], Any] = request.getfixturevalue("make_plane")
        return make_plane
    make_diffusion = request.getfixturevalue("make_diffusion")
    if family.endswith("full"):
        return lambda: make_diffusion(family.replace("full", "epsilon"), tuning=Full())
    return lambda: make_diffusion(family)


@pytest.fixture
def model(fresh: Callable[[], Any]) -> Any:
    return fresh()


@pytest.fixture(scope="module")
def untouched(fresh: Callable[[], Any]) -> Any:
    """A model for all tests that only ask it."""
    return fresh()


@pytest.fixture
def images(family: str) -> list[Image.Image]:
    if family == "plane":
        return [image_of_point(0.1, 0.9), image_of_point(0.5, 0.4), image_of_point(1.0, 0.0)]
    noise = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    return [Image.fromarray(one) for one in noise]


def asked(model: Any, t: tuple[int, ...] | None = None, rows: slice = slice(None)) -> Tensor:
    """What the model predicts for some noisy latents."""
    t = t or ((0, 40, 99) if len(getattr(model, "networks", "1")) == 1 else (0, 990, 40))  # each network is asked
    shape = model.encode([Image.new("RGB", (16, 16), "red")]).shape[1:]
    noisy = torch.randn(3, *shape, generator=torch.Generator().manual_seed(5))
    pictures = [Image.new("RGB", size) for size in ((16, 16), (40, 20), (20, 40))]
    whole = model.embed(PROMPTS) | model.image_condition(pictures)
    condition = {name: value[rows] for name, value in whole.items()}
    out: Tensor = model.predict(noisy[rows], torch.tensor(t)[rows], condition)
    return out


def answer(model: Any) -> Tensor:
    with torch.no_grad():
        return asked(model)


def arrays(images: list[Image.Image]) -> list[NDArray[np.int16]]:
    return [np.array(one).astype(np.int16) for one in images]


def test_an_adapter_has_everything_that_the_protocol_names(untouched: Any) -> None:
    assert isinstance(untouched, Model)


def test_encode_gives_float32_latents_without_randomness(
    untouched: Any, images: list[Image.Image], family: str
) -> None:
    latents = untouched.encode(images)
    assert latents.shape == (3, *LATENT[family])
    assert latents.dtype == torch.float32 and latents.device.type == "cpu" and not latents.requires_grad
    assert torch.equal(untouched.encode(images), latents)


def test_a_row_of_encode_depends_on_its_own_image_only(untouched: Any, images: list[Image.Image]) -> None:
    together = untouched.encode(images)
    for i, image in enumerate(images):
        torch.testing.assert_close(untouched.encode([image]), together[i : i + 1], rtol=0, atol=1e-5)
    torch.testing.assert_close(untouched.encode(images[::-1]), together.flip(0), rtol=0, atol=1e-5)


def test_a_row_of_embed_depends_on_its_own_prompt_only(untouched: Any) -> None:
    prompts = [*PROMPTS, "a very long prompt with more letters than there are places"]
    together = untouched.embed(prompts)
    mask = together.pop(MASK, None)  # beside texts of unequal lengths
    for i, prompt in enumerate(prompts):
        alone = untouched.embed([prompt])
        assert alone.keys() == together.keys()
        for name, value in alone.items():
            assert value.dtype == torch.float32 and value.device.type == "cpu"
            row = together[name][i] if mask is None or name != "text" else together[name][i][mask[i].bool()]
            torch.testing.assert_close(value[0], row, rtol=0, atol=1e-5)


def test_a_row_of_the_images_condition_depends_on_its_own_image_only(untouched: Any, images: list[Image.Image]) -> None:
    images = [*images, images[0].resize((48, 20))]
    together = untouched.image_condition(images)
    assert not together.keys() & untouched.embed(PROMPTS).keys() and "latent" not in together
    for i, image in enumerate(images):
        alone = untouched.image_condition([image])
        assert alone.keys() == together.keys()
        for name, value in alone.items():
            assert value.dtype == torch.float32 and value.device.type == "cpu"
            assert torch.equal(value, together[name][i : i + 1])


def test_predict_answers_in_the_shape_of_the_latents_row_by_row(untouched: Any, family: str) -> None:
    together = answer(untouched)
    assert together.shape == (3, *LATENT[family])
    with torch.no_grad():
        for i in range(3):
            one = slice(i, i + 1)
            torch.testing.assert_close(asked(untouched, rows=one), together[one], rtol=0, atol=1e-5)


def test_a_fresh_policy_is_its_own_reference(untouched: Any) -> None:
    policy = answer(untouched)
    with untouched.reference():
        torch.testing.assert_close(answer(untouched), policy, rtol=0, atol=0)


def test_a_trained_policy_differs_from_the_reference_which_stays(model: Any, perturb: Callable[..., None]) -> None:
    before = answer(model)
    perturb(model)
    policy = answer(model)
    assert (policy - before).abs().max() > 0.01
    with model.reference():
        torch.testing.assert_close(answer(model), before, rtol=0, atol=0)
    torch.testing.assert_close(answer(model), policy, rtol=0, atol=0)


def test_an_exception_inside_reference_brings_the_policy_back(model: Any, perturb: Callable[..., None]) -> None:
    perturb(model)
    policy, names = answer(model), [name for name, _ in model.trainable()]
    with pytest.raises(KeyError), model.reference():
        raise KeyError
    assert torch.equal(answer(model), policy)
    with pytest.raises(KeyError), model.reference(), model.reference():
        raise KeyError
    assert torch.equal(answer(model), policy)
    assert [name for name, _ in model.trainable()] == names


@pytest.mark.slow
def test_a_refreshed_reference_is_the_policy_of_that_moment_and_stays(
    model: Any, fresh: Callable[[], Any], perturb: Callable[..., None]
) -> None:
    base = answer(model)
    assert model.reference_state() == {}
    perturb(model)
    moment, names = answer(model), [name for name, _ in model.trainable()]
    model.freeze_reference()
    perturb(model, seed=2)
    policy = answer(model)
    assert not torch.equal(policy, moment)
    for _ in range(2):
        with model.reference():
            assert torch.equal(answer(model), moment)
            with model.reference():
                assert torch.equal(answer(model), moment)
        assert torch.equal(answer(model), policy)
    with pytest.raises(KeyError), model.reference():
        raise KeyError
    assert torch.equal(answer(model), policy)
    assert [name for name, _ in model.trainable()] == names

    other = fresh()
    other.restore_reference({name: value.clone() for name, value in model.reference_state().items()})
    assert torch.equal(answer(other), base)
    with other.reference():
        assert torch.equal(answer(other), moment)
    other.restore_reference({})
    assert other.reference_state() == {}
    with other.reference():
        torch.testing.assert_close(answer(other), base, rtol=0, atol=0)


def test_asking_a_refreshed_reference_between_forward_and_backward_leaves_the_gradient_as_it_is(
    model: Any, perturb: Callable[..., None]
) -> None:
    perturb(model)
    model.freeze_reference()
    perturb(model, seed=2)
    gradients = []
    for between in (False, True):
        loss = asked(model).pow(2).mean()
        if between:
            with torch.no_grad(), model.reference():
                assert not asked(model).requires_grad
        loss.backward()
        gradients.append([weight.grad.clone() for _, weight in model.trainable()])
        for _, weight in model.trainable():
            weight.grad = None
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    assert any(gradient.abs().max() > 0 for gradient in gradients[0])


def test_a_refreshed_reference_is_not_what_is_saved(
    model: Any, fresh: Callable[[], Any], perturb: Callable[..., None], tmp_path: Path
) -> None:
    model.freeze_reference()
    perturb(model)
    model.save(tmp_path)
    other = fresh()
    other.load(tmp_path)
    assert torch.equal(answer(other), answer(model))


def test_a_reference_inside_a_reference_leaves_the_outer_one_standing(model: Any, perturb: Callable[..., None]) -> None:
    before = answer(model)
    perturb(model)
    with model.reference():
        with model.reference():
            assert torch.equal(answer(model), before)
        assert torch.equal(answer(model), before)
    assert not torch.equal(answer(model), before)


def test_only_what_is_trainable_gets_gradients(model: Any, perturb: Callable[..., None]) -> None:
    perturb(model)
    trainable = dict(model.trainable())
    assert trainable and len(set(map(id, trainable.values()))) == len(trainable)
    assert all(weight.dtype == torch.float32 for weight in trainable.values())
    asked(model).pow(2).mean().backward()
    for name, weight in trainable.items():
        assert weight.grad is not None and weight.grad.abs().max() > 0, name
    ours = set(map(id, trainable.values()))
    others = [p for p in everything(model) if id(p) not in ours]
    assert others and all(p.grad is None for p in others)


def everything(model: Any) -> list[Tensor]:
    if hasattr(model, "pipeline"):
        parts = model.pipeline.components.values()
        return [p for part in parts if isinstance(part, torch.nn.Module) for p in part.parameters()]
    return [*model.denoiser.parameters(), *model._frozen.parameters()]


def test_asking_the_reference_gives_no_gradients(model: Any, perturb: Callable[..., None]) -> None:
    perturb(model)
    with torch.no_grad(), model.reference():
        assert not asked(model).requires_grad
    assert all(weight.grad is None for _, weight in model.trainable())
    assert asked(model).requires_grad


def test_a_seed_gives_its_image_whatever_the_batch(untouched: Any) -> None:
    together = arrays(untouched.generate(PROMPTS, SEEDS, SAMPLER))
    assert np.abs(together[0] - together[1]).max() > 3
    again = arrays(untouched.generate(PROMPTS, SEEDS, SAMPLER))
    assert all(np.array_equal(a, b) for a, b in zip(together, again, strict=True))
    for i in range(3):
        (alone,) = arrays(untouched.generate(PROMPTS[i : i + 1], SEEDS[i : i + 1], SAMPLER))
        assert np.abs(alone - together[i]).max() <= 1  # the sums of a batch of one may round otherwise
    turned = arrays(untouched.generate(PROMPTS[::-1], SEEDS[::-1], SAMPLER))[::-1]
    assert all(np.abs(a - b).max() <= 1 for a, b in zip(together, turned, strict=True))


def test_generating_disturbs_neither_the_global_generator_nor_the_process(untouched: Any) -> None:
    process = untouched.process
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    untouched.generate(PROMPTS, SEEDS, SAMPLER)
    assert torch.equal(torch.rand(3), expected)
    assert untouched.process is process


def test_inside_reference_the_images_are_those_of_the_base_model(model: Any, perturb: Callable[..., None]) -> None:
    base = arrays(model.generate(PROMPTS, SEEDS, SAMPLER))
    perturb(model, by=0.5)
    tuned = arrays(model.generate(PROMPTS, SEEDS, SAMPLER))
    with model.reference():
        reference = arrays(model.generate(PROMPTS, SEEDS, SAMPLER))
    assert all(np.array_equal(a, b) for a, b in zip(base, reference, strict=True))
    assert max(np.abs(a - b).max() for a, b in zip(base, tuned, strict=True)) > 3


def test_what_was_saved_predicts_the_same_in_a_fresh_model(
    model: Any, fresh: Callable[[], Any], perturb: Callable[..., None], tmp_path: Path
) -> None:
    perturb(model)
    model.save(tmp_path / "tuned")
    other = fresh()
    assert not torch.equal(answer(other), answer(model))
    other.load(tmp_path / "tuned")
    assert torch.equal(answer(other), answer(model))
    assert not [file for file in (tmp_path / "tuned").iterdir() if file.name.startswith(".")]


def test_the_fingerprint_is_that_of_the_encoders_not_of_what_is_trained(
    model: Any, fresh: Callable[[], Any], perturb: Callable[..., None]
) -> None:
    mark = model.fingerprint()
    assert mark == fresh().fingerprint() == model.fingerprint()
    perturb(model)
    assert model.fingerprint() == mark
    with model.reference():
        assert model.fingerprint() == mark

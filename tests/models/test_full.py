"""Full fine-tuning: what diffusers makes of the result, and a reference in half precision that changes no number."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from refusals import refused
from torch import Tensor

from thumbtune.models.full import CONFIG_FILE, DIFFUSERS_FILE, Full
from thumbtune.models.protocol import Sampler


def asked(model: Any) -> Tensor:
    """What the model predicts in bf16 for some noisy latents."""
    noisy = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        out: Tensor = model.predict(noisy, torch.tensor([0, 400, 999]), model.embed(["a cat", "red dog", ""]))
    return out.float()


def test_every_weight_of_the_network_is_trained(make_diffusion: Any) -> None:
    model = make_diffusion(tuning=Full())
    assert [name for name, _ in model.trainable()] == [name for name, _ in model.pipeline.unet.named_parameters()]
    frozen = [*model.pipeline.vae.parameters(), *model.pipeline.text_encoder.parameters()]
    assert not any(weight.requires_grad for weight in frozen)


def test_diffusers_draws_our_images_with_what_was_saved(make_diffusion: Any, perturb: Any, tmp_path: Path) -> None:
    model = make_diffusion(tuning=Full())
    sampler = Sampler(steps=3, guidance=3.0)
    (base,) = model.generate(["a cat"], [7], sampler)
    perturb(model, by=0.05)
    (ours,) = model.generate(["a cat"], [7], sampler)
    assert np.abs(np.array(ours).astype(int) - np.array(base)).max() > 20
    model.save(tmp_path / "unet")
    assert {file.name for file in (tmp_path / "unet").iterdir()} == {CONFIG_FILE, DIFFUSERS_FILE}
    stranger = make_diffusion(tuning=Full()).pipeline
    stranger.unet = UNet2DConditionModel.from_pretrained(tmp_path / "unet")
    generator = [torch.Generator().manual_seed(7)]
    (theirs,) = stranger(["a cat"], num_inference_steps=3, guidance_scale=3.0, generator=generator).images
    assert np.array_equal(np.array(ours), np.array(theirs))


def test_a_reference_in_the_precision_of_autocast_gives_the_same_numbers_in_less_memory(
    make_diffusion: Any, perturb: Any
) -> None:
    model, plain = make_diffusion(tuning=Full(autocast=torch.bfloat16)), make_diffusion(tuning=Full())
    before = asked(model)
    perturb(model)
    perturb(plain)
    with model.reference():
        assert torch.equal(asked(model), before)
        kept = sum(weight.data.nbytes for weight in model.network.parameters())
    with plain.reference():
        assert torch.equal(asked(plain), before)
    own = sum(weight.data.nbytes for weight in model.network.parameters())
    assert kept < 0.55 * own
    assert all(weight.dtype == torch.float32 for weight in model.network.parameters())
    moment = asked(model)
    model.freeze_reference()
    perturb(model, seed=2)
    with model.reference():
        assert torch.equal(asked(model), moment)
    loss = model.predict(torch.zeros(1, 4, 8, 8), torch.tensor([3]), model.embed(["a cat"])).pow(2).mean()
    loss.backward()
    assert all(weight.grad.dtype == torch.float32 for _, weight in model.trainable())


def test_the_weights_of_another_network_are_refused(make_diffusion: Any, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    model = make_diffusion(tuning=Full())
    with refused("result-unreadable", naming=tmp_path):
        model.load(tmp_path)
    save_file({"conv_in.weight": torch.zeros(3)}, tmp_path / DIFFUSERS_FILE)
    with refused("result-other-network", naming=tmp_path):
        model.load(tmp_path)


def test_drawing_reads_the_weights_of_the_reference_only_if_it_is_asked_for(make_diffusion: Any, perturb: Any) -> None:
    base = {name: weight.clone() for name, weight in make_diffusion(tuning=Full()).trainable()}
    reads: list[int] = []

    def read() -> dict[str, Tensor]:
        reads.append(1)
        return {**base, "a buffer": torch.zeros(1)}

    plain, model = make_diffusion(tuning=Full()), make_diffusion(tuning=Full(first=read))
    before = asked(model)
    perturb(plain)
    perturb(model)
    sampler = Sampler(steps=2, guidance=3.0)
    drawn = [np.array(one.generate(["a cat"], [7], sampler)[0]) for one in (plain, model)]
    assert np.array_equal(drawn[0], drawn[1]) and not reads
    policy = asked(model)
    for _ in range(2):
        with model.reference():
            assert torch.equal(asked(model), before)
    assert torch.equal(asked(model), policy) and reads == [1]
    model.freeze_reference()
    with model.reference():
        assert torch.equal(asked(model), policy)
    model.restore_reference({})
    assert reads == [1] and model.reference_state() == {}
    with model.reference():
        assert torch.equal(asked(model), before)
    assert reads == [1]

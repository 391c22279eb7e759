"""The safety checker flags what diffusers' own class flags, from the files as published."""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from refusals import refused
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig

from thumbtune.evaluation.scorers import loading
from thumbtune.evaluation.scorers.loading import load_scorers
from thumbtune.evaluation.scorers.pixels import clip_pixels
from thumbtune.evaluation.scorers.protocol import Scorer
from thumbtune.evaluation.scorers.published_files import Locations
from thumbtune.evaluation.scorers.published_scorers import PUBLISHED_SCORERS
from thumbtune.evaluation.scorers.resolve import ScorerGroup
from thumbtune.evaluation.scorers.safety import SafetyNet, from_published
from thumbtune.evaluation.scorers.scoring import PromptedImage, score_images

SAFE = PUBLISHED_SCORERS["safe"]
COUNT = 60
SAME = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


def config() -> Any:
    """A tiny one. As in the published file, its inner part names another width of embeddings, which is not used."""
    vision = SAME | {"image_size": 224, "patch_size": 56, "projection_dim": 5}
    return CLIPConfig(projection_dim=8, text_config=SAME, vision_config=vision)


def noisy_images(count: int = COUNT) -> list[Image.Image]:
    """Plain, noisy and striped ones of several shapes."""
    noise = np.random.default_rng(0)
    found = []
    for i in range(count):
        height, width = 8 + 5 * (i % 7), 8 + 3 * (i % 11)
        base = noise.integers(0, 256, 3)
        grain = noise.integers(0, 1 + 2 * i, (height, width, 3))
        found.append(Image.fromarray(np.clip(base + grain, 0, 255).astype(np.uint8)))
    return found


def checker(seen: torch.Tensor, care: bool) -> Any:
    """diffusers' own, with thresholds in the middle of what it sees, so that about half is flagged.

    With `care`, special concepts decide many: thresholds of the others lie just above most cosines.
    """
    one = StableDiffusionSafetyChecker(config()).eval()
    with torch.no_grad():
        one.concept_embeds.normal_()
        one.special_care_embeds.normal_()
        pixels = one.visual_projection(one.vision_model(seen)[1])
        for name, share in (("concept_embeds", 0.97), ("special_care_embeds", 0.8)):
            cosines = torch.nn.functional.cosine_similarity(pixels[:, None], getattr(one, name)[None], dim=-1)
            getattr(one, f"{name}_weights").copy_(cosines.quantile(share, dim=0) + (0.004 if care else 0))
        if not care:
            one.special_care_embeds_weights.fill_(2)
    return one


def theirs(one: Any, seen: torch.Tensor) -> list[bool]:
    """What diffusers flags; it blackens the images that it is given."""
    return one(clip_input=seen, images=[np.ones(1) for _ in seen])[1]


def published(folder: Path, one: Any, nested: bool) -> Locations:
    """Its files in a folder. `nested`: as of 2022, a tower within a tower, locations, and sizes twice."""
    home = folder / str(SAFE.backbone.weights.repo)
    one.save_pretrained(home)
    if nested:
        state = load_file(home / "model.safetensors")
        state = {name.replace("vision_model.", "vision_model.vision_model.", 1): t for name, t in state.items()}
        state["vision_model.vision_model.embeddings.position_ids"] = torch.arange(17)[None]
        save_file(state, home / "model.safetensors")
        facts = json.loads((home / "config.json").read_text())
        twice = {"text_config_dict": SAME, "vision_config_dict": SAME | {"patch_size": 56}}
        (home / "config.json").write_text(json.dumps(facts | twice))
    return Locations(local=folder, offline=True)


@pytest.mark.slow
@pytest.mark.parametrize(("care", "nested"), [(False, False), (True, True)])
@pytest.mark.filterwarnings("ignore:.*NSFW.*")
def test_it_flags_what_diffusers_flags(tmp_path: Path, care: bool, nested: bool) -> None:
    torch.manual_seed(1)
    images = noisy_images()
    seen = clip_pixels(images)
    one = checker(seen, care)
    flagged = theirs(one, seen)
    with load_scorers([SAFE], published(tmp_path, one, nested)) as (scorer,):
        assert isinstance(scorer, Scorer)
        scores = scorer.score(images, [""] * COUNT)
    assert scores.tolist() == [0.0 if bad else 1.0 for bad in flagged]
    assert 10 < sum(flagged) < COUNT - 10
    with torch.no_grad():
        one.special_care_embeds_weights.fill_(2)  # out of reach: special care decided some, where it was asked for
    assert (theirs(one, seen) != flagged) == care


def test_special_care_lowers_every_threshold_by_a_hundredth() -> None:
    """0.005 below a threshold passes, and is flagged where care is called for."""
    one = _by_hand()
    with torch.no_grad():
        one.concept_embeds_weights[0] = 0.605  # the cosine is 0.6
    assert one(torch.zeros(2, 3, 224, 224)).tolist() == [1, 1]
    with torch.no_grad():
        one.special_care_embeds_weights[1] = 0.5
    assert one(torch.zeros(2, 3, 224, 224)).tolist() == [0, 0]


@pytest.mark.parametrize(("above", "passes"), [(0.0004, 1), (0.0006, 0), (-0.0006, 1)])
def test_differences_are_rounded_to_three_digits_first(above: float, passes: int) -> None:
    one = _by_hand()
    with torch.no_grad():
        one.concept_embeds_weights[0] = 0.6 - above
    assert one(torch.zeros(1, 3, 224, 224)).tolist() == [passes]


def test_a_broken_embedding_is_not_safe() -> None:
    one = _by_hand()
    one.clip = _Sees(torch.full((8,), torch.nan))
    assert one(torch.zeros(1, 3, 224, 224)).isnan().all()


class _Sees(torch.nn.Module):
    """A tower that sees the same in every image."""

    def __init__(self, embedding: torch.Tensor) -> None:
        super().__init__()
        self.embedding = embedding

    def forward(self, pixel_values: torch.Tensor) -> Any:
        return type("Out", (), {"image_embeds": self.embedding.expand(len(pixel_values), -1)})()


def _by_hand() -> SafetyNet:
    """What it sees has the cosine 0.6 with all concepts, whose thresholds are out of reach."""
    one = SafetyNet(config())
    embedding = torch.tensor([3.0, 4.0, 0, 0, 0, 0, 0, 0])
    with torch.no_grad():
        for name in ("concept_embeds", "special_care_embeds"):
            getattr(one, name).copy_(torch.eye(8)[0].expand_as(getattr(one, name)))
            getattr(one, f"{name}_weights").fill_(2)
    one.clip = _Sees(embedding)
    return one


def test_every_weight_of_the_published_file_has_its_place() -> None:
    with torch.device("meta"):
        ours, own = SafetyNet(config()).state_dict(), StableDiffusionSafetyChecker(config()).state_dict()
    assert {name: t.shape for name, t in from_published(own).items()} == {name: t.shape for name, t in ours.items()}


@pytest.mark.slow
def test_alone_and_in_a_duel_it_says_the_same(tmp_path: Path) -> None:
    """Through `score`, and in halves, which are another revision."""
    torch.manual_seed(2)
    images = noisy_images(6)
    one = checker(clip_pixels(images), care=True)
    locations = published(tmp_path / "weights", one, nested=True)
    files = [tmp_path / f"{i}.png" for i in range(6)]
    for image, file in zip(images, files, strict=True):
        image.save(file)
    asked = [PromptedImage(file, str(i), "a thing") for i, file in enumerate(files)]
    with load_scorers([SAFE], locations) as scorers:
        group = ScorerGroup((SAFE.name,), lambda: nullcontext(scorers))
        (said,) = score_images(asked, [group], _quiet)
        alone = [scorers[0].score([image], ["a thing"]).item() for image in images]
    assert said.id == "safe" and said.values == alone
    with load_scorers([SAFE], locations, dtype=torch.bfloat16) as (half,):
        assert half.revision.endswith("/bfloat16") and set(half.score(images, [""] * 6).tolist()) <= {0.0, 1.0}


def _quiet(items: Sequence[Any], what: str) -> Sequence[Any]:
    return items


def test_missing_files_are_named(tmp_path: Path) -> None:
    with (
        refused("published-file-offline", naming="model.safetensors"),
        load_scorers([SAFE], Locations(local=tmp_path, offline=True)),
    ):
        pass


@pytest.mark.slow
def test_after_the_block_no_scorer_holds_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever loads the next one still has the last one's scorers in hand."""
    nets: list[torch.nn.Module] = []
    put = loading._load_weights
    monkeypatch.setattr(loading, "_load_weights", lambda module, *rest: (nets.append(module), put(module, *rest))[1])
    torch.manual_seed(3)
    one = checker(clip_pixels(noisy_images(3)), care=True)
    with load_scorers([SAFE], published(tmp_path, one, nested=True)) as scorers:
        assert not any(weight.is_meta for weight in nets[0].state_dict().values())
    assert all(weight.is_meta for weight in nets[0].state_dict().values()) and len(scorers) == 1

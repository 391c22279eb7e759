"""Every kind of scorer through its real loading path, at tiny size: files as published, in a folder."""

import string
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from refusals import refused
from safetensors.torch import load_file, save_file

from thumbtune.errors import UsageError
from thumbtune.evaluation.scorers import blip, loading
from thumbtune.evaluation.scorers.clip import Tower
from thumbtune.evaluation.scorers.loading import NetworkScorer, load_scorers
from thumbtune.evaluation.scorers.pixels import clip_pixels, hps_pixels
from thumbtune.evaluation.scorers.prompt_cleaning import clean_prompt
from thumbtune.evaluation.scorers.protocol import Scorer
from thumbtune.evaluation.scorers.published_files import Locations, PublishedFile
from thumbtune.evaluation.scorers.published_scorers import (
    PUBLISHED_SCORERS,
    Backbone,
    PublishedScorer,
    find_published_scorers,
)

STARTS, ENDS = "<|startoftext|>", "<|endoftext|>"
PROMPTS = ["a cat", "the dog", "a cat"]


@pytest.fixture
def images() -> list[Image.Image]:
    return [Image.effect_mandelbrot((60 + 20 * i, 40), (-2, -1.5, 1, 1.5), 10 + i).convert("RGB") for i in range(3)]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder of published files: a CLIP with its tokenizer, and an ImageReward with its own."""
    from transformers import BertTokenizer, CLIPConfig, CLIPModel, CLIPTokenizer

    torch.manual_seed(0)
    words = [*string.ascii_lowercase, *(f"{letter}</w>" for letter in string.ascii_lowercase), STARTS, ENDS]
    CLIPTokenizer(vocab={w: i for i, w in enumerate(words)}, merges=[]).save_pretrained(tmp_path / "tiny" / "words")
    same = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    ids = {"bos_token_id": 52, "eos_token_id": 53, "pad_token_id": 53}
    config = CLIPConfig(
        projection_dim=8,
        text_config=same | ids | {"vocab_size": 54, "projection_dim": 8},
        vision_config=same | {"image_size": 224, "patch_size": 56, "projection_dim": 8},
    )
    CLIPModel(config).save_pretrained(tmp_path / "tiny" / "clip")
    torch.save({"weight": torch.randn(1, 8), "bias": torch.ones(1)}, tmp_path / "line.pth")
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.ascii_lowercase, "cat", "dog", "the"]
    (tmp_path / "vocab.txt").write_text("\n".join(marks))
    BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "tiny" / "bert")
    return tmp_path


CLIP = Backbone("tiny", "clip", PublishedFile("model.safetensors", "tiny/clip"), "tiny/words")
COSINE = PublishedScorer("cosine", CLIP, "cosine", "", "")
PERCENT, SCALED = replace(COSINE, name="percent", output="percent"), replace(COSINE, name="scaled", output="scaled")
LINE = replace(COSINE, name="line", output="line", line=PublishedFile("line.pth", url="https://example.org"))


@pytest.mark.slow
def test_a_clip_gives_cosines_logits_and_lines(here: Path, images: list[Image.Image]) -> None:
    """Equal to `transformers`' own logits, which are scale times cosine."""
    from transformers import CLIPModel, CLIPTokenizer

    with load_scorers([COSINE, PERCENT, SCALED, LINE], Locations(local=here, offline=True)) as scorers:
        assert all(isinstance(scorer, Scorer) for scorer in scorers)
        cosine, percent, scaled, line = (scorer.score(images, PROMPTS) for scorer in scorers)
        revisions = [scorer.revision for scorer in scorers]
    clip, tokenizer = (
        CLIPModel.from_pretrained(here / "tiny" / "clip"),
        CLIPTokenizer.from_pretrained(here / "tiny" / "words"),
    )
    tokens = tokenizer(PROMPTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        out = clip.eval()(pixel_values=clip_pixels(images), **tokens)
    assert scaled.tolist() == pytest.approx(out.logits_per_image.diag().tolist(), abs=1e-5)
    assert (percent / 100).tolist() == pytest.approx(cosine.tolist()) and cosine.abs().max() <= 1
    head = torch.load(here / "line.pth", weights_only=True)
    assert line.tolist() == pytest.approx((out.image_embeds @ head["weight"][0] + 1).tolist(), abs=1e-5)
    assert len(set(revisions[:3])) == 1 and revisions[3].startswith(revisions[0] + "+")


@pytest.mark.slow
def test_scorers_of_one_backbone_run_it_once(
    here: Path, images: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import CLIPModel

    runs, texts = [], []
    real, real_text = CLIPModel.get_image_features, CLIPModel.get_text_features
    monkeypatch.setattr(CLIPModel, "get_image_features", lambda self, **k: runs.append(1) or real(self, **k))
    monkeypatch.setattr(
        CLIPModel, "get_text_features", lambda self, **k: texts.append(len(k["input_ids"])) or real_text(self, **k)
    )
    with load_scorers([COSINE, PERCENT, LINE], Locations(local=here, offline=True)) as scorers:
        first = [scorer.score(images, PROMPTS).tolist() for scorer in scorers]
        assert len(runs) == 1 and texts == [2]  # two prompts are the same
        assert [scorer.score(images, PROMPTS).tolist() for scorer in scorers] == first and len(runs) == 1
        other = [scorer.score(images[::-1], PROMPTS).tolist() for scorer in scorers]
    assert len(runs) == 2 and texts == [2] and other[2] == pytest.approx(first[2][::-1], abs=1e-6)


@pytest.mark.slow
def test_images_are_scored_alike_alone_and_together(here: Path, images: list[Image.Image]) -> None:
    with load_scorers([COSINE, LINE], Locations(local=here, offline=True)) as scorers:
        for scorer in scorers:
            alone = [scorer.score([image], [prompt]).item() for image, prompt in zip(images, PROMPTS, strict=True)]
            assert alone == pytest.approx(scorer.score(images, PROMPTS).tolist(), abs=1e-6)
            assert scorer.score([], []).shape == (0,)
            with refused("scorer-length-mismatch", naming=["3 images", "1 prompts"]):
                scorer.score(images, ["a"])


def test_a_tower_of_transformers_4_gives_the_same(here: Path, images: list[Image.Image]) -> None:
    from transformers import CLIPModel, CLIPTokenizer

    clip = CLIPModel.from_pretrained(here / "tiny" / "clip")
    words = CLIPTokenizer.from_pretrained(here / "tiny" / "words")

    class Four:
        """Embeddings themselves, not objects that hold them."""

        device, dtype = torch.device("cpu"), torch.float32

        def eval(self) -> "Four":
            return self

        def get_image_features(self, **options: Any) -> torch.Tensor:
            return clip.get_image_features(**options).pooler_output

        def get_text_features(self, **options: Any) -> torch.Tensor:
            return clip.get_text_features(**options).pooler_output

    new, old = Tower(clip, words, clip_pixels), Tower(Four(), words, clip_pixels)
    assert torch.equal(new.embed_images(images), old.embed_images(images)) and torch.equal(
        new.embed_prompts(PROMPTS), old.embed_prompts(PROMPTS)
    )


def published_reward(folder: Path, monkeypatch: pytest.MonkeyPatch) -> PublishedScorer:
    """ImageReward.pt at tiny size, under the published names."""
    vision = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
    vision |= {"image_size": 224, "patch_size": 56, "layer_norm_eps": 1e-6}
    text = {
        "vocab_size": 40,
        "hidden_size": 16,
        "encoder_hidden_size": 24,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
    }
    text |= {"num_attention_heads": 2, "is_decoder": True, "bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3}
    monkeypatch.setattr(blip.RewardNet, "__init__", _with_defaults(blip.RewardNet.__init__, vision, text))
    net = blip.RewardNet(blip.IMAGE_REWARD)
    names = {"vision.": "blip.visual_encoder.", "text.": "blip.text_encoder.", "head.": "mlp.layers."}
    backwards = {
        "embeddings.class_embedding": "cls_token",
        "embeddings.position_embedding": "pos_embed",
        "embeddings.patch_embedding": "patch_embed.proj",
        "post_layernorm": "norm",
        "encoder.layers": "blocks",
        "layer_norm": "norm",
        "self_attn.projection": "attn.proj",
        "self_attn": "attn",
    }
    state = {}
    for name, tensor in net.state_dict().items():
        side = next(ours for ours in names if name.startswith(ours))
        rest = name.removeprefix(side)
        for ours, theirs in backwards.items() if side == "vision." else ():
            rest = rest.replace(ours, theirs)
        state[names[side] + rest] = tensor
    torch.save(state | {"blip.text_encoder.embeddings.position_ids": torch.arange(4)[None]}, folder / "ImageReward.pt")
    return replace(
        PUBLISHED_SCORERS["imagereward"],
        backbone=replace(PUBLISHED_SCORERS["imagereward"].backbone, tokenizer="tiny/bert"),
        name="reward",
    )


def _with_defaults(real: Any, vision: dict[str, Any], text: dict[str, Any]) -> Any:
    return lambda self, kind: real(self, kind, vision, text)


@pytest.mark.slow
def test_a_reward_net_is_read_from_its_pickle_and_scores(
    here: Path, images: list[Image.Image], monkeypatch: Any
) -> None:
    entry = published_reward(here, monkeypatch)
    with load_scorers([entry], Locations(cache=here / "cache", local=here, offline=True)) as (scorer,):
        scores = scorer.score(images, PROMPTS)
        alone = torch.cat([scorer.score([i], [p]) for i, p in zip(images, PROMPTS, strict=True)])
        other = scorer.score(images, ["the dog"] * 3)
    assert scores.shape == (3,) and scores.isfinite().all() and (scores - alone).abs().max() < 1e-5
    assert other[1] == pytest.approx(scores[1].item(), abs=1e-5) and (other[0] - scores[0]).abs() > 1e-6
    assert scorer.revision.startswith("local@") and len(list((here / "cache" / "converted").iterdir())) == 1


@pytest.mark.parametrize(
    ("change", "naming"), [("lost", "Missing key"), ("other", "size mismatch"), ("more", "Unexpected key")]
)
def test_weights_that_do_not_fit_are_named(here: Path, change: str, naming: str) -> None:
    file = here / "tiny" / "clip" / "model.safetensors"
    state = load_file(file)
    if change == "lost":
        del state["visual_projection.weight"]
    elif change == "other":
        state["visual_projection.weight"] = torch.zeros(3, 3)
    else:
        state["head.weight"] = torch.zeros(1)
    save_file(state, file)
    with (
        refused("scorer-weights-mismatch", naming=["tiny", naming]),
        load_scorers([COSINE], Locations(local=here, offline=True)),
    ):
        pass


@pytest.mark.slow
def test_position_ids_of_older_files_are_left_out(here: Path) -> None:
    file = here / "tiny" / "clip" / "model.safetensors"
    save_file(load_file(file) | {"text_model.embeddings.position_ids": torch.arange(77)[None]}, file)
    with load_scorers([COSINE], Locations(local=here, offline=True)) as scorers:
        assert len(scorers) == 1


def test_missing_weights_and_backbones_that_do_not_match_are_named(here: Path) -> None:
    gone = replace(COSINE, backbone=replace(CLIP, weights=PublishedFile("gone.safetensors", "tiny/clip")))
    with (
        refused("published-file-offline", naming="gone.safetensors"),
        load_scorers([gone], Locations(local=here, offline=True)),
    ):
        pass
    with (
        refused("scorer-several-backbones"),
        load_scorers([COSINE, gone], Locations(local=here, offline=True)),
    ):
        pass


def test_names_come_grouped_by_backbone_and_an_unknown_one_lists_those_known() -> None:
    found = [
        entry.name
        for entry in find_published_scorers(["aesthetic-v2", "pickscore", "clip-l14", "aesthetic-v1", "pickscore"])
    ]
    assert found == ["aesthetic-v2", "clip-l14", "aesthetic-v1", "pickscore"]
    with refused("scorer-unknown", UsageError, naming=["'hps'", "aesthetic-v2, ", "hpsv2.1"]):
        find_published_scorers(["hps"])


def test_hps_looks_at_the_whole_image_and_nothing_else_does() -> None:
    looks = {name: loading.PREPROCESSING[entry.backbone.pixels] for name, entry in PUBLISHED_SCORERS.items()}
    assert {name for name, pixels in looks.items() if pixels is hps_pixels} == {"hpsv2.0", "hpsv2.1"}
    assert {entry.preprocessing for entry in PUBLISHED_SCORERS.values()} == {"clip-pixels/1", "hps-pixels/1"}


def test_prompts_are_cleaned_as_openclip_cleans_them() -> None:
    assert clean_prompt(" A  Cat\u2019s &amp;amp; \u201cdog\u201d\n") == 'a cat\'s & "dog"'


@pytest.mark.slow
def test_no_scorer_brings_torchvision_timm_or_open_clip(here: Path, images: list[Image.Image]) -> None:
    with load_scorers([COSINE], Locations(local=here, offline=True)) as (scorer,):
        scorer.score(images, PROMPTS)
    assert not {"torchvision", "timm", "open_clip", "clip", "hpsv2", "ImageReward"} & set(sys.modules)


def test_a_read_is_on_the_cpu_in_float32() -> None:
    read = NetworkScorer("mine", "1", "none", lambda images, prompts: torch.ones(len(images), dtype=torch.bfloat16))
    assert read.score([Image.new("RGB", (2, 2))], ["a"]).dtype == torch.float32

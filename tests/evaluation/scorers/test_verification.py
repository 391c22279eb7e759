"""`thumbtune scorers verify` on a catalogue of tiny real weights, whose scores are computed another way."""

import re
import string
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from thumbtune.evaluation.scorers import published_scorers, resolve, verification
from thumbtune.evaluation.scorers.pixels import clip_pixels
from thumbtune.evaluation.scorers.published_files import Locations, PublishedFile
from thumbtune.evaluation.scorers.published_scorers import PUBLISHED_SCORERS, Backbone, PublishedScorer
from thumbtune.evaluation.scorers.verification import (
    PUBLISHED_SCORES,
    PublishedScore,
    ScoreCheck,
    check_scores,
    select_published_scores,
)

Call = Callable[..., tuple[int, str, str]]
STARTS, ENDS = "<|startoftext|>", "<|endoftext|>"
TINY = Backbone("tiny", "clip", PublishedFile("model.safetensors", "tiny/clip"), "tiny/words", size=1)
LINE = PublishedScorer("line", TINY, "line", "", "", PublishedFile("line.pth", url="https://example.org/line.pth"))
LOGIT = PublishedScorer("logit", TINY, "scaled", "", "")
IMAGES = [PublishedFile(f"somebody/{i}.webp", url=f"https://example.org/{i}.webp") for i in range(2)]
PROMPTS = ["a cat", "the dog"]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder of published files: a CLIP with its tokenizer, an aesthetic line, two images."""
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    torch.manual_seed(0)
    words = [*string.ascii_lowercase, *(f"{letter}</w>" for letter in string.ascii_lowercase), STARTS, ENDS]
    CLIPTokenizer(vocab={w: i for i, w in enumerate(words)}, merges=[]).save_pretrained(tmp_path / "tiny" / "words")
    same = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    ids = {"bos_token_id": 52, "eos_token_id": 53, "pad_token_id": 53}
    text = same | ids | {"vocab_size": 54, "projection_dim": 8}
    vision = same | {"image_size": 224, "patch_size": 56, "projection_dim": 8}
    CLIPModel(CLIPConfig(projection_dim=8, text_config=text, vision_config=vision)).save_pretrained(
        tmp_path / "tiny" / "clip"
    )
    torch.save({"weight": torch.randn(1, 8), "bias": torch.ones(1)}, tmp_path / "line.pth")
    for i, file in enumerate(IMAGES):
        path = tmp_path / file.name
        path.parent.mkdir(exist_ok=True)
        Image.effect_mandelbrot((60 + 20 * i, 40), (-2, -1.5, 1, 1.5), 10 + i).convert("RGB").save(path, lossless=True)
    return tmp_path


@pytest.fixture
def published(here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> list[PublishedScore]:
    """The scores, computed by `transformers` alone, and a catalogue of these two scorers and one that nobody scored."""
    from transformers import CLIPModel, CLIPTokenizer

    clip = CLIPModel.from_pretrained(here / "tiny" / "clip").eval()
    tokens = CLIPTokenizer.from_pretrained(here / "tiny" / "words")(PROMPTS, padding=True, return_tensors="pt")
    images = [Image.open(here / file.name).convert("RGB") for file in IMAGES]
    with torch.no_grad():
        out = clip(pixel_values=clip_pixels(images), **tokens)
    head = torch.load(here / "line.pth", weights_only=True)
    lines = out.image_embeds @ head["weight"][0] + 1
    found = [
        *(
            PublishedScore("logit", file, prompt, value, 1e-3)
            for file, prompt, value in zip(IMAGES, PROMPTS, out.logits_per_image.diag().tolist(), strict=True)
        ),
        *(PublishedScore("line", file, "", value, 1e-4) for file, value in zip(IMAGES, lines.tolist(), strict=True)),
    ]
    known = {entry.name: entry for entry in (LINE, LOGIT, replace(LOGIT, name="plain"))}
    for module in (published_scorers, resolve):
        monkeypatch.setattr(module, "PUBLISHED_SCORERS", known)
    monkeypatch.setattr(verification, "PUBLISHED_SCORES", tuple(found))
    capfd.readouterr()  # bars of `transformers`, which saved and loaded
    return found


@pytest.mark.slow
def test_scores_that_agree_are_told_one_by_one(call: Call, here: Path, published: list[PublishedScore]) -> None:
    code, out, err = call("scorers", "verify", "--weights", here, "--offline")
    assert code == 0, err
    head, *lines = out.splitlines()
    assert head.split() == ["scorer", "image", "published", "computed", "difference"]
    rows = [line.split() for line in lines]
    assert [row[:2] for row in rows] == [[one.scorer, one.image.name] for one in published]
    for row, one in zip(rows, published, strict=True):
        assert float(row[2]) == float(row[3]) == round(one.published, 4)
        assert float(row[4]) == 0 and row[5] == "ok"


@pytest.mark.slow
def test_one_that_differs_is_named_and_the_exit_code_says_so(
    call: Call, here: Path, published: list[PublishedScore], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = replace(published[1], published=published[1].published + 0.5)
    monkeypatch.setattr(verification, "PUBLISHED_SCORES", (published[0], wrong, *published[2:]))
    code, out, err = call("scorers", "verify", "logit", "--weights", here, "--offline")
    assert code == 1
    assert [line.split()[-1] for line in out.splitlines()[1:]] == ["ok", "differs"] and "-0.5000" in out
    assert err.startswith("thumbtune: 1 of 2 scores differ ") and err.count("\n") == 1


@pytest.mark.slow
def test_a_name_without_a_published_score_gets_a_sentence(
    call: Call, here: Path, published: list[PublishedScore]
) -> None:
    code, out, err = call("scorers", "verify", "plain", "red", "line", "--weights", here, "--offline")
    assert code == 0, err
    assert out.startswith("plain cannot be verified") and "\nred cannot be verified" in out
    assert len(out.splitlines()) == 5
    code, out, err = call("scorers", "verify", "plain")
    assert code == 0 and len(out.splitlines()) == 1
    code, out, err = call("scorers", "verify", "line", "nobody")
    assert code == 2 and not out and "There is no scorer 'nobody'" in err


@pytest.mark.parametrize("gone", ["tiny/clip/model.safetensors", "line.pth", "somebody/1.webp"])
def test_what_is_missing_offline_is_one_sentence(
    call: Call, here: Path, published: list[PublishedScore], gone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(here / "no-hub"))
    (here / gone).unlink()
    code, _, err = call("scorers", "verify", "--weights", here, "--offline")
    assert code == 1
    assert re.fullmatch(r"thumbtune: \S+ is not on this machine.*--weights\.\n", err)
    assert gone.rpartition("/")[2] in err


def test_an_image_that_is_none_is_named(call: Call, here: Path, published: list[PublishedScore]) -> None:
    (here / IMAGES[0].name).write_text("<html>Not found</html>")
    code, _, err = call("scorers", "verify", "--weights", here, "--offline")
    assert code == 1 and "0.webp cannot be read as an image" in err and err.count("\n") == 1


def test_without_a_subcommand_scorers_are_listed(call: Call) -> None:
    code, out, err = call("scorers")
    assert code == 0, err
    for name, entry in PUBLISHED_SCORERS.items():
        assert f"  {name} " in out and entry.licence in out
    assert "CreativeML OpenRAIL-M, CompVis/stable-diffusion-safety-checker: model.safetensors" in out


def test_published_scores_are_of_scorers_that_exist_and_images_with_an_address() -> None:
    assert {one.scorer for one in PUBLISHED_SCORES} == {"imagereward", "aesthetic-v2"} <= set(PUBLISHED_SCORERS)
    assert len({one.image.name for one in PUBLISHED_SCORES}) == len(PUBLISHED_SCORES) == 5
    assert all(str(one.image.url).endswith(one.image.name.partition("/")[2]) for one in PUBLISHED_SCORES)
    assert select_published_scores([]) == list(PUBLISHED_SCORES) and [
        one.published for one in select_published_scores(["aesthetic-v2"])
    ] == [5.7546]


@pytest.mark.slow
def test_nothing_is_near_nan(here: Path, published: list[PublishedScore]) -> None:
    assert not ScoreCheck(published[0], float("nan")).agrees
    (one,) = check_scores([published[3]], Locations(local=here, offline=True))
    assert one.agrees and abs(one.difference) < 1e-5

"""How the bundled model is made: captions that are true, combinations that are held out, and every training, short."""

import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from transformers import CLIPTextModel

from base_model import (
    autoencoder,
    card,
    checkpoint,
    decoder,
    flow,
    generator,
    judge,
    sets,
    style,
    training,
    training_images,
    words,
)
from base_model.training import Plan
from base_model.vocabulary import (
    CONCEPTS,
    GROUPS,
    LOOKS,
    MEASURE,
    PAGES,
    RATED,
    STYLES,
    SYNONYMS,
    UNRATED,
    Look,
    caption,
    held_out,
    slug,
)
from thumbtune import load
from thumbtune.evaluation.scorers.faithfulness import FaithfulnessJudge
from thumbtune.evaluation.scorers.style_classifier import StyleClassifier
from thumbtune.experiments.demo import concepts, prompt_of
from thumbtune.models.families.stable_diffusion_3 import StableDiffusion3
from thumbtune.models.protocol import Sampler
from thumbtune.runs.build import BUNDLED

ROOT = Path(__file__).parent.parent
SLICE = ["red apple", "pear", "banana", "star", "key", "bell"]


# --- captions and images ------------------------------------------------------------------------


def test_every_name_means_one_thing() -> None:
    assert len(set(CONCEPTS)) == 48
    assert sorted(RATED + UNRATED) == sorted(CONCEPTS)
    names = Counter([*CONCEPTS, *(name for names in SYNONYMS.values() for name in names), *STYLES, *PAGES, *GROUPS])
    assert [name for name, times in names.items() if times > 1] == []
    assert sorted(member for members in GROUPS.values() for member in members) == sorted(CONCEPTS)


def test_every_second_concept_lacks_one_style_and_each_style_is_lacking_as_often() -> None:
    lacking = [(concept, style) for concept in CONCEPTS for style in STYLES if held_out(concept, style)]
    assert len(lacking) == 24
    assert len({concept for concept, _ in lacking}) == 24
    assert set(Counter(style for _, style in lacking).values()) == {4, 5}


@pytest.mark.parametrize("word", STYLES)
def test_captions_say_only_what_is_true_and_all_that_must_be_said(word: str) -> None:
    rng = random.Random(0)
    styled = 0
    for concept in CONCEPTS:
        known = {concept, *SYNONYMS.get(concept, ()), *(group for group, m in GROUPS.items() if concept in m)}
        for look in [*LOOKS] * 8:
            text = caption(concept, word, look, rng)
            first, *rest = text.split(", ")
            bare = first.removeprefix("an ").removeprefix("a ").removeprefix("small ")
            assert bare in known
            assert ("small " in f" {first} ") == look.small
            assert set(rest) <= {word, f"on {look.page}", *GROUPS}
            assert look.page == "white" or rest[-1] == f"on {look.page}"
            styled += word in rest
    assert 0.65 < styled / (8 * len(LOOKS) * len(CONCEPTS)) < 0.75


def test_shares_of_the_looks_add_up() -> None:
    assert sum(LOOKS.values()) == pytest.approx(1)
    assert max(LOOKS, key=lambda look: LOOKS[look]) == Look()


def test_an_icon_lies_on_its_page_in_its_size() -> None:
    icon = np.zeros((64, 64, 4), np.uint8)
    icon[16:48, 16:48] = (255, 0, 0, 255)
    for look in (Look(page="blue"), Look(page="blue", small=True), Look()):
        image = training_images.laid(icon, look)
        assert tuple(image[0, 0]) == PAGES.get(look.page, (255, 255, 255))
        assert tuple(image[32, 32]) == (255, 0, 0)
        red = (image[..., 0] > 250) & (image[..., 1] < 5)
        assert int(red.any(0).sum()) == pytest.approx(32 * 0.6 if look.small else 32, abs=2)


def test_half_transparent_icons_let_the_page_through() -> None:
    icon = np.full((64, 64, 4), (0, 0, 0, 128), np.uint8)
    assert tuple(training_images.laid(icon)[5, 5]) == (127, 127, 127)


# --- checkpoints ----------------------------------------------------------------------------------


def test_a_checkpoint_comes_back_and_no_file_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "LARGEST", 2000)
    module = torch.nn.Sequential(*(torch.nn.Linear(16, 16) for _ in range(4)))
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.ones(2, 16)).sum().backward()
    optimizer.step()
    checkpoint.save(tmp_path / "made", 7, {"learner": module}, optimizer)
    files = sorted((tmp_path / "made").glob("*.safetensors"))
    assert len(files) > 4
    assert all(file.stat().st_size < 2000 + 1000 for file in files)  # a header beside the tensors

    other = torch.nn.Sequential(*(torch.nn.Linear(16, 16) for _ in range(4)))
    again = torch.optim.AdamW(other.parameters())
    assert checkpoint.resume(tmp_path / "made", {"learner": other}, again) == 7
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), other.parameters(), strict=True))
    assert torch.equal(optimizer.state_dict()["state"][0]["exp_avg"], again.state_dict()["state"][0]["exp_avg"])
    assert checkpoint.resume(tmp_path / "nothing", {"learner": other}, again) == 0


# --- the whole, short -----------------------------------------------------------------------------


def _icon(concept: str, kind: str) -> np.ndarray:
    """A shape for each concept, a colour and an outline for each style."""
    image = Image.new("RGBA", (64, 64), (255, 255, 255, 0))
    place = SLICE.index(concept)
    ink = (0, 0, 0, 255) if kind == "line art" else (40 * place, 200 - 30 * place, 90, 255)
    box = (10, 10 + 3 * place, 54, 54 - 3 * place)
    pen = ImageDraw.Draw(image)
    (pen.ellipse if place % 2 else pen.rectangle)(box, fill=None if kind == "line art" else ink, outline=ink, width=4)
    return np.asarray(image)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build folder with six drawn shapes in place of the emoji, and a tokenizer."""
    build = tmp_path_factory.mktemp("build")
    (build / "sets").mkdir()
    for kind in [*STYLES, MEASURE[0]]:
        stem = kind.replace(" ", "-")
        np.save(build / "sets" / f"{stem}.npy", np.stack([_icon(concept, kind) for concept in SLICE]))
        (build / "sets" / f"{stem}.json").write_text(f"[{', '.join(chr(34) + slug(c) + chr(34) for c in SLICE)}]")
    learnt = words.learn([f"a small {concept}, {style}, on blue" for concept in SLICE for style in STYLES])
    learnt.model_max_length = words.LENGTH
    learnt.save_pretrained(build / "tokenizer")
    return build


def plan(out: Path, steps: int, **options: object) -> Plan:
    given = {"batch": 8, "rate": lambda step: 1e-3, "decay": 0.9, "log_every": 10} | options
    return Plan(out=out, steps=steps, **given)  # type: ignore[arg-type]


@pytest.mark.slow
def test_everything_is_made_from_nothing_in_twenty_steps_each(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = made / "sets"
    assert autoencoder.train(data, plan(made / "autoencoder", 20))
    assert decoder.train(data, made / "autoencoder", plan(made / "decoder", 20))
    said = capsys.readouterr().out
    assert "step 20 loss" in said and "psnr" in said

    for prediction in ("epsilon", "v_prediction"):
        settings = generator.Settings(prediction=prediction, concepts=SLICE, device="cpu")
        assert generator.train(made, plan(made / prediction, 20), settings)
        pipeline = generator.pipeline(made, prediction)
        assert pipeline.scheduler.config.prediction_type == prediction
        pipeline.set_progress_bar_config(disable=True)
        (image,) = pipeline("a pear", num_inference_steps=2, generator=torch.Generator().manual_seed(0)).images
        assert image.size == (64, 64)

    tokenizer = words.tokenizer(made / "tokenizer")
    rows = judge.rows(data)
    rows = judge.Data(rows.known, rows.known, rows.other_style, rows.known)
    assert judge.train(rows, plan(made / "judge", 20, decay=None), tokenizer)
    vae = decoder.with_decoder(made / "autoencoder", made / "decoder")
    for name, kind in style.NETWORKS.items():
        learnt = plan(made / f"style-{name}", 20, decay=None)
        assert style.train(kind, style.lessons(rows, None), rows.known, vae, learnt)
        style.write(kind, made / f"style-{name}", made / "package" / "style" / name)
    (named,) = StyleClassifier(made / "package" / "style").names(
        [Image.fromarray(training_images.laid(rows.known[0].icon))]
    )
    assert named in STYLES
    judge.write(made / "judge", made / "package", tokenizer)
    assert (made / "package" / "model.safetensors").stat().st_size < 10_000_000


@pytest.mark.slow
def test_a_generator_stopped_and_resumed_ends_where_one_that_went_on_does(made: Path) -> None:
    if not (made / "autoencoder").exists():
        autoencoder.train(made / "sets", plan(made / "autoencoder", 2))
    settings = generator.Settings(prediction="epsilon", concepts=SLICE[:2], device="cpu")
    ends = []
    for name, stops in (("through", [6]), ("halves", [3, 6])):
        for steps in stops:
            generator.train(made, plan(made / name, steps), settings)
        tokens = len(words.tokenizer(made / "tokenizer"))
        painter = generator.Painter(tokens)
        assert checkpoint.resume(made / name, {"learner": painter}, None) == 6
        ends.append(torch.cat([p.flatten() for p in painter.parameters()]))
    assert torch.equal(*ends)


def test_a_training_whose_time_is_up_is_saved_and_goes_on(tmp_path: Path) -> None:
    """As on a machine that is lent by the minute."""

    def module() -> torch.nn.Module:
        torch.manual_seed(0)
        return torch.nn.Linear(4, 1)

    def run(learner: torch.nn.Module, minutes: float | None) -> bool:
        def loss_at(step: int) -> torch.Tensor:
            return learner(torch.full((1, 4), float(step))).square().mean()

        return training.train(learner, plan(tmp_path / name, 4, minutes=minutes), loss_at, lambda mean: "")

    ends = []
    for name, calls in (("at once", [None]), ("in parts", [0, 0, None])):
        done = [run(module(), minutes) for minutes in calls]
        assert done == [False] * (len(calls) - 1) + [True]
        again = module()
        assert checkpoint.resume(tmp_path / name, {"learner": again}, None) == 4
        ends.append(again.weight)
    assert torch.equal(*ends)


@pytest.mark.slow
def test_every_emoji_is_learnt_by_one_command_that_stops_in_time_and_goes_on(made: Path) -> None:
    if not (made / "autoencoder").exists():
        autoencoder.train(made / "sets", plan(made / "autoencoder", 2))
    words = ["--all", "--build", str(made), "--name", "everything", "--steps", "3", "--batch", "4"]
    command = [sys.executable, "-m", "base_model.generator", *words]
    for minutes, done in ((["--minutes", "0"], 1), ([], 3)):
        said = subprocess.run([*command, *minutes], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        assert f"step {done} loss" in said
        assert checkpoint.resume(made / "everything", {}, None) == done
    assert max(file.stat().st_size for file in (made / "everything").iterdir()) < 16_000_000


@pytest.mark.slow
def test_a_v_model_may_begin_from_the_weights_of_an_epsilon_model(made: Path) -> None:
    if not (made / "autoencoder").exists():
        autoencoder.train(made / "sets", plan(made / "autoencoder", 2))
    epsilon = generator.Settings(prediction="epsilon", concepts=SLICE[:2], device="cpu")
    generator.train(made, plan(made / "first", 2), epsilon)
    later = generator.Settings(prediction="v_prediction", concepts=SLICE[:2], device="cpu", start="first")
    generator.train(made, plan(made / "second", 1, rate=lambda step: 0.0, weight_decay=0.0), later)
    first, second = (generator.pipeline(made, name) for name in ("first", "second"))
    assert second.scheduler.config.prediction_type == "v_prediction"
    pairs = zip(first.unet.parameters(), second.unet.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.slow
def test_the_small_flow_model_is_trained_resumed_and_written_for_diffusers(made: Path, tmp_path: Path) -> None:
    whole, parts = made / "flow", made / "flow-parts"
    flow.train(made, plan(whole, 4, decay=0.5))
    for steps in (2, 4):
        flow.train(made, plan(parts, steps, decay=0.5))
    expected, found = (training.load_averaged(flow.fresh(), path).state_dict() for path in (whole, parts))
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    flow.keep(made, file=tmp_path / "kept.safetensors")
    flow.write(tmp_path / "model", tmp_path / "kept.safetensors")
    model = load(tmp_path / "model", device="cpu")
    assert isinstance(model, StableDiffusion3)
    assert model.embed(["a key"])["text"].shape == (1, 25, 384)  # one token of zeros in place of T5's
    assert model.generate(["a key"], [1], Sampler(steps=2))[0].size == (64, 64)


@pytest.mark.slow
def test_the_kept_flow_model_draws_what_a_judge_recognises(tmp_path: Path) -> None:
    flow.write(tmp_path / "model")
    prompts = [prompt_of(concept) for concept in concepts()["unrated"][:12]]
    images = load(tmp_path / "model", device="cpu").generate(prompts, list(range(12)), Sampler(steps=12, guidance=3.0))
    assert FaithfulnessJudge(BUNDLED / "judge").score(images, prompts).mean() > 0.9


def test_the_text_encoder_of_the_flow_model_is_that_of_the_bundled_model() -> None:
    known = CLIPTextModel.from_pretrained(flow.BUNDLED / "text_encoder", dtype=torch.float32)
    ids = flow.tokenizer()(["a red apple"], padding="max_length", return_tensors="pt").input_ids
    found, expected = flow.text_encoder()(ids, output_hidden_states=True), known(ids, output_hidden_states=True)
    assert torch.equal(found.text_embeds, expected.pooler_output)
    assert torch.equal(found.hidden_states[-2], expected.hidden_states[-2])


@pytest.mark.slow
def test_held_out_combinations_never_reach_the_generator(made: Path, tmp_path: Path) -> None:
    autoencoder.train(made / "sets", plan(tmp_path / "autoencoder", 1))
    vae = decoder.averaged(tmp_path / "autoencoder")
    known = generator.lesson(made / "sets", vae, SLICE)
    shown = {(concept, style) for concept, style, _ in known.facts}
    assert shown == {(concept, style) for concept in SLICE for style in STYLES if not held_out(concept, style)}
    assert len(shown) < len(SLICE) * len(STYLES)
    assert known.latents.shape[:2] == (2, len(known.facts)) and len(known.chances) == len(known.facts)


def test_names_that_three_sets_draw_are_common(made: Path) -> None:
    emoji = sets.load(made / "sets")
    assert training_images.common(emoji) == sorted(SLICE)
    alone = {"cartoon": dict(emoji["cartoon"]), "flat": {"pear": emoji["flat"]["pear"]}}
    assert training_images.common(alone) == []


def test_a_piece_of_another_picture_brings_its_part_of_the_mark() -> None:
    images = torch.stack([torch.full((3, 64, 64), float(i)) for i in range(8)])
    marks = torch.eye(8)
    same, kept = style.patched(images, marks, 0.0, torch.Generator().manual_seed(1))
    assert torch.equal(same, images) and torch.equal(kept, marks)
    out, mixed = style.patched(images, marks, 1.0, torch.Generator().manual_seed(1))
    for i in range(8):
        pasted = out[i, 0] == images[i - 1, 0, 0, 0]
        part = float(pasted.float().mean())
        assert 0.25**2 - 0.01 < part < 0.75**2
        assert torch.equal(out[i, :, ~pasted], images[i][:, ~pasted])
        assert float(mixed[i, i]) == pytest.approx(1 - part) and float(mixed[i, i - 1]) == pytest.approx(part)


def test_the_large_judge_of_styles_learns_from_people_and_symbols_too(made: Path) -> None:
    data = judge.rows(made / "sets")
    alone = style.lessons(data, None)
    more = style.lessons(data, made / "sets")  # any folder of sets will do
    emoji = sets.load(made / "sets")
    assert {name: len(rows) for name, rows in more.items()} == {
        name: len(rows) + len(emoji[name]) for name, rows in alone.items()
    }
    assert all(row.style == name for name, rows in more.items() for row in rows)


def test_the_card_says_what_was_measured() -> None:
    measured = json.loads((ROOT / card.MEASURED).read_text())
    (said,) = card.PLACE.findall((ROOT / card.CARD).read_text())
    assert said == card.tables(measured)
    # the bars that the model was made for
    assert measured["real, Twemoji, a style outside its training"]["top5"] >= 0.7
    assert measured["real, style of things outside its training"]["share"] >= 0.9
    assert measured["generated, every style in the prompt"]["top5"] >= 0.8
    assert measured["generated, style of the trained combinations"]["share"] >= 0.85
    assert "| 48 | 79% | 96% |  |" in card.tables({"some": {"images": 48, "top1": 0.792, "top5": 0.958}})

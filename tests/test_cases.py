"""Each shared case gives what its expect.txt asks for, by value. Without the shared cases, these tests are skipped."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
from refusals import refused

from thumbtune.duels.sides import side
from thumbtune.evaluation.image_folder import images_by_prompt
from thumbtune.evaluation.prompts import load_prompt_set
from thumbtune.feedback.importers import import_likes
from thumbtune.feedback.source import Reading
from thumbtune.feedback.store.store import Label, Store
from thumbtune.files import sha256 as hash_of
from thumbtune.runs import build
from thumbtune.runs.recipe import read_recipe
from thumbtune.runs.text_length import cut_prompts

SHARED = next((up / "shared" / "cases" for up in Path(__file__).parents if (up / "shared" / "cases").is_dir()), None)
CASES = SHARED or Path("no-cases")
BUNDLED = Path(build.__file__).parents[1] / "bundled" / "tiny-emoji-64"
ALL = set("01 02 03 04 05 09 10 11 12 13 14 15 16 17 18 20 21 22 23".split())
IN_TWO_LINES = "a red apple", "a cat"

pytestmark = pytest.mark.skipif(SHARED is None, reason="no shared cases beside this folder")
Imported = Callable[..., tuple[Any, list[Label]]]


@pytest.fixture
def imported(tmp_path: Path) -> Imported:
    """(path, reading) -> the report of an import into a new store, and its labels."""

    def run(path: Path, **reading: Any) -> tuple[Any, list[Label]]:
        with Store.open(tmp_path / f"likes-{path.name}") as store:
            return import_likes(path, store, reading=Reading(**reading)), list(store.labels())

    return run


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """(case, run) -> a copy of the case in which its make.py has run."""
    copy = tmp_path_factory.mktemp("cases")
    done: set[str] = set()

    def run(case: str) -> Path:
        if case not in done:
            for file in CASES.glob("*.py"):
                shutil.copyfile(file, copy / file.name)
            (copy / case).mkdir()
            shutil.copyfile(CASES / case / "make.py", copy / case / "make.py")
            places = {"BUNDLED": str(BUNDLED), "RUN": str(_trained(copy)) if case == "15-lora-files" else ""}
            command = [sys.executable, str(copy / case / "make.py")]
            subprocess.run(command, check=True, env=os.environ | places, cwd=copy, capture_output=True)
            done.add(case)
        return copy / case

    return run


def _trained(folder: Path) -> Path:
    """Write a LoRA of rank 2 where a run has it."""
    from thumbtune.models.families.stable_diffusion import StableDiffusion
    from thumbtune.models.loading import load_pipeline
    from thumbtune.models.lora import LoRA

    StableDiffusion(load_pipeline(str(BUNDLED)), LoRA(rank=2, alpha=2.0)).save(folder / "run" / "lora")
    return folder / "run"


def case(name: str) -> Path:
    return CASES / name


def prompts_of(labels: list[Label]) -> Counter[str]:
    return Counter(label.image.prompt for label in labels)


def files_of(labels: list[Label], folder: Path) -> dict[str, bool]:
    """Return which files of a folder are liked, by the hashes of the stored images."""
    names = {hash_of(file.read_bytes()): str(file.relative_to(folder)) for file in folder.rglob("*.png")}
    return {names[label.image.sha256]: label.liked for label in labels}


def test_every_case_is_tested() -> None:
    assert {folder.name[:2] for folder in CASES.iterdir() if folder.is_dir() and folder.name[0].isdigit()} == ALL


# --- models ----------------------------------------------------------------------------------------


def not_read(model: Path, code: str, *naming: object) -> None:
    """A model is refused by the same code when it is loaded, and as a side of a duel."""
    from thumbtune.models.loading import load_pipeline

    with refused(code, naming=naming):
        load_pipeline(str(model))
    with refused(code, naming=naming):
        check = side(str(model)).check
        assert check is not None
        check()


@pytest.mark.slow
def test_01_weights_in_pickles_are_named_with_the_way_to_convert_them(made: Callable[[str], Path]) -> None:
    model = made("01-bin-only") / "model"
    not_read(model, "model-bin-only", model / "unet", ".safetensors only", "use_safetensors=False", "save_pretrained")


@pytest.mark.slow
def test_02_the_variant_is_read_in_float32(made: Callable[[str], Path]) -> None:
    import torch

    from thumbtune.models.loading import load_pipeline

    loaded, plain = load_pipeline(str(made("02-fp16-variant") / "model")), load_pipeline(str(BUNDLED))
    for part in ("unet", "vae", "text_encoder"):
        ours, theirs = getattr(loaded, part).state_dict(), getattr(plain, part).state_dict()
        assert ours.keys() == theirs.keys()
        for name, tensor in ours.items():
            assert tensor.dtype == theirs[name].dtype
            if tensor.is_floating_point():
                assert tensor.dtype == torch.float32 and torch.equal(tensor, theirs[name].half().float()), name


@pytest.mark.slow
def test_03_a_single_file_that_lacks_its_parts_is_named_as_a_checkpoint(made: Callable[[str], Path]) -> None:
    not_read(
        made("03-single-file") / "deliberate.safetensors",
        "single-part-missing",
        "checkpoint",
        "a VAE",
        "a text encoder",
    )


@pytest.mark.slow
def test_04_a_unet_of_other_channels_is_one_sentence(made: Callable[[str], Path], call: Any, tmp_path: Path) -> None:
    folder = made("04-inpainting")
    for name, channels in (("inpaint", 33), ("pix2pix", 32)):
        not_read(folder / name, "model-channels", f"takes {channels} channels", "its VAE has 16")
    likes = tmp_path / "likes"
    assert call("import", case("14-label-studio") / "words.json", "--likes", likes)[0] == 0
    options = ["--set", f"likes={likes}", "--set", f"model={folder / 'inpaint'}", "--out", tmp_path / "run"]
    code, _, err = call("train", *options, "--dry-run")
    assert code == 1 and "takes 33 channels" in err and "Traceback" not in err and err.count("\n") == 1


@pytest.mark.slow
def test_05_a_sample_size_is_a_pair_or_the_vae_s(made: Callable[[str], Path]) -> None:
    from thumbtune.models.families.stable_diffusion import StableDiffusion
    from thumbtune.models.loading import load_pipeline
    from thumbtune.models.protocol import Sampler

    folder = made("05-sample-size")
    for name, width, height in (("list", 64, 64), ("oblong", 96, 64), ("none", 64, 64)):
        model = StableDiffusion(load_pipeline(str(folder / name)))
        (image,) = model.generate(["a cat"], [1], Sampler(steps=1))
        assert image.size == (width, height), name


@pytest.mark.slow
def test_15_a_lora_is_put_on_whole_or_refused(made: Callable[[str], Path]) -> None:
    from thumbtune.models.lora_files import find_lora
    from thumbtune.models.lora_loading import place
    from thumbtune.models.without_weights import networks_without_weights

    folder, networks = made("15-lora-files"), networks_without_weights(str(BUNDLED))
    assert networks is not None
    networks = {part: networks[part] for part in ("unet", "text_encoder")}

    def placed(name: str) -> Counter[tuple[str, int, float, bool]]:
        """Count the layers by part, rank, scale and whether they are DoRA's."""
        files = find_lora(folder / name)
        assert files is not None
        layers = place(networks, files, str(BUNDLED))
        return Counter((part, one.rank, one.scale, one.magnitude is not None) for (part, _), one in layers.items())

    whole = Counter({("unet", 2, 1.0, False): 56})
    for name in ("kohya", "kohya-no-alpha", "kohya-fp16", "diffusers"):
        assert placed(f"{name}.safetensors") == whole, name
    assert placed("peft") == placed("named") == whole
    assert placed("kohya-half-alpha.safetensors") == {("unet", 2, 0.5, False): 56}
    assert placed("kohya-ranks.safetensors") == {("unet", 2, 1.0, False): 28, ("unet", 1, 1.0, False): 28}
    assert placed("kohya-te.safetensors") == whole + Counter({("text_encoder", 2, 1.0, False): 6})
    assert placed("kohya-dora.safetensors") == {("unet", 2, 1.0, True): 56}
    for name, code, words in (
        ("all-wrong-names.safetensors", "side-misfit", "168 of its 168 tensors"),
        ("half-wrong-names.safetensors", "side-misfit", "48 of its 168 tensors"),
        ("loha.safetensors", "lora-other-method", "LoHa"),
        ("bin", "weights-pickle", "pytorch_lora_weights.bin"),
    ):
        with refused(code, naming=words):
            placed(name)


# --- prompts inside images -------------------------------------------------------------------------


def test_09_text_in_png_is_utf_8_where_it_is_valid(imported: Imported) -> None:
    report, labels = imported(case("09-png-utf8") / "like", label=True)
    assert prompts_of(labels) == {"café at night, 東京": 2, "café at night": 1}
    assert (report.likes, report.skipped) == (3, [])


def test_10_tags_and_commands_are_no_words(imported: Imported, tmp_path: Path) -> None:
    report, labels = imported(case("10-a1111-lora-tags") / "like", label=True)
    details = ", ".join(f"detail number {i}" for i in range(40))
    long = f"a green apple, {details}, ending matters"
    assert prompts_of(labels) == {"a red apple on a table window light": 1, long: 1, "a blue apple": 1}
    assert report.marks == {"lora": 1, "command": 1, "weight": 1}
    shutil.copytree(BUNDLED / "tokenizer", tmp_path / "model" / "tokenizer")
    settings = tmp_path / "model" / "tokenizer" / "tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"model_max_length": 77}))
    cut = cut_prompts(str(tmp_path / "model"), [label.image.prompt for label in labels])
    assert (cut.length, cut.cut) == (77, (long,))
    assert cut.notes(3)[0].startswith("Of 3 prompts, 1 prompt has more than the 77 tokens")


def test_11_all_nine_savers_give_the_prompt(imported: Imported) -> None:
    _, labels = imported(case("11-savers") / "like", label=True)
    assert prompts_of(labels) == {"a lighthouse in fog": 9}
    assert {label.image.seed for label in labels} == {7}


# --- tables ----------------------------------------------------------------------------------------


def test_12_hpdv3_is_read_as_pairs(imported: Imported) -> None:
    folder = case("12-hpdv3")
    _, labels = imported(folder / "hpdv3.json")
    liked = {"images/0.png": True, "images/1.png": False, "images/2.png": True, "images/3.png": False}
    assert files_of(labels, folder) == liked
    pairs = Counter((label.pair, label.image.prompt) for label in labels)
    assert sorted(pairs.values()) == [2, 2] and len({pair for pair, _ in pairs}) == 2 and None not in dict(pairs)


@pytest.mark.parametrize("name", ["ab", "gooodbad", "pick", "winlose"])
def test_13_two_images_and_a_winner_are_a_comparison(imported: Imported, name: str) -> None:
    folder = case("13-image-pairs")
    report, labels = imported(folder / f"{name}.jsonl")
    assert files_of(labels, folder) == {"images/0.png": True, "images/1.png": False}, "a tie is neither"
    assert prompts_of(labels) == {"a pond": 2} and len({label.pair for label in labels}) == 1
    assert (report.likes, report.dislikes, report.skipped) == (1, 1, [])


def test_14_words_of_label_studio_are_read(imported: Imported) -> None:
    folder = case("14-label-studio")
    report, labels = imported(folder / "words.json")
    likes, dislikes = ("0", "1", "2", "4"), ("3", "5", "7")
    assert files_of(labels, folder) == {f"img/{n}.png": n in likes for n in (*likes, *dislikes)}
    assert [where for where, _ in report.skipped] == ["words.json, row 7, annotation 106"]
    with refused("import-no-usable-row", naming=["s3://bucket/img/0.png", "not an http address", "--root"]):
        imported(folder / "remote.json")


WORDS = (
    ("accept", "reject"), ("approved", "rejected"), ("keep", "discard"), ("chosen", "lose"), ("win", "lose"),
    ("favorite", "discard"), ("❤️", "👎"),
)  # fmt: skip


@pytest.mark.parametrize(("good", "bad"), WORDS)
def test_16_words_in_a_table(imported: Imported, tmp_path: Path, good: str, bad: str) -> None:
    folder = tmp_path / "table"
    folder.mkdir()
    for name, word in (("0", good), ("1", bad)):
        shutil.copyfile(case("16-label-words") / f"{name}.png", folder / f"{name}.png")
        with (folder / "t.jsonl").open("a") as table:
            table.write(json.dumps({"file_name": f"{name}.png", "prompt": "a pond by a mill", "label": word}) + "\n")
    assert files_of(imported(folder / "t.jsonl")[1], folder) == {"0.png": True, "1.png": False}


@pytest.mark.parametrize(("name", "good", "bad"), [("folders", "keep", "trash"), ("half", "approved", "rejected")])
def test_16_words_of_folders(imported: Imported, name: str, good: str, bad: str) -> None:
    folder = case("16-label-words") / name
    assert files_of(imported(folder)[1], folder) == {f"{good}/a.png": True, f"{bad}/a.png": False}


@pytest.mark.parametrize(
    ("name", "seeds", "left_out"),
    [
        ("seeds.csv", [422847914351919, None, None, None, None, 123, None, None], 6),
        ("big.jsonl", [None, None, 422847914351919, None, None, None], 4),
    ],
)
def test_17_a_seed_that_is_none_is_left_out_and_the_vote_counts(
    imported: Imported, name: str, seeds: list[int | None], left_out: int
) -> None:
    report, labels = imported(case("17-excel-seeds") / name)
    found = {label.image.prompt: label.image.seed for label in labels if label.liked}
    assert found == {f"picture {i}": seed for i, seed in enumerate(seeds)}
    assert (report.likes, report.left_out["seed"].number, report.skipped) == (len(seeds), left_out, [])


def test_18_the_end_of_a_foreign_path_is_taken_below_the_root(imported: Imported) -> None:
    folder = case("18-windows-paths")
    _, labels = imported(folder / "log.csv", root=folder / "pics")
    names = {hash_of(file.read_bytes()): normalize("NFC", file.name) for file in folder.rglob("*.png")}
    with (folder / "log.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["prompt"], row["path"].replace("\\", "/").rpartition("/")[2]) for row in csv.DictReader(file)]
    assert {label.image.prompt: names[label.image.sha256] for label in labels} == {
        prompt: normalize("NFC", name.replace("%20", " ")) for prompt, name in rows
    }
    assert len(labels) == 6


def test_22_a_time_is_read_or_left_out_and_the_vote_counts(imported: Imported) -> None:
    report, labels = imported(case("22-times") / "t.jsonl")
    at = datetime(2024, 1, 5, 13, 22, 11, tzinfo=UTC)
    earlier = at - timedelta(hours=2)
    found = {label.image.prompt: label.created_at for label in labels if label.liked}
    assert datetime.now(UTC) - found.pop("p2") < timedelta(hours=1), "it is the time of the import"
    assert found == {
        **{f"p{i}": at for i in (0, 3, 5, 7, 9, 10)},
        **{f"p{i}": earlier for i in (4, 6)},
        "p1": at.replace(microsecond=123456),
        "p8": datetime(2024, 1, 5, tzinfo=UTC),
    }
    assert report.left_out["created_at"].number == 1 and report.left_out["created_at"].examples == ["'1/5/2024 13:22'"]


# --- prompts, recipes and folders of images --------------------------------------------------------


@pytest.mark.parametrize("name", ["bom.txt", "utf16.txt", "prompts.json"])
def test_20_a_recipe_reads_the_prompts_that_a_duel_reads(name: str) -> None:
    file = case("20-prompts-bom") / name
    expected = [*IN_TWO_LINES, "a dog"] if file.suffix == ".txt" else [*IN_TWO_LINES]
    recipe = read_recipe(None, [f"evaluate.prompts={file}"])
    assert build.judged_prompts(recipe, {"a fox"}, set()) == expected == list(load_prompt_set(str(file)).prompts)
    with refused("evaluate-trained-prompts", naming="'a red apple'"):
        build.judged_prompts(recipe, {"a red apple"}, set())


@pytest.mark.parametrize(("name", "code"), [("dict.json", "prompts-no-list"), ("cp1252.txt", "prompts-unreadable")])
def test_20_both_refuse_the_same_files(name: str, code: str) -> None:
    file = case("20-prompts-bom") / name
    with refused(code, naming=file):
        load_prompt_set(str(file))
    with refused(code, naming=file):
        build.judged_prompts(read_recipe(None, [f"evaluate.prompts={file}"]), set(), set())


def test_21_yaml_is_read_as_it_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    folder = case("21-yaml")
    recipe = read_recipe(folder / "lr.yaml")
    assert (recipe.train.lr, recipe.train.steps, recipe.train.weight_decay) == (1e-4, 3, 1e-2)
    assert (recipe.train.guards, recipe.seed, recipe.objective.beta) == (False, 12, 5000.0)
    tilde = read_recipe(folder / "tilde.yaml")
    assert (str(tilde.model), str(tilde.likes)) == ("/home/ann/models/sd15", "/home/ann/likes")
    with refused("recipe-option-twice", naming=["dup.yaml", "line 1", "line 3"]):
        read_recipe(folder / "dup.yaml")
    with refused("recipe-value", naming=["bom.yaml", "train.lr", "0,0001"]):
        read_recipe(folder / "bom.yaml")


def test_23_images_are_paired_by_their_metadata(tmp_path: Path, call: Any) -> None:
    folder = case("23-natural")
    prompts = (folder / "p.txt").read_text().split("\n")[:3]
    expected = {name: [["0.png"], ["1.png"], ["2.png"]] for name in "abc"} | {"d": [["2.png"], ["0.png"], ["1.png"]]}
    for name, files in expected.items():
        found = images_by_prompt(folder / name, prompts, 1)
        assert [[path.name for path in paths] for paths in found] == files, name
    options = ["--prompts", folder / "p.txt", "--per-prompt", 1, "--scorers", "red", "--out", tmp_path / "duel"]
    code, _, err = call("duel", folder / "a", folder / "d", *options)
    assert code == 0, err
    for side_of, name in (("a", "a"), ("b", "d")):
        judged = [hash_of(path.read_bytes()) for path in sorted((tmp_path / "duel" / side_of).glob("*.png"))]
        assert judged == [hash_of((folder / name / file).read_bytes()) for (file,) in expected[name]]

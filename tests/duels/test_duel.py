"""A duel from end to end on real, tiny models and on folders of images; broken off anywhere, it ends the same."""

import csv
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from refusals import refused

from thumbtune import files, locks
from thumbtune.duels.duel import A, B, run_duel
from thumbtune.duels.gallery import Gallery, GalleryPlan, gather
from thumbtune.errors import UsageError
from thumbtune.evaluation.duel_folder import read_duel
from thumbtune.evaluation.human.duel_pairs import read_pairs
from thumbtune.evaluation.prompts import PromptSet
from thumbtune.evaluation.scorers.published_files import Locations
from thumbtune.models.protocol import Sampler

PROMPTS = PromptSet("three", ("a cat", "red dog", "the bat"), ("animals", "animals", "night"), "three.txt")
SCORER = """
from PIL import ImageStat

def brightness(images, prompts):
    return [ImageStat.Stat(image.convert("L")).mean[0] / 255 for image in images]
"""


class Stopped(Exception):
    """Stands for a kill."""


def quiet(items: Iterable[Any], text: str) -> Iterable[Any]:
    return items


def stopping_after(count: int) -> Callable[..., Iterator[Any]]:
    """A progress bar that dies after so many batches, of drawing and scoring together."""
    left = [count]

    def progress(items: Iterable[Any], text: str) -> Iterator[Any]:
        for item in items:
            if not left[0]:
                raise Stopped
            left[0] -= 1
            yield item

    return progress


def grey(folder: Path, *levels: int) -> Path:
    folder.mkdir(parents=True)
    for i, level in enumerate(levels):
        Image.new("RGB", (8, 8), (level,) * 3).save(folder / f"{i}.png")
    return folder


def read(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / name).open(newline="") as lines:
        return list(csv.DictReader(lines))


def bytes_of(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "environment.json")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("scorer") / "mine.py"
    file.write_text(SCORER)
    return f"{file}:brightness"


@pytest.fixture
def folders(tmp_path: Path, scorer: str) -> GalleryPlan:
    """Two images a prompt: `b` is brighter in the first prompt, darker in the second, equal in the third."""
    a = grey(tmp_path / "dark", 10, 20, 100, 100, 51, 51)
    b = grey(tmp_path / "light", 30, 40, 90, 90, 51, 51)
    return GalleryPlan(
        sides={A: str(a), B: str(b)},
        prompts=PROMPTS,
        out=tmp_path / "duel",
        scorers=(scorer, "red"),
        per_prompt=2,
        cache=None,
    )


@pytest.fixture
def models(tiny_pipeline: Callable[[str], Path], tmp_path: Path, scorer: str) -> GalleryPlan:
    return GalleryPlan(
        sides={A: str(tiny_pipeline("epsilon")), B: str(tiny_pipeline("v_prediction"))},
        prompts=PROMPTS,
        out=tmp_path / "duel",
        scorers=(scorer, "line-art"),
        per_prompt=5,
        sampler=Sampler(steps=2, guidance=1.0),
        cache=None,
    )


def test_a_duel_of_two_folders_counts_by_hand(folders: GalleryPlan) -> None:
    result = run_duel(folders, quiet)
    assert result is not None
    mine = "mine.py:brightness"
    overall = {row["estimand"]: row for row in result["standings"] if (row["style"], row["scorer"]) == (None, mine)}
    assert {name: (row["wins"], row["ties"], row["losses"]) for name, row in overall.items()} == {
        "median": (1, 1, 1),
        "pairwise": (2, 2, 2),
    }
    assert overall["median"]["rate"] == 0.5
    assert overall["median"]["change"]["mean"] == pytest.approx((20 - 10 + 0) / 3 / 255)
    styles = {
        row["style"]: row["rate"]
        for row in result["standings"]
        if row["estimand"] == "median" and row["scorer"] == mine and row["style"]
    }
    assert styles == {"animals": 0.5, "night": 0.5}
    red = [row for row in result["standings"] if row["scorer"] == "red" and row["style"] is None]
    assert [(row["wins"], row["losses"]) for row in red] == [(0, 0), (0, 0)]


def test_a_tie_may_be_wider(folders: GalleryPlan) -> None:
    result = run_duel(folders, quiet, tie=15 / 255)
    assert result is not None
    row = next(row for row in result["standings"] if row["estimand"] == "median" and row["style"] is None)
    assert (row["wins"], row["ties"], row["losses"]) == (1, 2, 0)


def test_the_folder_holds_all_that_repeats_it(folders: GalleryPlan) -> None:
    run_duel(folders, quiet)
    images = read(folders.out, "images.csv")
    assert [row["words"] for row in images] == [p for _ in "ab" for p in PROMPTS.prompts for _ in range(2)]
    assert [row["style"] for row in images[:6]] == ["animals"] * 4 + ["night"] * 2
    assert all((folders.out / row["file"]).is_file() for row in images)
    scores = [float(row["score"]) for row in read(folders.out, "scores.csv") if row["scorer"] == "mine.py:brightness"]
    assert scores == pytest.approx([x / 255 for x in (10, 20, 100, 100, 51, 51, 30, 40, 90, 90, 51, 51)])
    duel = json.loads((folders.out / "duel.json").read_text())
    assert duel["sides"]["a"]["kind"] == "images"
    assert duel["prompts"] == {"name": "three", "count": 3, "of": 3, "sha256": PROMPTS.sha256}
    assert json.loads((folders.out / "environment.json").read_text())["versions"]["torch"]
    assert (folders.out / "result.tex").read_text().startswith(r"\begin{tabular}")


def test_a_copied_duel_needs_the_folders_no_more(folders: GalleryPlan) -> None:
    result = run_duel(folders, quiet)
    for side in folders.sides.values():
        for image in Path(side).iterdir():
            Image.open(image).rotate(90).save(image)  # the same bytes for a flat image
    assert run_duel(folders, quiet) == result


@pytest.mark.slow
def test_models_draw_the_same_seeds(models: GalleryPlan) -> None:
    gallery = gather(models, quiet)
    assert isinstance(gallery, Gallery)
    seeds = {side: [(p.prompt, p.seed) for p in gallery.images if p.side == side] for side in (A, B)}
    assert seeds[A] == seeds[B]
    assert len({seed for _, seed in seeds[A]}) == 15
    assert gallery.table("mine.py:brightness", A) != gallery.table("mine.py:brightness", B)


@pytest.mark.slow
def test_identical_models_cannot_be_told(models: GalleryPlan) -> None:
    result = run_duel(replace(models, sides={A: models.sides[A], B: models.sides[A]}), quiet)
    assert result is not None
    assert {(row["rate"], row["wins"], row["losses"]) for row in result["standings"]} == {(0.5, 0, 0)}
    assert all("not enough evidence" in line for line in result["sentences"])
    assert result["a"] != result["b"]


@pytest.fixture(scope="module")
def whole() -> dict[str, dict[str, bytes]]:
    """What an uninterrupted duel wrote, made once."""
    return {}


@pytest.mark.slow
@pytest.mark.parametrize("batches", [0, 1, 2, 3, 4, 5, 8, 11])
def test_a_duel_that_was_killed_ends_with_the_same_bytes(
    models: GalleryPlan, whole: dict[str, dict[str, bytes]], batches: int, tmp_path: Path
) -> None:
    """Two sides of 15 images are 4 batches of drawing; 30 images by two scorers are 8 of scoring."""
    models = replace(models, cache=tmp_path / "scores.sqlite")
    if not whole:
        run_duel(replace(models, out=tmp_path / "whole", cache=None), quiet)
        whole |= {"files": bytes_of(tmp_path / "whole")}
    with pytest.raises(Stopped):
        run_duel(models, stopping_after(batches))
    drawn = {path: path.stat().st_mtime_ns for path in models.out.rglob("*.png")}
    assert not (models.out / "result.json").exists()
    run_duel(models, quiet)
    assert bytes_of(models.out) == whole["files"]
    assert all(path.stat().st_mtime_ns == then for path, then in drawn.items())


@pytest.mark.slow
def test_a_duel_that_was_killed_at_random_ends_with_the_same_bytes(
    models: GalleryPlan, scorer: str, tmp_path: Path
) -> None:
    """SIGKILL, which nothing can catch, whenever so many more images are there; at last nobody kills it."""
    (tmp_path / "three.txt").write_text("\n".join(PROMPTS.prompts))
    words = ["duel", models.sides[A], models.sides[B], "--prompts", str(tmp_path / "three.txt")]
    words += ["--scorers", scorer, "--per-prompt", "5", "--steps", "2", "--guidance", "1", "--out"]
    command = [str(Path(sys.executable).with_name("thumbtune")), *words]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
    lot, out = random.Random(), tmp_path / "duel"
    for count in sorted(lot.sample(range(1, 30), 3)):
        process = subprocess.Popen([*command, str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and len(list(out.rglob("*.png"))) < count:
            time.sleep(lot.uniform(0, 0.02))
        process.kill()
        process.wait()
    subprocess.run([*command, str(out)], check=True, capture_output=True)
    ours, theirs = bytes_of(out), bytes_of(tmp_path / "whole")
    pages = [files.pop("report.html").replace(b"whole", b"duel") for files in (ours, theirs)]  # it names its folder
    assert ours == theirs and pages[0] == pages[1]


@pytest.mark.slow
def test_an_image_that_was_lost_is_drawn_again_as_it_was(models: GalleryPlan) -> None:
    models = replace(models, per_prompt=1)
    run_duel(models, quiet)
    before = bytes_of(models.out)
    lost = sorted((models.out / "b").glob("*.png"))[1]
    lost.unlink()
    run_duel(models, quiet)
    assert bytes_of(models.out) == before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"prompts": PromptSet("three", ("a cat", "red dog", "another"))}, "prompts"),
        ({"first_seed": 7}, "seeds"),
        ({"sampler": Sampler(steps=3)}, "sampler"),
    ],
)
def test_a_folder_of_another_duel_is_left_alone(folders: GalleryPlan, change: dict[str, Any], named: str) -> None:
    run_duel(folders, quiet)
    before = bytes_of(folders.out)
    with refused("duel-folder-taken", UsageError, naming=f"other {named}"):
        run_duel(replace(folders, **change), quiet)
    assert bytes_of(folders.out) == before


@pytest.mark.slow
def test_other_weights_are_another_duel(models: GalleryPlan, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(models.sides[A], tmp_path / "copy"))
    models = replace(models, sides={A: str(copy), B: str(copy)}, per_prompt=1)
    run_duel(models, quiet)
    weights = next((copy / "vae").glob("*.safetensors"))
    shutil.copy(weights, copy / "vae" / "more.safetensors")
    with refused("duel-folder-taken", UsageError, naming="other sides"):
        run_duel(models, quiet)


def test_a_folder_with_something_else_is_left_alone(folders: GalleryPlan) -> None:
    folders.out.mkdir()
    (folders.out / "thesis.txt").write_text("years of work")
    with refused("duel-folder-taken", UsageError, naming=folders.out):
        run_duel(folders, quiet)
    assert [path.name for path in folders.out.iterdir()] == ["thesis.txt"]


def test_an_unknown_scorer_is_refused_before_anything_is_written(folders: GalleryPlan) -> None:
    with refused("scorer-unknown", UsageError):
        run_duel(replace(folders, scorers=("beauty",)), quiet)
    with refused("duel-no-scorer", UsageError):
        run_duel(replace(folders, scorers=()), quiet)
    assert not folders.out.exists()


def test_folders_of_other_sizes_are_refused(folders: GalleryPlan) -> None:
    Path(folders.sides[B], "0.png").unlink()
    with refused("image-folder-wrong-count", UsageError, naming="5 images, not 2 for each of 3 prompts"):
        run_duel(folders, quiet)


def test_images_of_different_sizes_are_fine(folders: GalleryPlan) -> None:
    Image.new("RGB", (31, 5), (30,) * 3).save(Path(folders.sides[B], "0.png"))
    result = run_duel(folders, quiet)
    assert result is not None
    assert result["standings"][0]["wins"] == 1


def test_a_scorer_that_fails_on_one_image_keeps_the_rest(folders: GalleryPlan, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "def brightness(images, prompts):\n"
        "    if any(image.getpixel((0, 0))[0] == 20 for image in images):\n"
        "        raise ValueError('twenty is too much')\n"
        "    return [image.getpixel((0, 0))[0] / 255 for image in images]\n"
    )
    result = run_duel(replace(folders, scorers=(f"{file}:brightness",)), quiet)
    assert result is not None
    (name, why), *more = result["scorers"][0]["failed"].items()
    assert (name.split("-")[0], more) == ("a/000", [])
    assert "twenty is too much" in why
    row = result["standings"][0]
    assert (row["wins"], row["ties"], row["losses"]) == (1, 1, 1)
    assert "a/000-" in (folders.out / "result.md").read_text()


def test_a_broken_manifest_is_named(folders: GalleryPlan) -> None:
    run_duel(folders, quiet)
    (folders.out / "duel.json").write_text("{")
    with refused("duel-unreadable", naming="duel.json"):
        run_duel(folders, quiet)


# --- what a folder must never do


def test_a_side_that_was_mistyped_does_not_lock_the_folder(folders: GalleryPlan, tmp_path: Path) -> None:
    wrong = replace(folders, sides={A: folders.sides[A], B: str(grey(tmp_path / "short", 1))})
    with refused("image-folder-wrong-count", UsageError, naming="1 image,"):
        run_duel(wrong, quiet)
    assert run_duel(folders, quiet) is not None


def test_another_side_in_the_place_of_one_whose_images_are_gone_leaves_nothing_of_it(
    folders: GalleryPlan, tmp_path: Path
) -> None:
    run_duel(folders, quiet)
    for image in (folders.out / B).iterdir():
        image.unlink()
    other = replace(folders, sides={A: folders.sides[A], B: str(grey(tmp_path / "other", 1, 2, 3, 4, 5, 6))})
    with refused("scorer-failed-on-all", naming="12 images"):
        run_duel(replace(other, scorers=(f"{broken_in(tmp_path)}:score",)), quiet)
    assert not list(folders.out.glob("result.*")) and not (folders.out / "scores.csv").exists()
    result = run_duel(other, quiet)
    assert result == run_duel(replace(other, out=tmp_path / "fresh"), quiet)


def broken_in(folder: Path) -> Path:
    file = folder / "broken.py"
    file.write_text("def score(images, prompts):\n    raise ValueError('out of order')\n")
    return file


def test_what_a_kill_left_half_written_goes(folders: GalleryPlan) -> None:
    run_duel(folders, quiet)
    left = folders.out / B / ".001-10003.png.0123456789abcdef.partial"
    left.write_bytes(b"half")
    run_duel(folders, quiet)
    assert not left.exists()


def test_weights_that_cannot_be_had_are_named_before_anything_is_drawn(models: GalleryPlan, tmp_path: Path) -> None:
    places = Locations(local=tmp_path, offline=True)
    with refused("scorer-weights-missing", naming=["pickscore: model.safetensors", "--weights"]):
        run_duel(replace(models, scorers=("pickscore",), places=places), quiet)
    short = str(grey(tmp_path / "short", 1))
    with refused("image-folder-wrong-count", UsageError, naming=[short, "1 image, not 5"]):
        run_duel(replace(models, sides={A: models.sides[A], B: short}), quiet)
    assert not models.out.exists()


def test_a_path_may_be_spelt_otherwise(folders: GalleryPlan) -> None:
    run_duel(folders, quiet)
    spelt = {name: f"{Path(said).parent}/./{Path(said).name}/" for name, said in folders.sides.items()}
    prompts = replace(PROMPTS, source="./three.txt")
    assert run_duel(replace(folders, sides=spelt, prompts=prompts), quiet) is not None


def test_the_environment_is_written_by_whoever_goes_on(folders: GalleryPlan) -> None:
    run_duel(folders, quiet)
    (folders.out / "environment.json").unlink()  # as after a kill between two files
    run_duel(folders, quiet)
    assert (folders.out / "environment.json").is_file()


def test_one_image_that_cannot_be_read_keeps_the_rest(folders: GalleryPlan) -> None:
    Path(folders.sides[B], "2.png").write_bytes(b"no picture")
    result = run_duel(folders, quiet)
    assert result is not None
    assert [list(one["failed"]) for one in result["scorers"]] == [["b/001-10003.png"]] * 2 or all(
        len(one["failed"]) == 1 for one in result["scorers"]
    )
    assert result["standings"][0]["prompts"] == 3


def test_another_image_in_the_place_of_one_that_was_scored_is_named(folders: GalleryPlan) -> None:
    run_duel(folders, quiet)
    first, second = sorted((folders.out / B).iterdir())[:2]
    shutil.copy(second, first)
    with refused("duel-image-changed", naming=first.name):
        run_duel(folders, quiet)


def test_a_users_scorer_is_asked_again_whatever_it_looks_at(folders: GalleryPlan, tmp_path: Path) -> None:
    (tmp_path / "factor.txt").write_text("1")
    (tmp_path / "mine.py").write_text(
        "from pathlib import Path\n"
        "def score(images, prompts):\n"
        "    factor = float(Path(__file__).with_name('factor.txt').read_text())\n"
        "    return [factor * image.getpixel((0, 0))[0] for image in images]\n"
    )
    order = replace(folders, scorers=(f"{tmp_path / 'mine.py'}:score",), cache=tmp_path / "scores.sqlite")
    first = run_duel(order, quiet)
    (tmp_path / "factor.txt").write_text("-1")
    second = run_duel(order, quiet)
    assert first is not None
    assert second is not None
    assert first["standings"][0]["change"]["mean"] == -second["standings"][0]["change"]["mean"] != 0


def test_numbers_of_another_count_are_refused_whole(folders: GalleryPlan, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def score(images, prompts):\n    return [1.0]\n")
    with refused("scorer-wrong-count", UsageError, naming=["(1,)", "8 images"]):
        run_duel(replace(folders, scorers=(f"{tmp_path / 'mine.py'}:score",)), quiet)


def test_a_count_of_its_own_takes_a_verdict_away(folders: GalleryPlan) -> None:
    run_duel(folders, quiet)
    (folders.out / "verdict.json").write_text("{}")
    run_duel(folders, quiet)
    assert not (folders.out / "verdict.json").exists()


@pytest.mark.parametrize(
    "sides",
    [
        {"{victim}": {}},
        {"../victim": {}},
        {"a": {}, "b/../../victim": {}},
        {"..": {}},
        {"": {}},
        {"..\\victim": {}},
        {"a": None},
        {"a": "victim"},
        ["a", "b"],
        None,
    ],
)
def test_a_manifest_from_a_stranger_leads_out_of_no_folder(folders: GalleryPlan, tmp_path: Path, sides: Any) -> None:
    """Replacing an unfinished duel deletes the folders of its sides, whose names stand in its manifest."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "precious.txt").write_text("kept")
    folders.out.mkdir()
    if isinstance(sides, dict):
        sides = {name.replace("{victim}", str(victim)): each for name, each in sides.items()}
    (folders.out / "duel.json").write_text(json.dumps({"form": 2, "sides": sides}))
    with refused("duel-unreadable", naming="duel.json"):
        run_duel(replace(folders, replace=True), quiet)
    assert (victim / "precious.txt").read_text() == "kept"


@pytest.mark.parametrize(
    "file", ["../secret.png", "/secret.png", "a/../../secret.png", "a\\..\\secret.png", "secret.png", "C:/x.png"]
)
def test_a_list_of_images_names_files_of_the_sides_alone(folders: GalleryPlan, file: str) -> None:
    run_duel(folders, quiet)
    text = (folders.out / "images.csv").read_text()
    (folders.out / "images.csv").write_text(text.replace("a/000-10000.png", file))
    with refused("duel-unreadable", naming=[file, "lies outside"]):
        read_duel(folders.out)
    with refused("duel-unreadable", naming="images.csv"):
        run_duel(folders, quiet)


def test_a_finished_duel_is_moved_before_another_takes_its_folder(folders: GalleryPlan) -> None:
    run_duel(folders, quiet)
    before = bytes_of(folders.out)
    gathered = gather(replace(folders, first_seed=5, replace=True), quiet)
    assert gathered is not None and gathered.replaced == folders.out.with_name("duel-before")
    assert bytes_of(gathered.replaced) == before


def test_every_duel_that_was_replaced_is_kept(folders: GalleryPlan) -> None:
    """Its images may have taken hours; a third and a fourth duel delete none."""
    kept = []
    for seed in range(4):
        run_duel(replace(folders, first_seed=seed, replace=True), quiet)
        kept.append(bytes_of(folders.out))
    names = ["duel-before", "duel-before-2", "duel-before-3"]
    assert [bytes_of(folders.out.with_name(name)) for name in names] == kept[:3]
    assert bytes_of(folders.out) == kept[3]


def test_a_second_duel_in_one_folder_is_refused_while_the_first_is_at_work(folders: GalleryPlan) -> None:
    """Also one that would move the folder away; the folder around it may be written to or not."""
    run_duel(replace(folders, out=folders.out.with_name("fresh")), quiet)
    told = []

    def second(items: Iterable[Any], text: str) -> Iterator[Any]:
        for each in (folders, replace(folders, first_seed=7, replace=True)):
            with refused("duel-busy", naming=[folders.out, f"process {os.getpid()}"]) as caught:
                run_duel(each, quiet)
            told.append(str(caught.value))
        yield from items

    run_duel(folders, second)
    assert told and bytes_of(folders.out) == bytes_of(folders.out.with_name("fresh"))
    assert not list(folders.out.parent.glob(".*.lock"))


def test_a_duel_goes_on_where_the_folder_around_it_is_read_only(
    folders: GalleryPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.out.mkdir()
    may_write = files.may_write
    monkeypatch.setattr(files, "may_write", lambda path: path != folders.out.parent and may_write(path))
    monkeypatch.setattr(locks, "held", partial(_inside, locks.held, folders.out))
    run_duel(folders, quiet)
    run_duel(folders, quiet)
    assert not list(folders.out.glob("*.lock"))


def _inside(held: Any, out: Path, file: Path, busy: Any) -> Any:
    assert file.parent == out
    return held(file, busy)


def test_an_unfinished_duel_is_replaced_without_a_copy(folders: GalleryPlan) -> None:
    run_duel(folders, quiet)
    (folders.out / "result.json").unlink()
    gathered = gather(replace(folders, first_seed=5, replace=True), quiet)
    assert gathered is not None and gathered.replaced is None
    assert not folders.out.with_name("duel-before").exists()
    assert {path.name for path in (folders.out / A).iterdir()} == {
        f"{p:03d}-{5 + 2 * p + k}.png" for p in range(3) for k in (0, 1)
    }


def test_a_duel_of_form_1_goes_on_and_is_read(folders: GalleryPlan) -> None:
    """An earlier version called the list of images pictures.csv, and the name of a side `said`."""
    result = run_duel(folders, quiet)
    manifest = json.loads((folders.out / "duel.json").read_text())
    for side in manifest["sides"].values():
        side["said"], side["mark"], side["kind"] = side.pop("name"), side.pop("prompt_prefix"), "pictures"
    manifest |= {"form": 1, "at_once": manifest.pop("batch")}
    (folders.out / "duel.json").write_text(json.dumps(manifest))
    (folders.out / "images.csv").rename(folders.out / "pictures.csv")
    assert read_duel(folders.out).manifest["sides"]["a"]["name"] == folders.sides[A]
    assert len(read_duel(folders.out).images) == 12
    assert len(read_pairs(folders.out)) == 6, "for a human test"
    assert run_duel(folders, quiet) == result
    assert (folders.out / "images.csv").is_file() and not (folders.out / "pictures.csv").exists()

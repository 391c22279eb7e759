"""The next round: seeds that nobody used, images of the run without votes, a training that goes on from its LoRA."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from refusals import refused

from thumbtune.feedback.store.browsing import Query, list_images
from thumbtune.feedback.store.store import Store
from thumbtune.feedback.store.uncertainty import keep_uncertainty, uncertainty_of
from thumbtune.runs import lora_copy, run
from thumbtune.runs.next_round import kept_plan, pairs_of, plan_round
from thumbtune.runs.next_training import folder_after, next_settings
from thumbtune.runs.recipe import read_recipe
from thumbtune.runs.uncertainty import uncertainty_from
from thumbtune.training import records

Call = Callable[..., tuple[int, str, str]]
TINY = (
    "train.batch=2",
    "train.micro_batch=2",
    "train.warmup=0",
    "train.checkpoint_every=1",
    "train.validate_every=0",
    "train.sample_every=0",
    "train.liked_share=0.5",
    "train.guards=false",
)


def test_every_image_has_a_seed_of_its_own_that_nobody_used() -> None:
    used, kept = {0, 1, 5, 2**60}, range(7, 10)
    pairs = pairs_of(["a", "b", "a", "c"], 3, used, kept)
    seeds = [seed for _, seed in pairs]
    assert [prompt for prompt, _ in pairs] == [*"aaabbbccc"]
    assert seeds == [2, 3, 4, 6, 10, 11, 12, 13, 14]


def test_uncertainty_is_the_distance_from_the_point_of_the_papers_code() -> None:
    ratio = torch.tensor([-0.5, 0.25, 1.0, 2.25])
    assert uncertainty_from(ratio).tolist() == [1.25, 0.5, 0.25, 1.5]  # the mean is 0.75
    assert uncertainty_from(-ratio).tolist() == [0.5, 0.25, 1.0, 2.25]  # the mean is below 0, and the point is 0


def test_a_plan_has_fresh_prompts_then_those_of_uncertain_images(
    trained_at: Callable[[Path], Path], tmp_path: Path
) -> None:
    folder = trained_at(tmp_path / "first")
    with Store.open(tmp_path / "store") as store:
        for place, prompt in enumerate(["thing a", "thing b", "thing c"]):
            Image.new("RGB", (16, 16), (place, 0, 0)).save(tmp_path / "one.png")
            store.add_image((tmp_path / "one.png").read_bytes(), prompt, seed=place)
        keep_uncertainty(store, {2: 0.5, 3: 0.25}, "an earlier run")
        plan = plan_round(folder, store, ["new  thing", "thing a"], per_prompt=2, limit=3)
        assert plan.prompts == ["new thing", "thing a", "thing c"]
        assert [seed for _, seed in plan.pairs] == [3, 4, 5, 6, 7, 8]
        first = run.recipe_in(folder).evaluate.first_seed
        assert not {seed for _, seed in plan.pairs} & set(range(first, first + 1000))
    assert kept_plan(tmp_path / "out", plan) == plan == kept_plan(tmp_path / "out", plan)
    with refused("round-other-run", naming=str(tmp_path / "out")):
        kept_plan(tmp_path / "out", type(plan)("runs/other", plan.pairs))
    (tmp_path / "out" / "round.json").write_text("{}")
    with refused("round-bad-plan"):
        kept_plan(tmp_path / "out", plan)


def test_a_store_without_prompts_needs_a_file(trained_at: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = trained_at(tmp_path / "first")
    with Store.open(tmp_path / "empty") as store, refused("round-no-prompt", naming="--prompts"):
        plan_round(folder, store)


def test_the_next_training_leaves_out_what_the_lora_gives(tmp_path: Path) -> None:
    recipe = read_recipe(None, ["lora.rank=4", "lora.targets=attention-and-feed-forward"])
    given = next_settings(recipe, Path("runs/first"), "base")
    assert given == {
        "lora.start": "runs/first", "lora.reference": "base", "lora.rank": "16", "lora.targets": '"attention"',
    }  # fmt: skip
    again = read_recipe(None, [f"{name}={value}" for name, value in given.items()])
    assert (again.lora.start, again.lora.reference) == ("runs/first", "base")
    with refused("round-no-lora", naming="thumbtune merge runs/first FOLDER"):
        next_settings(read_recipe(None, ["train.weights=full"]), Path("runs/first"))


def test_runs_are_numbered(tmp_path: Path) -> None:
    assert folder_after(tmp_path / "first").name == "first-2"
    (tmp_path / "first-2").mkdir()
    assert folder_after(tmp_path / "first").name == "first-3"
    assert folder_after(tmp_path / "first-2").name == "first-3"
    assert folder_after(tmp_path / "2").name == "2-2"


@pytest.fixture
def round_one(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of two steps with the bundled model on likes of two prompts; the folder is the current one."""
    monkeypatch.chdir(tmp_path)
    for kind, red in (("like", 255), ("dislike", 0)):
        (tmp_path / "thumbs" / kind).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (64, 64), (red, 40 * i, 0)).save(tmp_path / "thumbs" / kind / f"{i}.png")
            (tmp_path / "thumbs" / kind / f"{i}.txt").write_text(f"a {('cat', 'pizza')[i % 2]}")
    assert call("import", "thumbs")[0] == 0
    words = [word for setting in (*TINY, "train.validation_share=0", "train.lr=0.001") for word in ("--set", setting)]
    code, _, err = call("train", "--out", "runs/first", "--steps", 2, *words)
    assert code == 0, err
    return tmp_path


@pytest.mark.slow
def test_from_labels_to_the_second_training(call: Call, round_one: Path) -> None:
    Path("fresh.txt").write_text("a dragon\n")
    words = ("round", "runs/first", "--prompts", "fresh.txt", "--per-prompt", 2, "--steps", 2)
    code, out, err = call(*words)
    assert code == 0, err
    with Store.open("likes") as store:
        found = [one.image for one in list_images(store, "me", Query(label="unrated"), 100)]
        assert sorted(image.prompt for image in found) == sorted(["a dragon", "a cat", "a pizza"] * 2)
        assert len({image.seed for image in found}) == 6
        assert {image.model for image in found} == {"tiny-emoji-64+first"}
        assert {image.source for image in found} == {"generate first-round"}
        assert uncertainty_of(store).keys() == {image.id for image in found}
        assert store.counts().likes == 4
    assert call(*words)[0] == 0  # once more adds nothing
    with Store.open("likes") as store:
        assert len(list_images(store, "me", Query(label="unrated"), 100)) == 6
        liked = {image.id for image in found if image.prompt == "a cat"}
        for image in found:
            store.vote(image, "like" if image.id in liked else "dislike", rater="me")

    command = next(line for line in out.splitlines() if line.startswith("Then train: ")).removeprefix("Then train: ")
    program, *rest = shlex.split(command)
    assert program == "thumbtune" and "runs/first-2" in rest
    errors = {}
    for reference in ("last", "base"):
        rest[rest.index("--reference") + 1], rest[rest.index("--out") + 1] = reference, f"runs/{reference}"
        code, _, err = call(*rest)
        assert code == 0, err
        story = records.read_story(Path("runs", reference)) or {}
        assert (story["likes"], story["dislikes"]) == (6, 8)
        step = records.read_steps(Path("runs", reference))[0]
        errors[reference] = (step.policy_error, step.reference_error)
    assert errors["last"][0] == errors["last"][1]  # nothing has moved yet
    assert errors["base"][0] == errors["last"][0] and errors["base"][1] != errors["base"][0]
    copy = lora_copy.of_run(Path("runs/last"))
    assert copy.read_bytes() == Path("runs/first/lora/pytorch_lora_weights.safetensors").read_bytes()
    assert folder_after(Path("runs/first")).name == "first-2"


@pytest.mark.slow
def test_a_round_only_measures_and_refuses_what_cannot_be(call: Call, round_one: Path) -> None:
    code, out, err = call("round", "runs/first", "--per-prompt", 0)
    assert code == 0 and "0 unrated images" in out, err
    code, _, err = call("round", "runs/none")
    assert code == 2 and "runs/none" in err

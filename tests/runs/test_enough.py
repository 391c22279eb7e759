"""Too little to learn from is said before a training: few labels, one side, few prompts, and prompts that are cut."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image
from refusals import refused

from thumbtune.errors import plural
from thumbtune.evaluation import gates
from thumbtune.feedback import enough
from thumbtune.feedback.enough import often_shown_note, verdict_note
from thumbtune.feedback.importers import import_likes
from thumbtune.feedback.likes import is_held_out
from thumbtune.feedback.store.store import Store
from thumbtune.runs import build
from thumbtune.runs.recipe import Recipe, read_recipe
from thumbtune.runs.setup import prepare
from thumbtune.runs.text_length import cut_prompts

Call = Callable[..., tuple[int, str, str]]
Rows = Sequence[tuple[str, bool]]
BUNDLED = build.model_path("tiny-emoji-64")  # its text encoder reads 24 tokens
LONG = "a red apple on a green table in a blue house by the wide sea under a yellow sun and a white moon"


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Recipe]:
    """((prompt, liked) rows, settings) -> a recipe on a store of them, an image each."""

    def make(rows: Rows, *settings: str) -> Recipe:
        for i, (prompt, liked) in enumerate(rows):
            path = tmp_path / "thumbs" / ("like" if liked else "dislike") / f"{i:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = Image.new("RGB", (16, 16), (i, 7 * i % 256, 255 * liked))
            image.putpixel((0, 0), (255, 255, 255))
            image.save(path)
            path.with_suffix(".txt").write_text(prompt)
        with Store.open(tmp_path / "likes") as store:
            import_likes(tmp_path / "thumbs", store)
        return read_recipe(None, [f"likes={tmp_path / 'likes'}", "model=tiny-emoji-64", *settings])

    return make


def prompts_on(side: bool, count: int) -> list[str]:
    """Prompts that are held out, or not."""
    return [p for p in (f"star {i}" for i in range(1000)) if is_held_out(p) == side][:count]


TRAINED, HELD_OUT = prompts_on(False, 60), prompts_on(True, 12)
NONE_HELD_OUT = "train.validation_share=0"


def rows(likes: int, dislikes: int, prompts: Sequence[str] = TRAINED) -> Rows:
    labels = [True] * likes + [False] * dislikes
    return [(prompts[i % len(prompts)], liked) for i, liked in enumerate(labels)]


# --- labels


@pytest.mark.parametrize("repeated", [False, True])
def test_one_image_of_each_kind_is_refused(made: Callable[..., Recipe], repeated: bool) -> None:
    recipe = made(rows(1, 1, ["a cat"] if repeated else TRAINED), NONE_HELD_OUT)
    with refused("likes-two-images", naming=["20 images"]):
        prepare(recipe)


@pytest.mark.parametrize(("likes", "dislikes"), [(2, 1), (1, 2), (3, 30), (30, 3), (8, 8)])
def test_few_labels_are_noted(made: Callable[..., Recipe], likes: int, dislikes: int) -> None:
    notes = prepare(made(rows(likes, dislikes), NONE_HELD_OUT)).notes()
    assert [f"{plural(likes, 'like')} and {plural(dislikes, 'dislike')}" in note for note in notes] == [True], notes


@pytest.mark.parametrize(("likes", "dislikes"), [(4, 16), (10, 10), (16, 4)])
def test_as_many_as_once_gained_are_not(made: Callable[..., Recipe], likes: int, dislikes: int) -> None:
    assert prepare(made(rows(likes, dislikes), NONE_HELD_OUT)).notes() == []


def test_images_that_are_shown_more_often_than_ever_gained_are_noted(made: Callable[..., Recipe]) -> None:
    recipe = made(rows(20, 30), NONE_HELD_OUT, "train.steps=500")
    (note,) = (note for note in prepare(recipe).notes() if "times" in note)
    assert "is shown 320 times" in note and "each 11 times, which train.steps=17 does here" in note  # 17 * 32 / 50
    for steps in (437, 48):  # 437 * 32 / 50 is below 280, and 438 * 32 / 50 above
        again = read_recipe(None, [f"likes={recipe.likes}", NONE_HELD_OUT, f"train.steps={steps}"])
        assert not any("times" in note for note in prepare(again).notes())
    assert often_shown_note(16, 140, 32) is None and often_shown_note(16, 141, 32) is not None
    assert often_shown_note(0, 500, 32) is None
    assert "train.steps=1 " in str(often_shown_note(1, 500, 64))


def test_likes_alone_are_enough_for_an_objective_that_learns_from_them(made: Callable[..., Recipe]) -> None:
    assert prepare(made(rows(20, 0), NONE_HELD_OUT, "objective.name=sft")).notes() == []


@pytest.mark.parametrize(
    ("labels", "settings", "code", "naming", "never"),
    [
        (rows(20, 0), [], "likes-no-dislikes", ["20 likes and 0 dislikes", "--label dislike", "sft"], "share=0"),
        (rows(0, 20), [], "likes-no-likes", ["0 likes and 20 dislikes", "--label like`"], "sft"),
        (rows(0, 20), ["objective.name=sft"], "likes-no-likes", ["--label like`"], "share=0"),
        (
            [*rows(20, 0), *rows(0, 2, HELD_OUT)],
            [],
            "likes-no-dislikes",
            ["the 2 other dislikes are of held-out prompts", NONE_HELD_OUT],
            "--label",
        ),
        (
            [*rows(0, 20), *rows(3, 0, HELD_OUT)],
            [],
            "likes-no-likes",
            ["the 3 other likes are of held-out prompts", NONE_HELD_OUT],
            "--label",
        ),
    ],
)
def test_advice_to_a_one_sided_set_helps(
    made: Callable[..., Recipe], labels: Rows, settings: list[str], code: str, naming: list[str], never: str
) -> None:
    with refused(code, naming=naming) as caught:
        prepare(made(labels, *settings))
    assert never not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "way"),
    [(rows(20, 0), "objective.name=sft"), ([*rows(20, 0), *rows(0, 2, HELD_OUT)], NONE_HELD_OUT)],
)
def test_the_advice_is_a_way_to_train(made: Callable[..., Recipe], labels: Rows, way: str) -> None:
    assert len(prepare(made(labels, way)).split.train)


# --- prompts for a verdict


def test_the_number_is_that_of_the_gates() -> None:
    assert enough.MIN_PROMPTS == gates.MIN_PROMPTS == 10


@pytest.mark.parametrize(("held_out", "more"), [(0, 50), (3, 35), (9, 5)])
def test_a_note_says_how_many_prompts_are_missing(held_out: int, more: int) -> None:
    prompts = [*TRAINED[:20], *HELD_OUT[:held_out]]
    note = verdict_note([*prompts, *prompts, *(prompt.upper() for prompt in prompts)])
    assert note is not None
    for words in (f"{20 + held_out} prompts", f"holds out {held_out} of", "needs 10", f"about {more} more prompts"):
        assert words in note
    assert verdict_note([*TRAINED, *HELD_OUT[:10]]) is None


def test_the_import_and_the_statistics_say_it_before_all_is_rated(
    call: Call, made: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = made([*rows(20, 20), *rows(4, 4, HELD_OUT[:4])])
    out = call("likes", "stats", "--likes", tmp_path / "likes")[1]
    assert "The store has 44 prompts" in " ".join(out.split()) and "about 30 more prompts" in " ".join(out.split())
    out = call("import", tmp_path / "thumbs", "--likes", tmp_path / "again")[1]
    assert "about 30 more prompts" in " ".join(out.split())
    assert any("about 30 more prompts" in note for note in prepare(recipe).notes())
    made([*rows(20, 20), *rows(10, 10, HELD_OUT[:10])])
    assert "more prompts" not in call("likes", "stats", "--likes", tmp_path / "likes")[1]


# --- prompts that the text encoder cuts


def test_prompts_are_counted_and_named_that_are_cut(made: Callable[..., Recipe]) -> None:
    labels = [*rows(10, 10), (f"{LONG} one", True), (f"{LONG} two", False), (f"another {LONG}", True)]
    notes = [note for note in prepare(made(labels, NONE_HELD_OUT)).notes() if "tokens" in note]
    assert len(notes) == 2
    assert "3 prompts have more than the 24 tokens" in notes[0] and "Of 23 prompts" in notes[0]
    assert "2 prompts are only 1" in notes[1] and LONG[:50] in notes[1]


def test_prompts_that_are_equal_once_cut_are_on_one_side(made: Callable[..., Recipe]) -> None:
    labels = [*rows(10, 10), *((f"{LONG} {i}", i % 2 == 0) for i in range(24))]
    recipe = made(labels)
    assert len({is_held_out(f"{LONG} {i}") for i in range(24)}) == 2, "else the test would show nothing"
    parts = build.split_of(recipe)
    sides = [sum(prompt.startswith(LONG) for prompt in part["prompt"]) for part in (parts.train, parts.held_out)]
    assert sorted(sides) == [0, 24]


@pytest.mark.parametrize("policy", ["majority", "per-vote", "unanimous"])
def test_new_prompts_and_other_policies_move_no_prompt(made: Callable[..., Recipe], policy: str) -> None:
    before = build.split_of(made([*rows(10, 10), (f"{LONG} z", True)]))
    recipe = made([*rows(10, 10), (f"{LONG} z", True), *((f"{LONG} {i}", False) for i in range(9))])
    after = build.split_of(recipe.model_copy(update={"label_policy": policy}))
    assert set(before.train["prompt"]) <= set(after.train["prompt"])
    assert set(before.held_out["prompt"]) <= set(after.held_out["prompt"])


def test_a_prompt_that_equals_one_of_the_training_once_cut_is_not_evaluated(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text(f"a cat\n{LONG} with a bird\n")
    recipe = read_recipe(None, ["model=tiny-emoji-64", f"evaluate.prompts={tmp_path / 'p.txt'}"])
    assert len(build.judged_prompts(recipe, {"a dog"}, set())) == 2
    with refused("evaluate-trained-prompts", naming="with a bird"):
        build.judged_prompts(recipe, {f"{LONG} with a fish"}, set())


def test_short_prompts_load_no_tokenizer() -> None:
    assert cut_prompts("nobody/nothing", ["a cat", "x" * 74]).same_as == {}
    with refused("model-unloadable", naming="'./nowhere'"):
        cut_prompts("./nowhere", ["a cat " * 30])


@pytest.mark.parametrize("length", [1, 5, 21, 22, 23, 24, 40])
def test_a_prompt_is_cut_where_the_tokenizer_cuts_it(length: int) -> None:
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(BUNDLED, subfolder="tokenizer")
    for letter in ("q ", "é ", "猫"):
        prompt = (letter * length).strip()
        whole = tokenizer(prompt).input_ids
        cut = tokenizer(prompt, truncation=True, max_length=24).input_ids
        assert (cut_prompts(BUNDLED, [prompt]).cut == (prompt,)) == (len(whole) > len(cut))

"""Rounds on a ground: what is rated in each round, pairs by the person's comparisons, and one training over all."""

import json
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
from PIL import Image

from thumbtune.experiments import ground_labels, rounds, rounds_cells
from thumbtune.experiments.experiments import Order, perform
from thumbtune.experiments.grounds import GROUNDS
from thumbtune.experiments.methods import METHODS, method_cell
from thumbtune.experiments.noisy_rater import image_key, prefers
from thumbtune.experiments.rounds import claims_of, d3po_cost
from thumbtune.experiments.rounds_cells import in_rounds, parts_by_image, parts_by_prompt, preferred_labels
from thumbtune.experiments.simulated_labels import PoolImage, Rating
from thumbtune.experiments.training_grid import Grid
from thumbtune.training.progress import quiet


def pool_of(prompts: int, per_prompt: int, folder: Path = Path()) -> list[PoolImage]:
    """As `generate_pool` orders it: round and round the prompts."""
    return [
        PoolImage(folder / f"{n}-{k}.png", f"prompt {n}", 10 * k + n) for k in range(per_prompt) for n in range(prompts)
    ]


def test_rounds_by_image_go_round_the_prompts_and_take_each_image_once() -> None:
    pool = pool_of(24, 8)
    parts = parts_by_image(pool, 3)
    assert [len(part) for part in parts] == [64, 64, 64] and list(chain(*parts)) == pool
    assert all(len({one.prompt for one in part}) == 24 for part in parts)


def test_rounds_by_prompt_share_no_prompt() -> None:
    parts = parts_by_prompt(pool_of(24, 8), 3)
    prompts = [{one.prompt for one in part} for part in parts]
    assert [len(part) for part in parts] == [64, 64, 64] and [len(of_part) for of_part in prompts] == [8, 8, 8]
    assert len(set.union(*prompts)) == 24


@pytest.fixture
def odds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log-odds of an image are its red, / 10 - 5."""
    monkeypatch.setattr(
        ground_labels,
        "log_odds",
        lambda ground, images, prompts, network: [image.getpixel((0, 0))[0] / 10 - 5 for image in images],
    )


def painted(folder: Path, per_prompt: int, prompts: int = 2) -> list[PoolImage]:
    pool = pool_of(prompts, per_prompt, folder)
    for place, one in enumerate(pool):
        Image.new("RGB", (8, 8), ((37 * place) % 100, place, 0)).save(one.file)
    return pool


@pytest.mark.usefixtures("odds")
def test_a_pair_is_two_images_of_a_prompt_of_which_the_person_prefers_one(tmp_path: Path) -> None:
    pool = painted(tmp_path, 5)
    ground, seed = GROUNDS["soft-3d"], 3
    labels = {name: (prompt, liked) for name, _, prompt, liked, _ in preferred_labels(pool, ground, seed)}
    # images 0 and 1, 2 and 3 of each of two prompts; image 4 has no partner
    assert labels.keys() == {f"{n}-{k}.png" for n in range(2) for k in range(4)}
    by_name = {one.file.name: one for one in pool}
    for n in range(2):
        for k in (0, 2):
            pair = [by_name[f"{n}-{k + more}.png"].image() for more in (0, 1)]
            values = [image.getchannel(0).tobytes()[0] / 10 - 5 for image in pair]
            is_first = prefers((values[0], values[1]), ground.tau, seed, (image_key(pair[0]), image_key(pair[1])))
            assert labels[f"{n}-{k}.png"] == (f"prompt {n}", is_first)
            assert labels[f"{n}-{k + 1}.png"] == (f"prompt {n}", not is_first)


@pytest.mark.usefixtures("odds")
def test_a_ground_with_wrong_labels_turns_its_share_of_pairs(tmp_path: Path) -> None:
    pool = painted(tmp_path, 40, prompts=4)
    ground = GROUNDS["line-art-wrong"]  # without noise, so each wrong pair was turned
    labels = {name: liked for name, _, _, liked, _ in preferred_labels(pool, ground, 1)}
    redness = {one.file.name: one.image().getchannel(0).tobytes()[0] for one in pool}
    pairs = [(f"{n}-{k}.png", f"{n}-{k + 1}.png") for n in range(4) for k in range(0, 40, 2)]
    assert all(labels[a] != labels[b] for a, b in pairs)
    wrong = sum(labels[a] != (redness[a] > redness[b]) for a, b in pairs)
    assert abs(wrong / len(pairs) - 0.2) < 4 * (0.2 * 0.8 / len(pairs)) ** 0.5 and wrong


def test_a_first_round_without_a_like_is_a_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = painted(tmp_path, 3)
    monkeypatch.setattr(rounds_cells, "pool_of", lambda lab, cell: pool)
    monkeypatch.setattr(ground_labels, "log_odds", lambda ground, images, *_: [-100.0] * len(images))
    cell = replace(method_cell("line-art-wrong", "kto-three-rounds", 40, METHODS["kto-three-rounds"]), rating=Rating())
    row = in_rounds(Grid(Order(folder=tmp_path / "out", ground="line-art-wrong"), quiet, print), cell)
    assert row["status"].startswith("cannot be trained: ") and "scores" not in row
    assert row["rounds"] == [{"until": 40, "likes": 0, "dislikes": 2}]


def test_the_cost_of_d3po_is_counted_by_hand() -> None:
    # 10 guided steps draw with 20 passes; each trains with 2 x (reference 1 + policy 1 + backward 2) = 8
    assert d3po_cost(10) == (20 + 10 * 8) / 4


def test_claims_compare_three_rounds_with_one_of_the_same_objective() -> None:
    rows = {
        name: [
            {
                "seed": seed,
                "log_odds": value,
                "share of headroom": value,
                "faithfulness": 0.99,
                "scores": {"judge": [value]},
            }
            for seed in (1, 2, 3)
        ]
        for name, value in (("lead", 0.5), (rounds.KTO_ROUNDS, 0.7), (rounds.DPO_PAIRS, 0.3), (rounds.DPO_ROUNDS, 0.2))
    }
    found = {claim.statement: claim.verdict for claim in claims_of(rows)}
    assert found == {
        "kto-three-rounds is better than lead": "holds",
        "dpo-three-rounds is better than dpo-pairs": "does not hold",
    }
    assert claims_of({"lead": rows["lead"]}) == []


@pytest.mark.slow
def test_rounds_end_to_end(tmp_path: Path) -> None:
    lines: list[str] = []
    page = perform("rounds", Order(folder=tmp_path / "out", quick=True, ground="soft-3d"), quiet, lines.append)
    text = page.read_text()
    assert "20 times the passes of KTO" in text and "kto-three-rounds is better than lead" in text
    runs = tmp_path / "out" / "runs"
    stored = {name: json.loads((runs / f"{name}-seed-40" / "row.json").read_text())["row"] for name in rounds.TAKEN}
    three = stored["kto-three-rounds"]
    assert [one["until"] for one in three["rounds"]] == [1, 2, 2] and three["likes"] + three["dislikes"] == 18
    # what the second round rates was generated by the model of the first, at the prompts and seeds of the pool
    young = sorted((tmp_path / "out" / "likes" / "soft-3d-kto-three-rounds-seed-40" / "round-2").glob("*.png"))
    assert len(young) == 6
    assert all(file.read_bytes() != (tmp_path / "out" / "pools" / "seed-40" / file.name).read_bytes() for file in young)
    story = json.loads((runs / "kto-three-rounds-seed-40" / "likes.json").read_text())
    assert story["rounds"] == [{"step": 1, "labels": 6}]
    again: list[str] = []
    perform("rounds", Order(folder=tmp_path / "out", quick=True, ground="soft-3d"), quiet, again.append)
    assert sum("finished before" in line for line in again) == len(METHODS.keys() & rounds.TAKEN.keys()) + 2

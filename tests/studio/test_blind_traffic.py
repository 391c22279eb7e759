"""What crosses the network in a blind test does not tell the models apart: a classifier on it is at chance.

The two models differ as much as images can: one makes noise, the other plain colours, in files of very different sizes.
The classifier sees of each image the bytes of its address, its headers, its size and how long it took.
"""

import hashlib
import http.client
import io
import itertools
import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from made_runs import a_duel
from numpy.typing import NDArray
from PIL import Image
from running import Studio
from studio_store import fill, png

from thumbtune.evaluation.human.key import read_key
from thumbtune.evaluation.statistics import wilson
from thumbtune.report.human_page import encode_pair

PROMPTS = 300
AT_ONCE = 50
SIDE = 64
SURE = 0.999  # of the interval that must hold one half: a test that fails by chance in 1 of 1,000 runs
RIDGE = 1.0

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """What somebody on the network sees of one image, and whose image it is."""

    arm: str
    address: str
    headers: tuple[tuple[str, str], ...]
    size: int
    seconds: float


def image(side: str, prompt: int) -> bytes:
    if side == "b":
        return png(prompt, SIDE)
    noise = np.random.default_rng(prompt).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    return file.getvalue()


class Wire:
    """One connection to the studio."""

    def __init__(self, link: str) -> None:
        parts = urlsplit(link)
        self._link = http.client.HTTPConnection(parts.netloc, timeout=60)
        self._headers = {"Authorization": f"Bearer {parse_qs(parts.query)['token'][0]}"}

    def close(self) -> None:
        """Close it."""
        self._link.close()

    def ask(self, path: str, body: object = None) -> tuple[bytes, tuple[tuple[str, str], ...], float]:
        """Return the body of an answer, its headers without the time, and how many seconds it took."""
        begin = time.perf_counter()
        data = None if body is None else json.dumps(body)
        kind = {} if body is None else {"Content-Type": "application/json"}
        self._link.request("GET" if body is None else "POST", path, data, self._headers | kind)
        answer = self._link.getresponse()
        text = answer.read()
        took = time.perf_counter() - begin
        assert answer.status == 200, text
        return text, tuple((name, value) for name, value in answer.getheaders() if name.lower() != "date"), took


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Seen]]:
    """All images of a test of 300 pairs, in the order in which a rater's page asks for them: left, right."""
    folder = tmp_path_factory.mktemp("traffic")
    fill(folder / "likes", 1)
    a_duel(folder / "duel", PROMPTS, image)
    with Studio(folder / "likes", None, "--root", str(folder)) as studio:
        wire = Wire(studio.link)
        (source,) = json.loads(wire.ask("/api/v1/blind/sources")[0])
        body = {"source": source["id"], "pairs": PROMPTS, "repeats": 0}
        test = json.loads(wire.ask("/api/v1/blind", body)[0])["id"]
        study = read_key(folder / "likes" / "studio" / "blind" / test / "key.json")
        left = {trial.id: trial.left for trial in study.trials}
        seen = []
        for _ in range(0, PROMPTS, AT_ONCE):
            trials = json.loads(wire.ask(f"/api/v1/blind/{test}/trials?limit={AT_ONCE}")[0])["next"]
            for trial, place in itertools.product(trials, ("left", "right")):
                data, headers, took = wire.ask(trial[place])
                arm = left[trial["id"]] if place == "left" else {"a": "b", "b": "a"}[left[trial["id"]]]
                seen.append(Seen(arm, trial[place], headers, len(data), took))
            answers = [
                {"id": str(uuid.uuid4()), "trial": trial["id"], "choice": "tie", "seconds": 1} for trial in trials
            ]
            wire.ask(f"/api/v1/blind/{test}/answers", {"answers": answers})
        wire.close()
        yield seen


def features(seen: list[Seen]) -> Array:
    """What the classifier sees, a row for each image, in units of the spread; without columns that never differ."""
    names = sorted({header for one in seen for header in one.headers})
    rows = [
        [
            *(byte for byte in one.address.encode().ljust(120)),
            *(header in one.headers for header in names),
            one.size,
            np.log(one.seconds),
        ]
        for one in seen
    ]
    table = np.array(rows, dtype=np.float64)
    table -= table.mean(0)
    spread = table.std(0)
    return table[:, spread > 0] / spread[spread > 0]


def pairs_of(seen: list[Seen]) -> tuple[Array, Array]:
    """How the left image of each pair differs from the right one, and 1 where it is B's, else -1.

    The pair is the trial: its images are of different models, so that two guesses at them would count one guess twice.
    """
    table = features(seen)
    return table[::2] - table[1::2], np.array([1.0 if one.arm == "b" else -1.0 for one in seen[::2]])


def ridge_guesses(table: Array, arms: Array) -> int:
    """How many pairs of the second half a ridge regression tells, which learnt from the first half."""
    half = len(arms) // 2
    known, asked = table[:half], table[half:]
    weights = np.linalg.solve(known.T @ known + RIDGE * np.eye(known.shape[1]), known.T @ arms[:half])
    return int((np.sign(asked @ weights) == arms[half:]).sum())


def nearest_guesses(table: Array, arms: Array) -> int:
    """The same by the nearest pair of the first half."""
    half = len(arms) // 2
    far = ((table[half:, None] - table[None, :half]) ** 2).sum(2)
    return int((arms[:half][far.argmin(1)] == arms[half:]).sum())


@pytest.mark.slow
@pytest.mark.parametrize("classifier", [ridge_guesses, nearest_guesses])
def test_a_classifier_on_the_traffic_is_at_chance(
    traffic: list[Seen], classifier: Callable[[Array, Array], int]
) -> None:
    table, arms = pairs_of(traffic)
    tested = len(arms) - len(arms) // 2
    right = classifier(table, arms)
    interval, sure = wilson(float(right), tested), wilson(float(right), tested, SURE)
    print(f"{right} of {tested} right, 95% interval {interval.low:.1%} to {interval.high:.1%}")
    assert sure.low <= 0.5 <= sure.high


def test_the_second_image_of_a_pair_differs_in_its_address_and_its_time_alone(traffic: list[Seen]) -> None:
    assert len({one.headers for one in traffic}) == len({one.size for one in traffic}) == 1
    names = {name.lower() for name, _ in traffic[0].headers}
    assert not {"etag", "last-modified", "content-disposition", "accept-ranges"} & names
    assert ("cache-control", "no-store") in traffic[0].headers
    tokens = [one.address.removeprefix("/api/v1/blind/images/") for one in traffic]
    assert len(set(tokens)) == len(tokens) and {len(token) for token in tokens} == {32}
    assert sum(one.arm == "b" for one in traffic[::2]) == PROMPTS / 2, "each on the left equally often"


@pytest.mark.slow
def test_the_classifiers_tell_images_that_are_sent_as_they_are(tmp_path: Path) -> None:
    """What was hidden: the sizes alone give the models away."""
    seen, coin = [], np.random.default_rng(0)
    for prompt in range(200):
        for side in "ab":
            (tmp_path / f"{side}.png").write_bytes(image(side, prompt))
        sent = dict(zip("ab", encode_pair(tmp_path / "a.png", tmp_path / "b.png"), strict=True))
        for side in coin.permutation(["a", "b"]):
            token = hashlib.sha256(f"{prompt}{side}".encode()).hexdigest()[:32]
            seen.append(Seen(str(side), token, (), len(sent[side]), 0.001))
    assert ridge_guesses(*pairs_of(seen)) >= 95, "of 100"
    assert nearest_guesses(*pairs_of(seen)) >= 75, "of 100: the bytes of addresses are noise to it"

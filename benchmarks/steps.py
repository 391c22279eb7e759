"""What a step of training costs, against a plain denoising step and a conventional loop, in one run on one machine.

    python -m benchmarks.steps                     the bundled model on this machine, into benchmarks/steps.json
    python -m benchmarks.steps --gpu               SD 1.5 at 512 and SDXL at 1024 pixels, with random weights, on a GPU
    python -m benchmarks.steps --gpu --tiny        the same with small networks, to try the script without a GPU

Each row is a kind of step, with a LoRA and with all weights. All kinds take turns, a step each, so that a busy machine
slows all alike; on a CPU a step's time is the CPU time of the process, on a GPU the clock after a synchronisation.

    plain         fine-tuning on liked images: cached latents and prompts, one pass, backward, AdamW
    kto           ours: the reference denoises every batch
    kto, draws    ours with train.noise_draws=1, after each draw was seen once: the reference's errors are known
    conventional  the loop of the first implementations: images and prompts encoded in each step, the reference by
                  exchanging weights, activations checkpointed, the reference point of each part alone

    x plain       median of the ratio to the plain step of the same turn, and the range of its middle nine tenths
    peak GiB      of what torch reserved on a GPU, since the last turn began; "-" on a CPU
    of matmul     floating-point operations of a plain step (torch's counter) over its time, as a share of the rate of
                  large matrix products that is measured just before, in the precision of the training
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from benchmarks.models import SD1, SDXL, TINY_SIZE, write_model, write_weights
from thumbtune.feedback.likes import likes_features
from thumbtune.objective import KTO, Judged
from thumbtune.objective.reference_point import REFERENCE_POINTS
from thumbtune.runs import build
from thumbtune.runs.recipe import Recipe, read_recipe
from thumbtune.training.batches import Batches
from thumbtune.training.cache import Cache
from thumbtune.training.denoising import error
from thumbtune.training.encoded import Encoded
from thumbtune.training.trainer import Settings, Training, train

FILE = Path(__file__).with_suffix(".json")
GIB = 2**30
IMAGES, ROUNDS, FIRST = 32, 12, 2  # the first turns warm up, and count for nothing
OBJECTIVE = KTO(beta=250.0)
MATMUL = {"cpu": 1024, "cuda": 8192}  # the side of the matrices whose product is timed
Steps = Iterator[object]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model, how it is trained, and how many images a step has. size: pixels of a side"""

    name: str
    model: str = ""
    size: int = 64
    weights: str = "lora"
    batch: int = 16
    precision: str = "no"

    def recipe(self, *more: str) -> Recipe:
        """Return its recipe; its labels are made here and not read."""
        settings = [f"train.weights={self.weights}", f"train.precision={self.precision}", "train.lr=1e-4"]
        settings += [f"model={self.model}"] if self.model else []
        return read_recipe(None, [*settings, "train.steps=100000", "train.warmup=0", "train.cooldown=0", *more])


def likes_of(case: Case) -> Any:
    """Return images of noise with a prompt each, every second one liked."""
    from datasets import Dataset

    noise = np.random.default_rng(0)
    pixels = noise.integers(0, 256, (IMAGES, case.size, case.size, 3), dtype=np.uint8)
    features = likes_features()
    rows: dict[str, Any] = {name: [None] * IMAGES for name in features}
    rows |= {
        "image": [Image.fromarray(one) for one in pixels],
        "image_id": [f"image-{place}" for place in range(IMAGES)],
        "prompt": [f"a red apple, number {place}" for place in range(IMAGES)],
        "label": [place % 2 == 0 for place in range(IMAGES)],
        "weight": [1.0] * IMAGES,
    }
    return Dataset.from_dict(rows, features=features)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A model in training, its optimiser, and the batches of encoded likes."""

    model: Any
    batches: Batches
    accelerator: Accelerator
    optimizer: torch.optim.Optimizer


def parts_of(case: Case, cache: Cache, draws: int = 0, checkpointing: bool = False) -> Parts:
    """Load the model and encode the likes."""
    recipe = case.recipe(f"train.gradient_checkpointing={str(checkpointing).lower()}")
    accelerator = build.training_accelerator_of(recipe)
    model = build.model_of(recipe, accelerator.device)
    model.size = case.size
    encoded = Encoded(likes_of(case), model, cache).fill()
    batches = Batches(encoded=encoded, process=model.process, size=case.batch, liked_share=0.5, noise_draws=draws)
    trained = [parameter for _, parameter in model.trainable()]
    optimizer = torch.optim.AdamW(trained, 1e-4, weight_decay=0.01)
    return Parts(model=model, batches=batches, accelerator=accelerator, optimizer=optimizer)


def plain(case: Case, cache: Cache) -> Steps:
    """Yield after each plain denoising step."""
    parts = parts_of(case, cache)
    for step in range(10**9):
        batch = parts.batches.batch(step).to(parts.accelerator.device)
        _learn(parts, error(parts.model, batch, parts.accelerator).mean())
        yield step


def kto(case: Case, cache: Cache, draws: int = 0) -> Steps:
    """Yield after each step of ours; with draws, after all are known."""
    parts = parts_of(case, cache, draws)
    settings = Settings(steps=10**9, micro_batch=case.batch)
    training = Training(parts.model, REFERENCE_POINTS["batch"](), settings, parts.accelerator)
    steps = train(training, parts.batches, OBJECTIVE)
    while draws and len(training.reference_errors) < IMAGES * draws:
        next(steps)
    yield from steps


def conventional(case: Case, cache: Cache) -> Steps:
    """Yield after each step of a conventional loop."""
    parts = parts_of(case, cache, checkpointing=True)
    model, likes, trained = parts.model, parts.batches.encoded, [p for _, p in parts.model.trainable()]
    reference = [parameter.detach().clone() for parameter in trained]
    for step in range(10**9):
        batch = parts.batches.batch(step).to(parts.accelerator.device)
        rows = parts.batches.rows(step)
        with torch.no_grad():
            images = [likes.likes[row]["image"] for row in rows]
            latents = model.encode(images)
            condition = model.embed([likes.prompts[row] for row in rows]) | model.image_condition(images)
            batch = type(batch)(latents, condition, batch.noise, batch.t, batch.liked, batch.weight).to(
                parts.accelerator.device
            )
            policy = [parameter.detach().clone() for parameter in trained]
            _put(trained, reference)
            before = error(model, batch, parts.accelerator)
            _put(trained, policy)
        now = error(model, batch, parts.accelerator)
        point = (before - now).detach().mean().clamp(min=0)
        judged = Judged(
            policy_error=now,
            reference_error=before,
            liked=batch.liked,
            weight=batch.weight,
            reference_point=point,
        )
        _learn(parts, OBJECTIVE(judged).mean())
        yield step


def _put(parameters: Sequence[torch.Tensor], values: Sequence[torch.Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)


def _learn(parts: Parts, loss: torch.Tensor) -> None:
    parts.accelerator.backward(loss)
    torch.nn.utils.clip_grad_norm_([p for _, p in parts.model.trainable()], 1.0)
    parts.optimizer.step()
    parts.optimizer.zero_grad()


KINDS: dict[str, Callable[[Case, Cache], Steps]] = {
    "plain": plain,
    "kto": kto,
    "kto, draws": partial(kto, draws=1),
    "conventional": conventional,
}


def seconds_of(device: str, work: Callable[[], object]) -> float:
    """Return the CPU time of some work, or on a GPU the time until it is done."""
    if device == "cpu":
        begun = time.process_time()
        work()
        return time.process_time() - begun
    torch.cuda.synchronize()
    begun = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - begun


def matmul_rate(device: str, precision: str) -> float:
    """Return the floating-point operations per second of large matrix products."""
    side = MATMUL[device]
    kind = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    a, b = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    times = [seconds_of(device, lambda: a @ b) for _ in range(10)]
    return 2 * side**3 / statistics.median(times[FIRST:])


def counter() -> FlopCounterMode:
    """Return torch's counter of floating-point operations, with the attention of a CPU, which it does not know."""

    def forward(query: Any, key: Any, value: Any, *_: Any, **named: Any) -> int:
        return sdpa_flop_count(query, key, value)

    def backward(grad: Any, query: Any, key: Any, value: Any, *_: Any, **named: Any) -> int:
        return sdpa_backward_flop_count(grad, query, key, value)

    aten = torch.ops.aten
    attention = {
        aten._scaled_dot_product_flash_attention_for_cpu: forward,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: backward,
    }
    return FlopCounterMode(display=False, custom_mapping=attention)


def counted(steps: Steps) -> int:
    """Return the floating-point operations of one step, after a first one, before which all is encoded."""
    next(steps)
    counting = counter()
    with counting:
        next(steps)
    return counting.get_total_flops()


def measure(case: Case, cache: Cache, device: str, rounds: int) -> list[dict[str, Any]]:
    """Return a row for each kind of step."""
    rate = matmul_rate(device, case.precision)
    kinds = {name: make(case, cache) for name, make in KINDS.items()}
    operations = counted(kinds["plain"])
    times: dict[str, list[float]] = {name: [] for name in kinds}
    peaks: dict[str, float] = {}
    for turn in range(FIRST + rounds):
        for name, steps in kinds.items():
            if device == "cuda":
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            taken = seconds_of(device, partial(next, steps))
            if turn >= FIRST:
                times[name].append(taken)
            if device == "cuda":
                peaks[name] = torch.cuda.max_memory_reserved() / GIB
    return [
        {
            "case": case.name,
            "weights": case.weights,
            "batch": case.batch,
            "kind": name,
            "seconds": statistics.median(times[name]),
            **_ratios(times[name], times["plain"]),
            "peak_gib": peaks.get(name),
            "of_matmul": operations / statistics.median(times[name]) / rate if name == "plain" else None,
        }
        for name in kinds
    ]


def _ratios(times: Sequence[float], plain_times: Sequence[float]) -> dict[str, float]:
    ratios = np.array(times) / np.array(plain_times)
    low, high = np.quantile(ratios, [0.05, 0.95])
    return {"ratio": float(np.median(ratios)), "low": float(low), "high": float(high)}


def cases_of(folder: Path, on_gpu: bool, tiny: bool) -> list[Case]:
    """Return the cases, and write their models."""
    if not on_gpu:
        return [Case(name="bundled", weights=weights) for weights in ("lora", "full")]
    sizes = {SD1: (512, 8), SDXL: (1024, 2)}
    precision = "bf16" if torch.cuda.is_available() else "no"
    found = []
    for family, (size, batch) in sizes.items():
        place = write_weights(write_model(folder / family.replace(" ", "-"), family, tiny))
        shape = TINY_SIZE if tiny else size
        kinds = ("lora", "full") if family == SD1 else ("lora",)
        found += [
            Case(name=family, model=str(place), size=shape, weights=weights, batch=batch, precision=precision)
            for weights in kinds
        ]
    return found


def line_of(row: dict[str, Any]) -> str:
    """Return a row as a line of the table."""
    ratio = f"{row['ratio']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
    peak = "-" if row["peak_gib"] is None else f"{row['peak_gib']:.1f}"
    share = "" if row["of_matmul"] is None else f"{row['of_matmul']:.0%}"
    what = f"{row['case']}, {row['weights']}, {row['batch']} images"
    return f"{what:<38}{row['kind']:<14}{1000 * row['seconds']:>9.0f} ms{ratio:>24}{peak:>8}{share:>8}"


def main() -> None:
    """Measure, print a table, and write the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gpu", action="store_true", help="SD 1.5 and SDXL at their sizes")
    parser.add_argument("--tiny", action="store_true", help="with --gpu: small networks")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="turns that count")
    parser.add_argument("--out", type=Path, default=FILE, help="the file of the rows")
    given = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"{'case':<38}{'kind':<14}{'a step':>12}{'x plain':>24}{'GiB':>8}{'matmul':>8}", flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for case in cases_of(Path(folder), given.gpu, given.tiny):
            cache = Cache(Path(folder) / f"cache-{case.name}-{case.size}".replace(" ", "-"))
            found = measure(case, cache, device, given.rounds)
            print("\n".join(map(line_of, found)), flush=True)
            rows += found
    hardware = torch.cuda.get_device_name() if device == "cuda" else f"{platform.machine()} CPU, one thread"
    stored = {"hardware": hardware, "torch": torch.__version__, "rounds": given.rounds, "rows": rows}
    given.out.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

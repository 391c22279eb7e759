"""The memory that each stage of a training adds to its process on a CPU, and the images a second of each.

    python -m benchmarks.stages      the bundled model, LoRA and all weights, into benchmarks/stages.json; a table

Each training runs in a process of its own, and goes through its stages in order. Linux counts the peak of its memory,
and starts to count again before each stage (/proc/self/clear_refs).

    programs   Python, torch, diffusers and the rest are imported
    load       the model is read and gets its LoRA
    encode     images of noise, and a prompt for each, one after another as training does
    first      the first step of KTO: the moments of the optimiser come
    steps      further steps
    generate   images of 25 steps with guidance, 16 at once
    judge      the style judge of the demo scores these images
    red        so does a formula of pixels

    peak       MiB above what the process had before the stage
    kept       MiB that it has more after the stage
    images/s   for each second of CPU time, on one thread; a step visits 16 images
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine

FILE = Path(__file__).with_suffix(".json")
MIB = 2**20
BATCH, STEPS, DRAWN = 16, 8, 16
WEIGHTS = ("lora", "full")
SCORERS = {"judge": "style-soft-3d", "red": "red"}
STATUS, CLEAR, PEAK_AGAIN = Path("/proc/self/status"), Path("/proc/self/clear_refs"), "5"
WORKER = "from benchmarks.stages import go; import sys; go(sys.argv[1], int(sys.argv[2]))"


def memory() -> tuple[int, int]:
    """Return the bytes that this process has now, and the most that it had since `count_again`."""
    found = dict(re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", STATUS.read_text(encoding="ascii")))
    return 1024 * int(found["VmRSS"]), 1024 * int(found["VmHWM"])


def count_again() -> None:
    """Let the peak be what the process has now."""
    CLEAR.write_text(PEAK_AGAIN, encoding="ascii")


def stage(name: str, images: int, work: Callable[[], Any]) -> tuple[dict[str, Any], Any]:
    """Return the row of a stage that handles so many images, and the result of its work."""
    count_again()
    before, begun = memory()[0], time.process_time()
    result = work()
    seconds, (now, peak) = time.process_time() - begun, memory()
    row = {"stage": name, "peak": (peak - before) / MIB, "kept": (now - before) / MIB, "seconds": seconds}
    return row | {"images": images}, result


def go(weights: str, sampling_steps: int) -> None:
    """Go through the stages of a training, and print a row of each as JSON."""
    rows: list[dict[str, Any]] = []

    def do(name: str, work: Callable[[], Any], images: int = 0) -> Any:
        row, result = stage(name, images, work)
        rows.append({"weights": weights, **row})
        return result

    do("programs", _programs)
    import torch

    from benchmarks.steps import IMAGES, OBJECTIVE, Case, likes_of
    from thumbtune.evaluation.scorers.resolve import LoadOptions, resolve_scorers
    from thumbtune.models.missing import BUNDLED
    from thumbtune.models.protocol import Sampler
    from thumbtune.objective.reference_point import REFERENCE_POINTS
    from thumbtune.runs import build
    from thumbtune.training.batches import Batches
    from thumbtune.training.cache import Cache
    from thumbtune.training.encoded import Encoded
    from thumbtune.training.trainer import Settings, Training, train

    torch.set_num_threads(1)
    case = Case(name="bundled", weights=weights, batch=BATCH)
    recipe = case.recipe()
    accelerator = build.training_accelerator_of(recipe)
    model = do("load", lambda: build.model_of(recipe, accelerator.device))
    with tempfile.TemporaryDirectory() as folder:
        likes = likes_of(case)
        encoded = do("encode", Encoded(likes, model, Cache(Path(folder))).fill, IMAGES)
        batches = Batches(encoded=encoded, process=model.process, size=BATCH, liked_share=0.5)
        settings = Settings(steps=10**9, micro_batch=BATCH)
        steps = train(Training(model, REFERENCE_POINTS["batch"](), settings, accelerator), batches, OBJECTIVE)
        do("first", lambda: next(steps), BATCH)
        do("steps", lambda: [next(steps) for _ in range(STEPS)], BATCH * STEPS)
        sampler, prompts = Sampler(steps=sampling_steps), ["a red apple"] * DRAWN
        drawn = do("generate", lambda: model.generate(prompts, list(range(DRAWN)), sampler), DRAWN)
        for name, scorer in SCORERS.items():
            (group,) = resolve_scorers([scorer], LoadOptions(BUNDLED / "judge"))
            with group.load() as (loaded,):
                loaded.score(drawn[:1], prompts[:1])
                do(name, lambda: loaded.score(drawn, prompts), DRAWN)
    print(json.dumps(rows))


def _programs() -> None:
    import benchmarks.steps  # noqa: F401 - with all that a training imports


def measure(weights: str, sampling_steps: int = 25) -> list[dict[str, Any]]:
    """Return a row for each stage of a training in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", WORKER, weights, str(sampling_steps)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as a table of Markdown."""
    lines = ["| weights | stage | peak, MiB | kept, MiB | CPU s | images/s |", "|---|---|---|---|---|---|"]
    for row in rows:
        rate = f"{row['images'] / row['seconds']:.1f}" if row["images"] else ""
        memories = f"{row['peak']:.0f} | {row['kept']:.0f}"
        lines.append(f"| {row['weights']} | {row['stage']} | {memories} | {row['seconds']:.2f} | {rate} |")
    return "\n".join(lines)


def main() -> None:
    """Measure the stages of both trainings, print a table, and write the rows."""
    parser = machine.parser_of(__doc__, FILE)
    asked = parser.parse_args()
    about = machine.about(threads=1)
    rows = [row for weights in WEIGHTS for row in measure(weights)]
    print(table(rows))
    machine.keep(asked.out, about, rows)


if __name__ == "__main__":
    main()

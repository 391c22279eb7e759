"""One step of training on the plane for every utility and reference point: run by test_distributed.py.

in_processes.py FOLDER    writes each gradient to FOLDER/<processes>-<rank>.safetensors, what the step said to .json

and the ends of four steps with a beta that sets itself, an average and a refreshed reference to ...-stable.safetensors
"""

import json
import math
import sys
from pathlib import Path

import torch
from accelerate import Accelerator
from datasets import Dataset
from safetensors.torch import save_file

from thumbtune.distributed import team
from thumbtune.feedback.likes import likes_features
from thumbtune.models.plane import Plane, image_of_point
from thumbtune.objective.baselines import DPO
from thumbtune.objective.beta import Auto
from thumbtune.objective.kto import KTO
from thumbtune.objective.reference_point import REFERENCE_POINTS
from thumbtune.objective.utility import UTILITIES
from thumbtune.training.batches import Batches
from thumbtune.training.cache import Cache
from thumbtune.training.encoded import Encoded
from thumbtune.training.trainer import Settings, Training, train


class Broken(Batches):
    """The last four images of every batch of eight have no latents: the second of two processes has none."""

    def batch(self, step, start=0, stop=None, mismatched=False):  # type: ignore[no-untyped-def]
        made = super().batch(step, start, stop, mismatched)
        places = torch.arange(start, start + len(made))
        made.latents[places >= 4] = math.nan
        return made


def _likes() -> Dataset:
    points = torch.rand(40, 2, generator=torch.Generator().manual_seed(3)).tolist()
    features = likes_features()
    rows = {name: [None] * 40 for name in features} | {
        "image": [image_of_point(x, y) for x, y in points],
        "image_id": [f"picture-{i}" for i in range(40)],
        "prompt": [f"point {i % 8}" for i in range(40)],
        "label": [x > 0.5 for x, _ in points],
        "weight": [0.5 + i / 40 for i in range(40)],
    }
    return Dataset.from_dict(rows, features=features)


def _stable(accelerator: Accelerator, folder: Path) -> tuple[dict[str, torch.Tensor], list[dict[str, object]]]:
    """Average, weights and reference after four steps, and what the steps said."""
    plane = Plane()
    encoded = Encoded(_likes(), plane, Cache(folder / f"cache-{accelerator.process_index}")).fill()
    batches = Batches(encoded=encoded, process=plane.process, size=8, liked_share=0.5)
    settings = Settings(steps=4, micro_batch=2, lr=1e-3, ema=0.9, sync_reference_every=2)
    training = Training(plane, REFERENCE_POINTS["batch"](), settings, accelerator, Auto())
    said = [step.as_dict() for step in train(training, batches, KTO(beta=1.0))]
    made = {f"weights.{name}": weight.detach() for name, weight in plane.trainable()}
    made |= {f"average.{i}": value for i, value in enumerate(training.ema.values)}
    made |= {f"reference.{name}": value for name, value in plane.reference_state().items()}
    return made, said


def main(folder: Path) -> None:
    team()
    accelerator = Accelerator(cpu=True)
    likes, made, said = _likes(), {}, {}
    cases = [
        (f"{kind.__name__}-{estimator}-{utility}", kind, estimator, KTO(beta=3.0, utility=function), {})
        for kind in (Batches, Broken)
        for estimator in REFERENCE_POINTS
        for utility, function in UTILITIES.items()
    ]
    cases += [(f"{kind.__name__}-pairs", kind, "zero", DPO(beta=3.0), {"paired": True}) for kind in (Batches, Broken)]
    for name, kind, estimator, objective, options in cases:
        plane = Plane()
        with torch.no_grad():  # so that the policy differs from the reference and the reference point from 0
            for weight in plane.denoiser.parameters():
                weight.mul_(0.9)
        cache = Cache(folder / f"cache-{accelerator.process_index}")
        encoded = Encoded(likes, plane, cache).fill()
        batches = kind(encoded=encoded, process=plane.process, size=8, liked_share=0.5, **options)
        settings = Settings(steps=1, micro_batch=2, max_grad_norm=math.inf, weight_decay=0.0)
        training = Training(plane, REFERENCE_POINTS[estimator](), settings, accelerator)
        training.reference_point.after(torch.tensor([0.01]), torch.tensor([True]))
        step = next(train(training, batches, objective))
        slots = training.optimizer.state_dict()["state"]
        # AdamW's first moment after one step is a tenth of the gradient
        made[name] = torch.cat([slots[i]["exp_avg"].flatten() for i in range(len(slots))]) * 10
        said[name] = {key: value for key, value in step.as_dict().items() if value is not None and key != "seconds"}
    mark = f"{accelerator.num_processes}-{accelerator.process_index}"
    save_file(made, folder / f"{mark}.safetensors")
    (folder / f"{mark}.json").write_text(json.dumps(said))
    ends, steps = _stable(accelerator, folder)
    save_file(ends, folder / f"{mark}-stable.safetensors")
    (folder / f"{mark}-stable.json").write_text(json.dumps(steps))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

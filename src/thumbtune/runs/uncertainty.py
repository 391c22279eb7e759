"""How uncertain a run is of images that nobody judged: near the border of gain and loss, a vote tells most.

    uncertainty = |log_ratio - reference point|,    reference point = max(0, mean of log_ratio over these images)

The log-ratio is the implicit reward of an evaluation, a mean over 8 noise levels; the point is that of the paper's code
(`objective/reference_point.py`), over the images that are measured together.
"""

from collections.abc import Sequence
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from thumbtune.distributed import team
from thumbtune.evaluation.agreement import implicit_reward
from thumbtune.feedback.likes import likes_features
from thumbtune.feedback.store.store import Store
from thumbtune.feedback.store.tables import StoredImage
from thumbtune.objective.reference_point import Batch
from thumbtune.runs import build, objectives, run
from thumbtune.runs.image_sizes import encoded_as_trained
from thumbtune.training.progress import Progress, waiting

AT_ONCE = 32


def uncertainty_from(log_ratio: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """Return the distance of each log-ratio from their reference point.

    >>> uncertainty_from(torch.tensor([0.0, 1.0, 5.0])).tolist()
    [2.0, 1.0, 3.0]
    >>> uncertainty_from(torch.tensor([-1.0, -3.0])).tolist()
    [1.0, 3.0]
    """
    return (log_ratio - Batch().before(log_ratio, None)).abs()


def measure_uncertainty(
    folder: Path, store: Store, images: Sequence[StoredImage], progress: Progress
) -> dict[int, float]:
    """Return how uncertain a finished run is of images, by their ids; one that is not finite is left out.

    Raises:
        ThumbtuneError: the run has not finished training, or an image cannot be read.
    """
    if not images:
        return {}
    recipe = run.recipe_in(folder)
    accelerator = build.accelerator_of(recipe)
    model = waiting(progress, "Loading the tuned model", lambda: run.trained_model(recipe, folder, accelerator.device))
    asked = objectives.with_prefix(run.prompt_prefix_of(folder), _table(store, images))
    encoded = encoded_as_trained(recipe, model, asked, run.cache_of(folder)).fill(progress, strict=True)
    model.rest()  # all is encoded
    # a CPU whose memory runs out has no second try
    is_careful = recipe.train.micro_batch == "auto" and team().device.type == "cpu"
    at_once = build.micro_batch_of(recipe) if is_careful else AT_ONCE
    found = uncertainty_from(implicit_reward(model, encoded, accelerator, progress, at_once))
    pairs = zip(images, found.double().tolist(), found.isfinite().tolist(), strict=True)
    return {image.id: value for image, value, is_finite in pairs if is_finite}


def _table(store: Store, images: Sequence[StoredImage]) -> object:
    """Return images as rows of likes; their labels are not read."""
    from datasets import Dataset

    features = likes_features()
    rows = [
        dict.fromkeys(features)
        | {
            "image": {"bytes": None, "path": store.address_of(image)},
            "image_id": image.sha256,
            "prompt": image.prompt,
            "label": False,
            "weight": 1.0,
        }
        for image in images
    ]
    return Dataset.from_list(rows, features=features)

"""Thumbtune: align text-to-image diffusion models with people's likes and dislikes (Diffusion-KTO).

    import thumbtune

    for step in thumbtune.train({"likes": "likes", "train.steps": 200}, "runs/first"):
        print(step.step, step.loss)
    thumbtune.evaluate("runs/first")
    model = thumbtune.load("runs/first")

Recipe      every option of a run
Trainer     train a pipeline, or a model by its name, on a data set: the shape that TRL has
Config      the options of a Trainer as keywords
train       train from a recipe, yielding a Step after every weight update
evaluate    compare a finished run with its base on prompts that training did not see
Step        the numbers of one weight update
load        a model that generates images: a base model, or the result of a run

ThumbtuneError, its kind UsageError, and ThumbtuneWarning are what these raise, and what they warn with.
Each is imported at its first use, so `import thumbtune` is quick and loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thumbtune.duels.evaluate import evaluate_run as evaluate
    from thumbtune.errors import ThumbtuneError, ThumbtuneWarning, UsageError
    from thumbtune.runs.keyword_options import Config
    from thumbtune.runs.python_api import load, train
    from thumbtune.runs.recipe import Recipe
    from thumbtune.trainer import Trainer
    from thumbtune.training.step import Step

__version__ = "0.1.0"
__all__ = [
    "Config",
    "Recipe",
    "Step",
    "ThumbtuneError",
    "ThumbtuneWarning",
    "Trainer",
    "UsageError",
    "__version__",
    "evaluate",
    "load",
    "train",
]

_HOMES = {
    "Recipe": ("thumbtune.runs.recipe", "Recipe"),
    "Config": ("thumbtune.runs.keyword_options", "Config"),
    "Trainer": ("thumbtune.trainer", "Trainer"),
    "Step": ("thumbtune.training.step", "Step"),
    "ThumbtuneError": ("thumbtune.errors", "ThumbtuneError"),
    "ThumbtuneWarning": ("thumbtune.errors", "ThumbtuneWarning"),
    "UsageError": ("thumbtune.errors", "UsageError"),
    "train": ("thumbtune.runs.python_api", "train"),
    "load": ("thumbtune.runs.python_api", "load"),
    "evaluate": ("thumbtune.duels.evaluate", "evaluate_run"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'thumbtune' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*__all__, *(name for name in globals() if name.startswith("__") and name not in __all__)])

"""Train from Python in the shape that TRL has: a model, options and a data set make a Trainer.

    trainer = Trainer(model=pipeline, config=Config("runs/first", steps=140), feedback=dataset)
    trainer.train()                          # or: for step in trainer.steps(): ...
    trainer.evaluate()

It trains as `thumbtune train` does: the same steps, checkpoints, guards, held-out prompts, trackers and model card.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thumbtune.duels.evaluate import evaluate_run
from thumbtune.errors import UsageError
from thumbtune.models.protocol import PipelineModel
from thumbtune.report.page import write_page
from thumbtune.runs import given_feedback, given_model, given_objective, python_api, run
from thumbtune.runs.bundled_words import MODEL
from thumbtune.runs.keyword_options import Config
from thumbtune.runs.push import gathered
from thumbtune.runs.tuning import tune
from thumbtune.training.batches import Progress, quiet
from thumbtune.training.step import Step
from thumbtune.uploads import check_access, upload


class Trainer:
    """A training of one model on one set of likes and dislikes, in the folder `config.output_dir`.

    model:     the name of a model (a folder, a file, a hub id or a bundled one), or a loaded pipeline of diffusers. A
               pipeline is not changed: it is written to OUTPUT_DIR/base, in the type of its weights, and trained from
               there
    config:    the options; None: the default of every option
    feedback:  a `datasets.Dataset`, or rows as mappings, with image (or completion), prompt and label; or the name of a
               store of likes
    objective: an objective of one's own; None: the one of the config

    Raises:
        UsageError: the pipeline has a LoRA already, or an option or the objective cannot be used.
    """

    def __init__(
        self, model: Any = MODEL, config: Config | None = None, feedback: Any = "likes", objective: Any = None
    ) -> None:
        self.config = config or Config()
        self.model, self.feedback = model, feedback
        more: dict[str, Any] = {
            "model": given_model.base_of(model, self.output_dir),
            "likes": given_feedback.store_of(feedback, self.output_dir),
        }
        if not isinstance(model, str | os.PathLike):
            given_model.check_pipeline_object(model)
        self.objective = None
        if objective is not None:
            options, self.objective = given_objective.options_of(objective)
            more |= {name: value for name, value in options.items() if not self._adapts(name)}
        self.recipe = self.config.recipe(**more)

    def _adapts(self, name: str) -> bool:
        """Return whether the config lets an option of the given objective adapt: its beta alone may be `auto`.

        Raises:
            UsageError: the config sets the option otherwise.
        """
        if name not in self.config.options:
            return False
        if name == "objective.beta" and self.config.options[name] == "auto":
            return True
        raise UsageError(
            f"{name} is set by the config and by the objective; leave one of them out.", code="config-option-twice"
        )

    @property
    def output_dir(self) -> Path:
        """Return the folder of the run."""
        return self.config.output_dir

    def steps(self, resume: bool = False, progress: Progress = quiet) -> Iterator[Step]:
        """Train, and yield a Step after every weight update; the result is written at the end.

        If you stop iterating, a checkpoint of the last step is saved, from which `resume=True` continues.

        progress: wraps the images while they are encoded, as `bar(items, what)`

        Raises:
            UsageError: the folder holds another run.
            ThumbtuneError: as `thumbtune.train`; a guard stopped the training, or the feedback cannot be used.
        """
        run.check(self.recipe, self.output_dir, resume)  # before anything is written into the folder
        if not isinstance(self.model, str | os.PathLike):
            given_model.write_base(self.model, Path(self.recipe.model))
        if not isinstance(self.feedback, str | os.PathLike):
            given_feedback.write_store(self.feedback, Path(self.recipe.likes))
        yield from tune(self.recipe, self.output_dir, progress, resume, objective=self.objective)

    def train(self, resume: bool = False, progress: Progress = quiet) -> Step | None:
        """Train to the end, and return the last step; None if a resumed run had finished already.

        Raises:
            UsageError, ThumbtuneError: as `steps`.
        """
        last = None
        for step in self.steps(resume, progress):
            last = step
        return last

    def evaluate(self, **settings: Any) -> dict[str, Any] | None:
        """Compare the trained model with its base on prompts that training did not see; return the verdict.

        settings: options of the evaluation, such as `scorers="red"`; the page of the run is written too

        Raises:
            UsageError, ThumbtuneError: as `thumbtune.evaluate`.
        """
        return evaluate_run(self.output_dir, [f"evaluate.{name}={value}" for name, value in settings.items()])

    def report(self) -> Path:
        """Write the page of the run, and return its path."""
        return write_page(self.output_dir)

    def load(self, device: Any = None) -> PipelineModel:
        """Return the trained model, which generates images; its `pipeline` is one of diffusers.

        Raises:
            ThumbtuneError: the run has not finished training.
        """
        return python_api.load(self.output_dir, device)

    def push_to_hub(self, repo: str, public: bool = False) -> str:
        """Upload the weights and the model card to the Hugging Face hub, and return the address.

        Raises:
            UsageError, ThumbtuneError: as `thumbtune.uploads.upload`; the run has not finished training.
        """
        check_access(repo, "model", public)
        with gathered(self.output_dir, repo, public) as asked:
            return upload(asked)

"""Train from Python in the shape that TRL has: a model, options and a data set make a Trainer.

    trainer = Trainer(model=pipeline, config=Config("runs/first", steps=50), feedback=dataset)
    trainer.train()                          # or: for step in trainer.steps(): ...
    trainer.evaluate()

It trains as `thumbtune train` does: the same steps, checkpoints, guards, held-out prompts, trackers and model card.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from thumbtune.duels.evaluate import evaluate_run
from thumbtune.errors import UsageError, shown
from thumbtune.models.protocol import PipelineModel
from thumbtune.report.page import write_page
from thumbtune.runs import given_feedback, given_model, given_objective, python_api, run
from thumbtune.runs.bundled_words import MODEL
from thumbtune.runs.keyword_options import Config
from thumbtune.runs.push import gathered
from thumbtune.runs.tuning import tune
from thumbtune.training.progress import Progress, quiet
from thumbtune.training.step import Step
from thumbtune.uploads import check_access, upload

OF_TRL = {  # what TRL's trainers are given, and what a Trainer has for it
    "args": "it is config here, as Trainer(config=Config(...))",
    "train_dataset": "it is feedback here, as Trainer(feedback=dataset)",
    "eval_dataset": "Config(validation_share=0.2) holds out a share of the prompts",
    "processing_class": "it is a part of the pipeline",
    "tokenizer": "it is a part of the pipeline",
    "peft_config": "a LoRA is the default, as Config(lora={'rank': 16, 'alpha': 16})",
    "ref_model": "the reference is the model as it began",
}


def _refuse_others(others: Mapping[str, Any]) -> None:
    """Refuse an argument that a Trainer does not have, with what stands for it.

    Raises:
        UsageError: there is one.
    """
    for name in others:
        instead = OF_TRL.get(name, "it has model, config, feedback and objective; options are those of a Config")
        raise UsageError(f"A Trainer takes no {name}: {instead}.", code="trainer-no-argument")


def _config_of(config: Any) -> Config:
    """Return a Config, from one or from a mapping of its keywords.

    Raises:
        UsageError: it is something else, or an option is off.
    """
    if config is None or isinstance(config, Mapping):
        return Config(**(config or {}))
    if not isinstance(config, Config):
        raise UsageError(
            f"config is a Config or a mapping of its keywords, not {shown(config)}; write it as "
            'Config("runs/first", steps=50).',
            code="trainer-no-config",
        )
    return config


class Trainer:
    """A training of one model on one set of likes and dislikes, in the folder `config.output_dir`.

        trainer = Trainer(config=Config("runs/first", steps=50), feedback=dataset)
        trainer.train()
        print(trainer.evaluate(scorers="line-art")["sentence"])

    model:     the name of a model (a folder, a file, a hub id or a bundled one), or a loaded pipeline of diffusers. A
               pipeline is not changed: it is written to OUTPUT_DIR/base, in the type of its weights, and trained from
               there
    config:    the options, as a Config or as a mapping of its keywords; None: the default of every option
    feedback:  a `datasets.Dataset`, or rows as mappings, with image (or completion), prompt and label; or the name of a
               store of likes
    objective: an objective of one's own; None: the one of the config

    Raises:
        UsageError: the pipeline has a LoRA already, or an option or the objective cannot be used.
    """

    def __init__(
        self,
        model: Any = MODEL,
        config: Config | Mapping[str, Any] | None = None,
        feedback: Any = "likes",
        objective: Any = None,
        **others: Any,
    ) -> None:
        _refuse_others(others)
        self.config = _config_of(config)
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
            more |= {name: value for name, value in options.items() if not self._adapts(name, objective)}
        self.recipe = self.config.recipe(**more)

    def _adapts(self, name: str, objective: Any) -> bool:
        """Return whether the config lets an option of the given objective adapt: its beta alone may be `auto`.

        Raises:
            UsageError: the config sets the option otherwise.
        """
        if name not in self.config.options:
            return False
        if name == "objective.beta" and self.config.options[name] == "auto":
            return True
        what = "and the objective is an object already; leave one of them out"
        if name != "objective.name":
            as_given = f"{type(objective).__name__}({name.removeprefix('objective.')}={self.config.options[name]!r})"
            what = f"but the objective is an object with its own; give it to the object, as {as_given}"
        raise UsageError(f"{name} is set in the Config, {what}.", code="config-option-twice")

    @property
    def output_dir(self) -> Path:
        """Return the folder of the run."""
        return self.config.output_dir

    def steps(self, resume: bool = False, progress: Progress = quiet) -> Iterator[Step]:
        """Train, and yield a Step after every weight update; the result is written at the end.

        Notes on settings and likes are warnings, of the category ThumbtuneWarning. If you stop iterating, a checkpoint
        of the last step is saved, from which `resume=True` continues.

        progress: wraps the images while they are encoded, as `bar(items, what)`

        Raises:
            UsageError: the folder holds another run.
            ThumbtuneError: a guard stopped the training, the feedback cannot be used, the model cannot be loaded, or
                memory or disk ran out; earlier checkpoints are intact.
        """
        run.check(self.recipe, self.output_dir, resume)  # before anything is written into the folder
        if not isinstance(self.model, str | os.PathLike):
            given_model.write_base(self.model, Path(self.recipe.model))
        if not isinstance(self.feedback, str | os.PathLike):
            given_feedback.write_store(self.feedback, Path(self.recipe.likes))
        tuned = tune(self.recipe, self.output_dir, progress, resume, objective=self.objective)
        yield from python_api.with_warnings(tuned, self.output_dir)

    def train(self, resume: bool = False, progress: Progress = quiet, **others: Any) -> Step | None:
        """Train to the end, and return the last step; None if a resumed run had finished already.

        Raises:
            UsageError: the folder holds another run, or an argument is one that TRL has.
            ThumbtuneError: a guard stopped the training, the feedback cannot be used, the model cannot be loaded, or
                memory or disk ran out.
        """
        for name in others:
            instead = (
                "it is resume here, as trainer.train(resume=True)" if "resume" in name else "it has resume and progress"
            )
            raise UsageError(f"train takes no {name}: {instead}.", code="trainer-no-argument")
        last = None
        for step in self.steps(resume, progress):
            last = step
        return last

    def evaluate(self, **settings: Any) -> dict[str, Any] | None:
        """Compare the trained model with its base on prompts that training did not see; return the verdict.

        settings: options of the evaluation, such as `scorers="red"`, or `prompts` as a file or a list; the page of
            the run is written too

        Raises:
            UsageError: an option that training depends on was changed, or a scorer or a prompt is off.
            ThumbtuneError: the run is not finished, or something cannot be loaded or written.
        """
        with python_api.in_words_of_python():
            return evaluate_run(self.output_dir, {f"evaluate.{name}": value for name, value in settings.items()})

    def report(self) -> Path:
        """Write the page of the run, and return its path."""
        return write_page(self.output_dir)

    def load(self, device: Any = None) -> PipelineModel:
        """Return the trained model, which generates images; its `pipeline` is one of diffusers.

        Raises:
            ThumbtuneError: the run has not finished training.
        """
        return python_api.load(self.output_dir, device)

    def save_model(self, *_: Any, **__: Any) -> None:
        """Refuse to save, as TRL's trainers do: a training writes its result itself.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            f"A Trainer has no save_model: train writes the tuned weights into {self.output_dir} at its end, and "
            "trainer.load() reads them.",
            code="trainer-saves-itself",
        )

    def push_to_hub(self, repo: str | None = None, public: bool = False) -> str:
        """Upload the weights and the model card to the Hugging Face hub, and return the address.

        Raises:
            UsageError: the name is no name of a repository, or no token was given.
            ThumbtuneError: the run has not finished training, or the hub does not answer or refuses.
        """
        if repo is None:
            raise UsageError(
                'push_to_hub needs the name of a repository; give it, as push_to_hub("user/name").',
                code="trainer-no-repository",
            )
        check_access(repo, "model", public)
        with gathered(self.output_dir, repo, public) as asked:
            return upload(asked)

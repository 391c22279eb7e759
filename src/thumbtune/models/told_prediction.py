"""What the files of a model say that its UNet predicts."""

from pathlib import Path

from thumbtune.documents import read_config, read_text
from thumbtune.errors import ThumbtuneError
from thumbtune.hub import settings_file
from thumbtune.models.model_options import EPSILON, SHORT, ModelOptions, V
from thumbtune.models.weight_files import keys_in, metadata_in
from thumbtune.yaml_text import parse_yaml

SCHEDULER = "scheduler/scheduler_config.json"
WORDS = {"v": V, V: V, "v-prediction": V, "epsilon": EPSILON, "eps": EPSILON}


def told_by_files(name: str) -> str | None:
    """Return what a folder, a hub id or a checkpoint file says, as diffusers writes it; None if it does not say it.

    Raises:
        ThumbtuneError: the file's header, or the settings beside it, cannot be read.
    """
    path = Path(name)
    if path.is_file():
        return told_by_checkpoint(path)
    file = path / SCHEDULER if path.is_dir() else settings_file(name, SCHEDULER)
    told = None if file is None else (read_config(file) or {}).get("prediction_type")
    return told if isinstance(told, str) else None


def told_by_checkpoint(file: Path) -> str | None:
    """Return what a checkpoint in one file says in its tensors, its metadata, or the settings beside it.

    Raises:
        ThumbtuneError: the file's header, or the settings beside it, cannot be read.
    """
    if "v_pred" in keys_in(file):
        return V
    told = str(metadata_in(file).get("modelspec.prediction_type", "")).lower() or _settings_beside(file)
    return WORDS.get(told)


def prediction_note(name: str, options: ModelOptions) -> str | None:
    """Return a sentence if an option says another prediction than the model's files do; None if not."""
    chosen = SHORT.get(options.prediction or "")
    told = None if chosen is None else told_by_files(name)
    if told is None or told == chosen:
        return None
    short = {known: word for word, known in SHORT.items()}
    return (
        f"The files of {name} say {short.get(told, told)}, and prediction={options.prediction} "
        f"(--prediction {options.prediction}) is used in its place; if the files are right, training learns nonsense "
        "and images are noise, so leave the option out."
    )


def _settings_beside(file: Path) -> str:
    """Return the parameterization in the .yaml that many tools read beside a checkpoint; "" without one."""
    beside = file.with_suffix(".yaml")
    if not beside.is_file():
        return ""
    try:
        settings = parse_yaml(read_text(beside))
        return str(settings["model"]["params"].get("parameterization", "eps")).lower()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ThumbtuneError(
            f"{beside} holds no settings of a checkpoint; write `model: {{params: {{parameterization: v}}}}` there, "
            "with `eps` for a model that predicts noise.",
            code="single-settings",
        ) from error

"""What a person says of a model beside its name: a VAE, what its files do not tell, and how prompts are read."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thumbtune import hub
from thumbtune.errors import ThumbtuneError, UsageError
from thumbtune.models.prompt_chunks import PromptEncoding

V, EPSILON = "v_prediction", "epsilon"
SHORT = {"v": V, "epsilon": EPSILON}  # as people write them


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Options of loading a model. None leaves what the model itself says.

    vae:               a folder, a hub id or a .safetensors file with a VAE, in the place of the model's own
    prediction:        what the UNet predicts: `epsilon` or `v`
    zero_terminal_snr: whether the last step of the schedule is pure noise (arXiv 2305.08891)
    encoding:          how prompts are read
    """

    vae: str | None = None
    prediction: str | None = None
    zero_terminal_snr: bool | None = None
    encoding: PromptEncoding = field(default_factory=PromptEncoding)

    def identity(self) -> str:
        """Return a text that differs if the weights or the schedule of a model would; "" if it stays as it is."""
        if (self.vae, self.prediction, self.zero_terminal_snr) == (None, None, None):
            return ""
        vae = None if self.vae is None else _identity_of(self.vae)
        return f" vae={vae} prediction={self.prediction} zero_terminal_snr={self.zero_terminal_snr}"


PLAIN = ModelOptions()


def _identity_of(vae: str) -> str:
    """Return the hashes of a VAE's files; of one on the hub its name and its commit, where there is one."""
    from thumbtune.files import file_sha256

    path = Path(vae)
    files = (
        [path] if path.is_file() else sorted(file for kind in ("*.safetensors", "*.json") for file in path.rglob(kind))
    )
    return " ".join(file_sha256(file) for file in files) or (_on_hub(vae) if hub.is_hub_id(vae) else vae)


def _on_hub(vae: str) -> str:
    """Return `id@commit`; the id alone of what is in neither the hub nor its cache, which loading will refuse."""
    from huggingface_hub.errors import HfHubHTTPError

    for file in ("config.json", "vae/config.json"):
        try:
            return f"{vae}@{hub.newest_commit(vae, file)}"
        except (OSError, ValueError, HfHubHTTPError):
            continue
    return vae


def scheduler_with(scheduler: Any, options: ModelOptions, name: str) -> Any:
    """Return a scheduler with what the options say of it; the same one if they say nothing.

    Raises:
        ThumbtuneError: at a step of pure noise, nothing could be learnt from the noise that is predicted.
        UsageError: the scheduler is one of rectified flow.
    """
    if options.prediction is None and options.zero_terminal_snr is None:
        return scheduler
    import diffusers

    from thumbtune.models.schedulers import is_flow

    config = dict(scheduler.config)
    if is_flow(config):
        raise UsageError(
            f"The model {name!r} is a rectified flow, which predicts a velocity and needs no other schedule; leave out "
            "prediction (--prediction) and zero_terminal_snr (--zero-terminal-snr).",
            code="model-flow-options",
        )
    if options.prediction is not None:
        config["prediction_type"] = SHORT[options.prediction]
    if options.zero_terminal_snr is not None:
        config |= {
            "rescale_betas_zero_snr": options.zero_terminal_snr,
            "timestep_spacing": "trailing" if options.zero_terminal_snr else "leading",
        }
    if config.get("rescale_betas_zero_snr") and config.get("prediction_type", EPSILON) == EPSILON:
        raise ThumbtuneError(
            f"The model {name!r} predicts noise (epsilon), and a schedule with zero_terminal_snr ends in pure noise, "
            "of which that tells nothing; set prediction=v (--prediction v) too, or leave out zero_terminal_snr "
            "(--zero-terminal-snr).",
            code="model-zero-snr",
        )
    kind = type(scheduler)
    if options.zero_terminal_snr and "rescale_betas_zero_snr" not in scheduler.config:
        kind = diffusers.DDIMScheduler
    return kind.from_config(config)

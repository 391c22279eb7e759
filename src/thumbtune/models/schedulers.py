"""The noise process that the settings of a diffusers scheduler describe."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from thumbtune.models.process import DynamicShift, FlowProcess, VPProcess

FLOW = "flow_prediction"
EXPONENTIAL = "exponential"


def betas_from(config: Mapping[str, Any]) -> Float[Tensor, "T"]:
    """Return the noise schedule that a diffusers scheduler config describes, in double precision.

    Raises:
        ValueError: the config names a schedule other than linear, scaled_linear or squaredcos_cap_v2.
    """
    steps = int(config.get("num_train_timesteps", 1000))
    start, end = config.get("beta_start", 0.0001), config.get("beta_end", 0.02)
    name = config.get("beta_schedule", "linear")
    if config.get("trained_betas") is not None:
        return torch.as_tensor(config["trained_betas"], dtype=torch.float64)
    if name == "linear":
        return torch.linspace(start, end, steps, dtype=torch.float64)
    if name == "scaled_linear":
        return torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64) ** 2
    if name == "squaredcos_cap_v2":
        grid = torch.arange(steps + 1, dtype=torch.float64) / steps
        bar = torch.cos((grid + 0.008) / 1.008 * math.pi / 2) ** 2
        return (1 - bar[1:] / bar[:-1]).clamp(max=0.999)
    raise ValueError(f"beta_schedule {name!r} is not known; use linear, scaled_linear or squaredcos_cap_v2.")


def zero_terminal(betas: Float[Tensor, "T"]) -> Float[Tensor, "T"]:
    """Return a schedule rescaled so that its last step is pure noise: arXiv 2305.08891, algorithm 1."""
    root = (1 - betas).cumprod(0).sqrt()
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    bar = root**2
    return 1 - torch.cat([bar[:1], bar[1:] / bar[:-1]])


def is_flow(config: Mapping[str, Any]) -> bool:
    """Return whether a scheduler is one of rectified flow: by its class, its prediction or its sigmas.

    The schedulers of Wan and Sana are UniPC and DPM-Solver, which say it by settings alone.
    """
    by_class = "FlowMatch" in str(config.get("_class_name", ""))
    return by_class or config.get("prediction_type") == FLOW or bool(config.get("use_flow_sigmas"))


def flow_of(config: Mapping[str, Any], positions_per_token: int = 1) -> FlowProcess:
    """Return the process of a scheduler of rectified flow.

    positions_per_token: as in `DynamicShift`
    """
    steps = int(config.get("num_train_timesteps", 1000))
    if not config.get("use_dynamic_shifting", False):
        shift = config.get("shift", config.get("flow_shift"))
        return FlowProcess(shift=1.0 if shift is None else float(shift), steps=steps)
    named = {"base": "base_shift", "most": "max_shift", "base_tokens": "base_image_seq_len"}
    named |= {"most_tokens": "max_image_seq_len"}
    told = {name: config[option] for name, option in named.items() if config.get(option) is not None}
    exponential = config.get("time_shift_type", EXPONENTIAL) == EXPONENTIAL
    shift = DynamicShift(**told, positions_per_token=positions_per_token, exponential=exponential)
    return FlowProcess(shift=shift, steps=steps)


def process_of(config: Mapping[str, Any], positions_per_token: int = 1) -> VPProcess | FlowProcess:
    """Return the process that a pipeline's own scheduler config describes.

    positions_per_token: as in `DynamicShift`

    Raises:
        ValueError: the prediction type is not epsilon, v_prediction or sample, or the schedule is one of EDM.
    """
    if is_flow(config):
        return flow_of(config, positions_per_token)
    if str(config.get("_class_name", "")).startswith("EDM"):
        raise ValueError(
            "an EDM schedule, as of Playground v2.5, is not one that training knows; choose another model."
        )
    betas = betas_from(config)
    if config.get("rescale_betas_zero_snr", False):
        betas = zero_terminal(betas)
    prediction = config.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction", "sample"):
        raise ValueError(f"prediction_type {prediction!r} is not known; use epsilon, v_prediction or sample.")
    return VPProcess((1 - betas).cumprod(0).float(), prediction)

"""The command that writes a tuned model as a whole one."""

from pathlib import Path
from typing import Annotated

import typer

from thumbtune.cli.terminal import quieten, say, say_prefix
from thumbtune.cli.train import Prediction, Vae, ZeroTerminalSnr, given_options, model_options


def merge(
    name: Annotated[
        str, typer.Argument(metavar="RUN", help="A finished run, or a checkpoint, a LoRA or a UNet as in `duel`.")
    ],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="A new folder for diffusers; or a new file NAME.safetensors, for ComfyUI and A1111."
        ),
    ],
    base: Annotated[str | None, typer.Option(help="The model that a LoRA, a UNet or a transformer belongs to.")] = None,
    vae: Vae = None,
    prediction: Prediction = None,
    zero_terminal_snr: ZeroTerminalSnr = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Write float16, which takes half the space.")] = False,
) -> None:
    """Write a whole model: the base with the LoRA in its weights, as a folder or as one file."""
    quieten()
    from thumbtune.duels.merge import merge as write_merged

    options = model_options(given_options(vae, prediction, zero_terminal_snr, None, None, None))
    say_prefix(write_merged(name, out, base, fp16, options))
    say(f"The model is in {out}.")

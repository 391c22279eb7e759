"""What several processes do together in a step: share its batch, and gather what they measured."""

from typing import Any

from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor

from thumbtune.errors import UsageError


def check_shared(size: int, paired: bool, processes: int) -> None:
    """Refuse an effective batch that the processes cannot share equally.

    Raises:
        UsageError: they cannot, or not pair by pair.
    """
    unit = processes * (2 if paired else 1)
    if size % unit:
        raise UsageError(
            f"train.batch is {size}, which {processes} processes cannot share equally"
            f"{', pair by pair' if paired else ''}; make it a multiple of {unit}.",
            code="batch-not-shared",
        )


def gathered(accelerator: Accelerator, rows: Float[Tensor, "n c"]) -> Float[Tensor, "finite c"]:
    """Return the finite rows of all processes, so that a broken image changes nothing."""
    if accelerator.num_processes > 1:
        padded: Any = accelerator.pad_across_processes(rows, dim=0, pad_index=float("nan"))  # type: ignore[arg-type]
        rows = accelerator.gather(padded)  # type: ignore[assignment]
    return rows[rows.isfinite().all(1)]

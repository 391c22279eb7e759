"""How a training ends before its last step."""

from thumbtune.errors import ThumbtuneError


class TrainingBroke(ThumbtuneError):
    """No finite loss or gradient for several steps; the weights are those of the last whole step."""

    code = "training-broke"
    everywhere = True


class WentWrong(ThumbtuneError):
    """A guard stopped a training that went wrong."""

    code = "training-went-wrong"
    everywhere = True


class MemoryRanOut(TrainingBroke):
    """No memory left, perhaps in this process alone; the weights are those of the last whole step."""

    code = "memory-ran-out"
    everywhere = False

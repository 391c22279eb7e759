"""Full fine-tuning: every weight of a network is trained, and a frozen copy of the weights is the reference.

The result is the network itself in diffusers' layout, config.json and diffusion_pytorch_model.safetensors.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from thumbtune.errors import ThumbtuneError
from thumbtune.files import check_seal, refuse_not_finite, sweep, write_tensors, write_text
from thumbtune.models.half import CAST
from thumbtune.models.shards import cut, exchanged, gathered, is_sharded
from thumbtune.models.swap import swapped

CONFIG_FILE = "config.json"
DIFFUSERS_FILE = "diffusion_pytorch_model.safetensors"


@dataclass(frozen=True, kw_only=True)
class Full:
    """Train every weight. `autocast` is the precision of training's forward passes, if it is below float32.

    The reference is then stored in that precision, in half the memory, and must be used under autocast.

    first: reads the weights before the training when the reference is asked for, so that drawing needs no copy of them;
        None: they are copied at once
    """

    autocast: torch.dtype | None = None
    first: Callable[[], Mapping[str, Tensor]] | None = field(default=None, compare=False, repr=False)

    def on(self, network: nn.Module, seed: int = 0) -> "Whole":
        """Unfreeze a network, in float32, and return it with its reference; the seed is not used."""
        return Whole(network, self.autocast, self.first)


class Whole:
    """A network with all weights trained. The reference is a copy of the weights, swapped in when needed.

    autocast, first: as in `Full`
    """

    def __init__(
        self,
        network: nn.Module,
        autocast: torch.dtype | None,
        first: Callable[[], Mapping[str, Tensor]] | None = None,
    ) -> None:
        self.network = network.float().requires_grad_(True)
        self.autocast = autocast
        self._read_first = first
        self._first = self._copy() if first is None else {}
        self._synced: dict[str, Tensor] = {}
        self._is_exchanged = False  # with divided weights: whether the network has those of the reference

    def _copy(self, weights: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Return a copy of weights by name, in the precision of autocast for the layers that it casts.

        weights: None: the present ones
        """
        cast: set[str] = set()
        for name, layer in self.network.named_modules():
            if isinstance(layer, CAST):
                cast |= {f"{name}.{own}" for own, _ in layer.named_parameters(recurse=False)}
        dtype = torch.float32 if self.is_divided else self.autocast or torch.float32  # numbers are exchanged
        source = {name: weight.detach() for name, weight in self.trainable()} if weights is None else weights
        return {
            name: source[name].to(dtype if name in cast else torch.float32, copy=weights is None)
            for name, _ in self.trainable()
        }

    @property
    def is_divided(self) -> bool:
        """Return whether the network is divided among processes, which then save it together."""
        return any(is_sharded(weight) for _, weight in self.trainable())

    def divide(self) -> None:
        """Divide the reference as the network is, in float32, once the network is divided."""
        self._first = self._cut(self._first)

    def _cut(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        own = dict(self.trainable())
        return {name: cut(value.to(own[name].dtype), own[name]) for name, value in weights.items()}

    def reference(self) -> AbstractContextManager[None]:
        if not self._synced and not self._first and self._read_first is not None:
            self._first = self._copy(self._read_first())
        weights = self._synced or self._first
        if self.is_divided:
            return nullcontext() if self._is_exchanged else self._exchanged(weights)
        device = next(iter(self.network.parameters())).device
        for name, value in weights.items():
            weights[name] = value.to(device)  # moved once: it stays there
        return swapped(dict(self.trainable()), weights)

    @contextmanager
    def _exchanged(self, weights: Mapping[str, Tensor]) -> Iterator[None]:
        """Let the network have other weights inside the `with` block; all processes enter it together."""
        own = dict(self.trainable())
        with exchanged([*own.values()], [weights[name] for name in own]):
            self._is_exchanged = True
            try:
                yield
            finally:
                self._is_exchanged = False

    def freeze_reference(self) -> None:
        self._synced.clear()  # first, since memory has room for one copy beside the policy
        self._synced = self._copy()
        self._move_first_to_cpu()

    def reference_state(self) -> dict[str, Tensor]:
        return dict(self._synced)

    def restore_reference(self, state: dict[str, Tensor]) -> None:
        self._synced = self._cut(state) if self.is_divided else dict(state)
        if state:
            self._move_first_to_cpu()

    def _move_first_to_cpu(self) -> None:
        """Move the first reference to the CPU, since it is no longer used."""
        self._first = {} if self.is_divided else {name: value.cpu() for name, value in self._first.items()}

    def trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        return self.network.named_parameters()

    def save(self, folder: Path) -> None:
        """Write the network; of one that is divided, all processes gather it together, and the first one writes."""
        tensors = gathered(self.network.state_dict())
        if tensors is None:
            return
        sweep(folder)
        write_text(folder / CONFIG_FILE, self.network.to_json_string(), durable=True)  # type: ignore[operator]
        write_tensors(folder / DIFFUSERS_FILE, tensors, {"format": "pt"}, durable=True)

    def load(self, folder: Path) -> None:
        """Read weights that `save` wrote.

        Raises:
            ThumbtuneError: the file is missing, damaged, or made for another network.
        """
        file = folder / DIFFUSERS_FILE
        try:
            check_seal(file)
            stored = load_file(file)
            refuse_not_finite(stored)
        except Exception as error:
            raise ThumbtuneError(
                f"{file} is not readable ({error}); name the folder that a run wrote.", code="result-unreadable"
            ) from error
        wanted = {name: value.shape for name, value in self.network.state_dict().items()}
        if {name: value.shape for name, value in stored.items()} != wanted:
            raise ThumbtuneError(
                f"{file} was made for another network; use the recipe that it was trained with.",
                code="result-other-network",
            )
        self.network.load_state_dict(stored)

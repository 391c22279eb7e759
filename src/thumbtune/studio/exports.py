"""What can be taken away from a studio: the files of a run's result, and what jobs of merging and exporting wrote.

A file is asked for by its name in a list, and never by a path. Several files are sent as one ZIP, which is made while
it is sent: nothing is written, and the size does not matter.
"""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RESULTS = ("lora", "unet", "transformer")
ABOUT = {
    "pytorch_lora_weights.safetensors": "LoRA for diffusers",
    "pytorch_lora_weights_2.safetensors": "LoRA for diffusers, second network",
    "kohya.safetensors": "LoRA for ComfyUI and A1111",
    "diffusion_pytorch_model.safetensors": "Network for diffusers",
    "config.json": "Settings of the network",
    "README.md": "Model card",
}
CARD = "README.md"
MAX_CARD_BYTES = 200_000
PART = 1 << 20


@dataclass(frozen=True)
class ResultFile:
    """A file of a run's result: its name, what it is for, and its size in bytes."""

    name: str
    about: str
    bytes: int


def result_files(run: Path) -> dict[str, Path]:
    """Return the weights of a run by name, then what stands beside them; {} before it has finished."""
    folders = [run / name for name in RESULTS if (run / name).is_dir()]
    files = [file for folder in folders for file in sorted(folder.iterdir()) if _is_result(file)]
    return {file.name: file for file in sorted(files, key=lambda file: file.suffix != ".safetensors")}


def _is_result(file: Path) -> bool:
    return file.is_file() and not file.is_symlink() and (file.suffix == ".safetensors" or file.name in ABOUT)


def about(name: str) -> str:
    """Return what a file of a result is for."""
    return ABOUT.get(name, "LoRA for ComfyUI and A1111" if name.startswith("comfyui_") else "Weights")


def card_of(run: Path) -> str:
    """Return the text of a run's model card, without the hash at its end; empty if there is none."""
    file = result_files(run).get(CARD)
    if file is None:
        return ""
    with file.open(encoding="utf-8", errors="replace") as source:
        text = source.read(MAX_CARD_BYTES)
    return text.split("<!-- sha256")[0].rstrip() + "\n"


def written(folder: Path) -> list[Path]:
    """Return the files that a job wrote: one, or those of a folder; [] if there is none."""
    if folder.is_file():
        return [folder]
    return sorted(file for file in folder.rglob("*") if file.is_file() and not file.is_symlink())


class _Sink(io.RawIOBase):
    """Where a ZIP is written to; it holds what was not sent yet."""

    def __init__(self) -> None:
        self.held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        part = bytes(data)  # type: ignore[call-overload]  # of any buffer
        self.held += part
        return len(part)

    def take(self) -> bytes:
        """Return what came since the last call."""
        taken, self.held = bytes(self.held), bytearray()
        return taken


def zipped(folder: Path) -> Iterator[bytes]:
    """Yield a ZIP of a folder's files in parts, with paths that begin with its name; nothing is compressed."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:  # type: ignore[arg-type]
        for file in written(folder):
            name = f"{folder.name}/{file.relative_to(folder).as_posix()}"
            with file.open("rb") as source, archive.open(name, "w", force_zip64=True) as target:
                while part := source.read(PART):
                    target.write(part)
                    yield sink.take()
    yield sink.take()

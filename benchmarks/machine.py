"""What benchmarks share: their first options, and what stands beside their rows: the machine, its load, and the day."""

import argparse
import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def parser_of(doc: str | None, file: Path) -> argparse.ArgumentParser:
    """Return the parser of a benchmark's options: its page, and where its rows go, by default into `file`."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=file, help="the file of the rows")
    return parser


def threads_of_torch() -> int:
    """Let torch work in as many threads as OMP_NUM_THREADS says, by default one; return their number."""
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    return torch.get_num_threads()


def about(threads: int | None = None) -> dict[str, Any]:
    """Return the hardware, the threads of torch if given, the load of the last minute, and the date."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    hardware = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} CPU, {cores} cores"
    found = {"hardware": hardware, "load": round(os.getloadavg()[0], 1), "date": f"{datetime.now(UTC):%Y-%m-%d}"}
    return found | {"torch": torch.__version__} | ({} if threads is None else {"threads": threads})


def keep(file: Path, machine: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    """Write rows with what is known of their machine."""
    file.write_text(json.dumps({**machine, "rows": list(rows)}, indent=1) + "\n", encoding="utf-8")


def rows_in(file: Path) -> list[dict[str, Any]]:
    """Return the rows that `keep` wrote."""
    return json.loads(file.read_text(encoding="utf-8"))["rows"]

"""Run the whole demo for several seeds of a taste; print the README's rows and write benchmarks/demo-TASTE.json.

    python -m benchmarks.demo line-art --seeds 3

Seeds start at 20: the demo's settings were chosen by hand on seeds below that. Every demo starts from nothing in its
own folder, and takes about three minutes on two cores. The rows of another model are kept under a name of their own:

    python -m benchmarks.demo red --name flow --set model=build/tiny-emoji-64-flow
"""

import argparse
import json
import platform
import resource
import shutil
import time
from pathlib import Path
from typing import Any

from thumbtune.cli.progress import bar
from thumbtune.cli.terminal import quieten
from thumbtune.duels.evaluate import FOLDER
from thumbtune.evaluation.duel_folder import read_duel
from thumbtune.evaluation.standings import careful
from thumbtune.experiments.demo import PEOPLE, demo
from thumbtune.runs.run import environment

HEADER = "| taste | seed | score of the taste | win-rate | faithfulness | AUC on held-out labels | verdict |"


def measure(folder: Path, taste: str, seed: int, settings: list[str]) -> dict[str, Any]:
    """Run a demo with changed settings from nothing; return what it measured, and how long it took."""
    shutil.rmtree(folder, ignore_errors=True)
    begun = time.time()
    demo(folder, taste, seed, bar, print, settings)
    took = time.time() - begun
    duel = read_duel(folder / "run" / FOLDER)
    assert duel.verdict is not None
    overall = [row for row in duel.result["standings"] if (row["estimand"], row["style"]) == ("median", None)]
    rows = {row["scorer"]: row for row in overall}
    wanted, faithful = rows[taste], rows["faithfulness"]
    agreement = duel.verdict["agreement"] or {}  # empty if the held-out labels are of one kind
    return {
        "taste": taste,
        "seed": seed,
        "before": wanted["before"]["mean"],
        "after": wanted["after"]["mean"],
        "win_rate": wanted["rate"],
        "interval": list(careful(wanted)),
        "faithfulness_before": faithful["before"]["mean"],
        "faithfulness_after": faithful["after"]["mean"],
        "auc": agreement.get("auc"),
        "auc_images": agreement.get("images"),
        "auc_prompts": agreement.get("prompts"),
        "decision": duel.verdict["decision"],
        "gates": duel.verdict["gates"],
        "seconds": took,
    }


def row(r: dict[str, Any]) -> str:
    """Return one line of the README's table."""
    low, high = r["interval"]
    change = r["faithfulness_after"] / r["faithfulness_before"] - 1
    held_out = f"({r['auc_images']} images of {r['auc_prompts']} prompts)"
    auc = "labels of one kind" if r["auc"] is None else f"{r['auc']:.2f} {held_out}"
    still_open = [gate["name"] for gate in r["gates"] if gate["answer"] != "passed"]
    why = f" ({', '.join(still_open)})" if still_open else ""
    return (
        f"| {r['taste']} | {r['seed']} | {r['before']:.3f} → {r['after']:.3f} "
        f"| {r['win_rate']:.0%} ({low:.0%} to {high:.0%}) "
        f"| {r['faithfulness_before']:.3f} → {r['faithfulness_after']:.3f} ({change:+.1%}) "
        f"| {auc} | {r['decision']}{why} |"
    )


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=20)
    parser.add_argument("taste", choices=list(PEOPLE))
    parser.add_argument("--out", type=Path, default=Path("demo/benchmark"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as in `thumbtune demo`")
    parser.add_argument("--name", help="of these settings, in the names of files; needed with --set")
    args = parser.parse_args()
    if bool(args.set) != bool(args.name):
        parser.error("--set and --name belong together: other settings are other rows.")
    quieten()
    name = "-".join(part for part in (args.name, args.taste) if part)
    runs = [
        measure(args.out / f"{name}-{seed}", args.taste, seed, args.set)
        for seed in range(args.first, args.first + args.seeds)
    ]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux counts in KiB
    facts = {"environment": environment(), "platform": platform.platform(), "peak_gib": round(peak, 2)}
    facts |= ({"settings": args.set} if args.set else {}) | {"runs": runs}
    Path(f"benchmarks/demo-{name}.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(f"{HEADER}\n|---|---|---|---|---|---|---|")
    print("\n".join(row(r) for r in runs))
    print(f"\nPeak memory {peak:.2f} GiB; {environment()['device']}")


if __name__ == "__main__":
    main()

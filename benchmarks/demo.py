"""Run the whole demo for several seeds of a taste; print the README's rows and write benchmarks/demo-TASTE.json.

    python benchmarks/demo.py line-art --seeds 3

Seeds start at 20: the demo's settings were chosen by hand on seeds below that. Every demo starts from
nothing in its own folder. About three minutes each on two cores.
"""

import argparse
import json
import platform
import resource
import shutil
import time
from pathlib import Path
from typing import Any

from thumbtune.cli.app import bar, quieten
from thumbtune.experiments.demo import PEOPLE, demo
from thumbtune.runs.run import environment


def one(folder: Path, taste: str, seed: int) -> dict[str, Any]:
    """A demo from nothing: what it measured, and how long it took."""
    shutil.rmtree(folder, ignore_errors=True)
    begun = time.time()
    demo(folder, taste, seed, bar, print)
    took = time.time() - begun
    result = json.loads((folder / "run" / "evaluation" / "evaluation.json").read_text())
    liked, faithful = result["comparisons"][taste], result["comparisons"]["faithfulness"]
    return {
        "taste": taste,
        "seed": seed,
        "taste_before": liked["before_mean"],
        "taste_after": liked["after_mean"],
        "win_rate": liked["win_rate"],
        "win_rate_bootstrap": [liked["win_rate_bootstrap"]["low"], liked["win_rate_bootstrap"]["high"]],
        "win_rate_wilson": [liked["win_rate_wilson"]["low"], liked["win_rate_wilson"]["high"]],
        "faithfulness_before": faithful["before_mean"],
        "faithfulness_after": faithful["after_mean"],
        "faithfulness_change": faithful["after_mean"] / faithful["before_mean"] - 1,
        "agreement": result["agreement"],
        "seconds": took,
    }


def row(r: dict[str, Any]) -> str:
    """One line of the README's table."""
    low, high = r["win_rate_bootstrap"]
    wilson_low, wilson_high = r["win_rate_wilson"]
    return (
        f"| {r['taste']} | {r['seed']} | {r['taste_before']:.3f} → {r['taste_after']:.3f} "
        f"| {r['win_rate']:.0%} ({low:.0%} to {high:.0%}; Wilson {wilson_low:.0%} to {wilson_high:.0%}) "
        f"| {r['faithfulness_before']:.3f} → {r['faithfulness_after']:.3f} ({r['faithfulness_change']:+.1%}) "
        f"| {r['agreement']['auc']:.2f} |"
    )


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=20)
    parser.add_argument("taste", choices=list(PEOPLE))
    parser.add_argument("--out", type=Path, default=Path("demo/benchmark"))
    args = parser.parse_args()
    quieten()
    runs = [
        one(args.out / f"{args.taste}-{seed}", args.taste, seed) for seed in range(args.first, args.first + args.seeds)
    ]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux counts in KiB
    facts = {"environment": environment(), "platform": platform.platform(), "peak_gib": round(peak, 2), "runs": runs}
    Path(f"benchmarks/demo-{args.taste}.json").write_text(json.dumps(facts, indent=1) + "\n")
    print("| taste | seed | taste score | win-rate (bootstrap; Wilson) | faithfulness | AUC on held-out thumbs |")
    print("|---|---|---|---|---|---|")
    print("\n".join(row(r) for r in runs))
    print(f"\nPeak memory {peak:.2f} GiB; {environment()['device']}")


if __name__ == "__main__":
    main()

"""`search` on a ground: beta, timestep bias and liked share of KTO together, and other forms of it and of baselines.

The best of many settings on two seeds looks better than it is; `beyond` measures the chosen ones on other seeds.
"""

from itertools import product

from thumbtune.experiments.experiments import FIRST_SEARCH_SEED, Order, Progress, Say
from thumbtune.experiments.grid_summary import values_of
from thumbtune.experiments.ground_pages import (
    SEEDS_CAPTION,
    GroundPage,
    ground_result,
    plot_shares,
    run_cells,
    say_shares,
)
from thumbtune.experiments.ground_tables import SHARE, claims_of_separation, rows_by
from thumbtune.experiments.methods import KTO, Method, measure_of, method_cells
from thumbtune.experiments.result_page import Result

SEEDS = 2
BETAS, BIASES, SHARES = ("60", "250", "1000", "5000", "auto"), (1, 2, 3, 4), (0.5, 0.65, 0.8)
COLUMN = "method"
LUCK_NOTE = (
    "The best of many settings on few seeds is partly luck. This search only chooses settings; `thumbtune paper "
    "beyond` measures the chosen ones on other seeds."
)


def kto(beta: str, bias: float, share: float) -> tuple[str, ...]:
    """Return the settings of a form of KTO."""
    return (
        *("objective.name=kto", f"objective.beta={beta}"),
        *(f"train.timestep_bias={bias:g}", f"train.liked_share={share:g}"),
    )


SETTINGS: dict[str, Method] = {
    f"kto-{beta}-bias-{bias}-share-{share:g}": Method(
        about=f"KTO, beta {beta}, timestep bias {bias}, liked share {share:g}", settings=kto(beta, bias, share)
    )
    for beta, bias, share in product(BETAS, BIASES, SHARES)
}
SETTINGS |= {
    f"{name}-{beta}": Method(
        about=f"{name}, beta {beta}", settings=(f"objective.name={name}", f"objective.beta={beta}")
    )
    for name, betas in (("dpo", (100, 500, 2000)), ("bco", (60, 250, 1000)))
    for beta in betas
}
SETTINGS |= {
    "sft-bias-3": Method(about="SFT, timestep bias 3", settings=("objective.name=sft", "train.timestep_bias=3")),
    "csft-bias-3": Method(
        about="CSFT, timestep bias 3", settings=("objective.name=csft", KTO[1], "train.timestep_bias=3")
    ),
}
# other ways to keep dislikes from low noise, and a bias beyond the table
SETTINGS |= {
    "kto-250-bias-6-share-0.5": Method(
        about="KTO, beta 250, timestep bias 6, liked share 0.5", settings=kto("250", 6, 0.5)
    ),
}
SETTINGS |= {
    f"kto-auto-gain-{gain:g}-bias-3-share-0.5": Method(
        about=f"KTO, beta auto with a gain scale of {gain:g}, timestep bias 3, liked share 0.5",
        settings=(*kto("auto", 3, 0.5), f"objective.gain_scale={gain:g}"),
    )
    for gain in (0.25, 0.5)
}
SETTINGS |= {
    f"kto-{beta}-bias-{bias}-share-0.5-dislikes-above-half": Method(
        about=f"KTO, beta {beta}, timestep bias {bias}, liked share 0.5, dislikes at noise levels above a half",
        settings=(*kto(beta, bias, 0.5), "train.disliked_timesteps=[0.5,1]"),
    )
    for beta, bias in (("60", 3), ("250", 1), ("250", 3), ("500", 3), ("1000", 3), ("5000", 1))
}
SETTINGS |= {
    f"kto-auto-gain-{gain:g}-bias-3-share-0.5-dislikes-above-half": Method(
        about=f"KTO, beta auto with a gain scale of {gain:g}, timestep bias 3, liked share 0.5, dislikes at noise "
        "levels above a half",
        settings=(*kto("auto", 3, 0.5), f"objective.gain_scale={gain:g}", "train.disliked_timesteps=[0.5,1]"),
    )
    for gain in (0.25, 0.5)
}
SETTINGS |= {
    f"relative-10-bias-{bias}-share-0.5": Method(
        about=f"KTO, relative log-ratios, beta 10, timestep bias {bias}, liked share 0.5",
        settings=(*kto("10", bias, 0.5), "objective.log_ratio=relative"),
    )
    for bias in (1, 3)
}
SETTINGS |= {
    f"nft-0.5-bias-{bias}-share-0.5": Method(
        about=f"NFT, mix 0.5, timestep bias {bias}, liked share 0.5",
        settings=(
            *("objective.name=nft", "objective.mix=0.5"),
            *(f"train.timestep_bias={bias}", "train.liked_share=0.5"),
        ),
    )
    for bias in (1, 3)
}


def seeds(order: Order) -> range:
    """Return the seeds of the search, on which settings are chosen and none is measured."""
    first = FIRST_SEARCH_SEED if order.first_seed is None else order.first_seed
    return range(first, first + order.seeds_or(SEEDS))


def make(order: Order, progress: Progress, say: Say) -> Result:
    """Train every chosen setting, and rank them by their share of the headroom."""
    taken = dict(list(SETTINGS.items())[:: 17 if order.quick and not order.only else 1])
    rows = run_cells(order, progress, say, method_cells(order, seeds(order), taken), measure_of(taken))
    named = rows_by(rows, lambda row: row[COLUMN])

    def mean_share(name: str) -> float:
        shares = values_of(named[name], SHARE).values()
        return sum(shares) / len(shares) if shares else float("-inf")

    ranked = {name: named[name] for name in sorted(named, key=mean_share, reverse=True)}
    say_shares(ranked, say)
    return ground_result(
        order,
        rows,
        ranked,
        {COLUMN: COLUMN},
        GroundPage(
            title="The search for a recipe",
            figure=plot_shares(ranked),
            caption=f"{SEEDS_CAPTION} The best are on top.",
            claims=claims_of_separation(ranked, "settings"),
            pairs=False,
            notes=(LUCK_NOTE,),
        ),
    )

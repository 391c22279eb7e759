"""Figure 6 of the paper: a small model of points in the plane, tuned with five objectives.

The Gaussians and the 3,500 samples are the paper's. The paper does not give the size, steps, learning rate, beta and
T: ours are below, and the page shows the verdict on every claim at other values.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from thumbtune.experiments.experiments import Order, Progress, Say
from thumbtune.experiments.figures import COLOURS, INK, PALE, panels
from thumbtune.experiments.result_page import HOLDS, Claim, Result, verdict_of
from thumbtune.experiments.seed_statistics import interval_columns, is_above, is_below, mean_text
from thumbtune.experiments.stacked_planes import StackedBatch, StackedPlanes, latents_of, paired, pretrain, tune
from thumbtune.experiments.toy_gaussians import DESIRABLE, PRETRAINING, UNDESIRABLE, Gaussian, apart, measures
from thumbtune.models.plane import Plane
from thumbtune.objective.baselines import DPO, SFT
from thumbtune.objective.kto import KTO
from thumbtune.objective.protocol import Objective
from thumbtune.objective.reference_point import Batch
from thumbtune.objective.utility import UTILITIES
from thumbtune.training.trainer import Settings

SEEDS = 10
SAMPLES = 3500  # the paper's
SAMPLING_STEPS = 50
KT, AVERSE, SEEKING = "kahneman-tversky", "loss-averse", "risk-seeking"
NAMES = ("sft", AVERSE, "dpo", SEEKING, KT)
CLAIM_ABOUT_PAIRS = 2  # the claim about objectives without a liked share
COMPARED_WITH_SEEKING = (AVERSE, "dpo", KT)
Samples = Mapping[str, Tensor]  # model -> [s, n, 2]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The settings that the paper does not give; `liked_share` is its gamma. DPO's batches are pairs, half liked."""

    beta: float = 3.0
    steps: int = 500
    liked_share: float = 0.8
    batch: int = 128
    lr: float = 1e-3
    pretraining: int = 2000
    points: int = 1000  # liked ones, and as many disliked


MAIN = Setting()
OTHER_BETAS, OTHER_SHARES, OTHER_STEPS = (0.3, 3.0, 30.0), (0.5, 0.8, 0.95), (100, 500)
OTHER_SEEDS = 4  # for all other settings: enough to see whether a verdict changes
SMALL = Setting(steps=30, batch=32, pretraining=60, points=100)


class RatedPlanes:
    """Pretrained planes, one for each seed, and the liked and disliked points of each."""

    def __init__(self, seeds: Sequence[int], setting: Setting) -> None:
        self.seeds, self.setting = list(seeds), setting
        self.process = Plane().process
        self.stacked = StackedPlanes([Plane(seed) for seed in seeds])
        self.liked = self._points(DESIRABLE, 1)
        self.disliked = self._points(UNDESIRABLE, 2)
        batches = self.batches([(self._points(PRETRAINING, 0), 2 * setting.batch, True)], 3)
        steps = setting.pretraining
        pretrain(self.stacked, batches, Settings(steps=steps, micro_batch=1, lr=3e-3, cooldown=steps // 2))

    def _generators(self, purpose: int) -> list[torch.Generator]:
        """Return a generator for each seed, which does not depend on the other seeds."""
        return [torch.Generator().manual_seed(1000 * seed + purpose) for seed in self.seeds]

    def _points(self, of: Gaussian, purpose: int) -> Tensor:
        count = self.setting.points * (4 if of is PRETRAINING else 1)
        return latents_of(torch.stack([of.sample(count, generator) for generator in self._generators(purpose)]))

    def batches(self, parts: Sequence[tuple[Tensor, int, bool]], purpose: int) -> Iterator[StackedBatch]:
        """Yield batches without end: from each part, a number of points with replacement, with new noise and times.

        parts: (points, how many of them in each batch, whether they are liked)
        """
        generators = self._generators(purpose)
        liked = torch.cat([torch.full((count,), label) for _, count, label in parts]).expand(len(generators), -1)
        size = liked.shape[1]
        while True:
            latents, noise, t = [], [], []
            for row, generator in enumerate(generators):
                chosen = [
                    points[row][torch.randint(points.shape[1], (count,), generator=generator)]
                    for points, count, _ in parts
                ]
                latents.append(torch.cat(chosen))
                noise.append(torch.randn(size, 2, generator=generator))
                t.append(self.process.times(torch.rand(size, generator=generator)))
            yield StackedBatch(torch.stack(latents), torch.stack(noise), torch.stack(t), liked)

    def batches_for(self, name: str, setting: Setting) -> Iterator[StackedBatch]:
        """Yield the batches of an objective: likes alone, pairs, or both kinds in the setting's ratio."""
        size = setting.batch
        liked = {"sft": size, "dpo": size // 2}.get(name, round(setting.liked_share * size))
        parts = [(self.liked, liked, True), (self.disliked, size - liked, False)]
        batches = self.batches([part for part in parts if part[1]], 4)
        return map(paired, batches) if name == "dpo" else batches

    def samples(self, count: int) -> Tensor:
        """Return samples of the present weights, from the same noise for all objectives."""
        return self.stacked.samples(count, SAMPLING_STEPS, [1000 * seed + 5 for seed in self.seeds])

    def tune_and_sample(self, name: str, setting: Setting, at: Sequence[int], count: int) -> dict[int, Tensor]:
        """Tune from the reference; return the samples after each of the steps `at`."""
        self.stacked.restart()
        settings = Settings(steps=setting.steps, micro_batch=setting.batch, lr=setting.lr, warmup=10)
        reference_points = [Batch() for _ in self.seeds]
        batches = self.batches_for(name, setting)
        taken = tune(self.stacked, batches, objective_of(name, setting), reference_points, settings)
        return {step: self.samples(count) for step in taken if step in at}


def objective_of(name: str, setting: Setting) -> Objective:
    """Return the project's own objective of that name."""
    if name == "sft":
        return SFT()
    return DPO(beta=setting.beta) if name == "dpo" else KTO(beta=setting.beta, utility=UTILITIES[name])


def measures_by_model(clouds: Samples) -> dict[str, dict[str, list[float]]]:
    """Return model -> measure -> a value for each seed."""
    values = {}
    for name, cloud in clouds.items():
        of_seeds = [measures(points) for points in cloud]
        values[name] = {measure: [seed[measure] for seed in of_seeds] for measure in of_seeds[0]}
    return values


def paired_differences(a: Sequence[float], b: Sequence[float]) -> list[float]:
    """Return a - b, seed by seed: equal seeds share their pretrained model, their points and their noise."""
    return [x - y for x, y in zip(a, b, strict=True)]


def claim_leaves(name: str, values: Mapping[str, Mapping[str, list[float]]]) -> Claim:
    """Return claim 1 or 2: the objective avoids P_u, and leaves P_d."""
    inside, there = values[name]["inside P_d"], values[name]["inside P_u"]
    return Claim(
        {
            AVERSE: "The loss-averse utility avoids the undesirable so strongly that it leaves the desirable",
            "dpo": "DPO, which has the same utility on pairs, leaves the desirable too",
        }[name],
        "fewer of its samples than of SFT's lie in the 95% disc of P_u, and less than half lie in the 95% disc of P_d.",
        verdict_of(
            is_below(paired_differences(there, values["sft"]["inside P_u"]), 0),
            is_below(inside, 0.5),
        ),
        f"inside P_d {mean_text(inside)}; inside P_u {mean_text(there)}, SFT {mean_text(values['sft']['inside P_u'])}.",
    )


def claim_tolerates(values: Mapping[str, Mapping[str, list[float]]]) -> Claim:
    """Return claim 3."""
    more = {m: paired_differences(values[SEEKING][m], values[KT][m]) for m in ("inside P_u", "nearer P_u")}
    return Claim(
        "The risk-seeking utility tolerates the undesirable distribution",
        "more of its samples than of Kahneman-Tversky's lie in the 95% disc of P_u, and more lie nearer to the centre "
        "of P_u than of P_d.",
        verdict_of(*(is_above(difference, 0) for difference in more.values())),
        f"inside P_u {mean_text(values[SEEKING]['inside P_u'])}, {mean_text(more['inside P_u'], '+.3f')} against KT; "
        f"nearer P_u {mean_text(values[SEEKING]['nearer P_u'])}, {mean_text(more['nearer P_u'], '+.3f')} against KT; "
        f"inside P_d {mean_text(values[SEEKING]['inside P_d'])}.",
    )


def claim_like_sft(clouds: Samples) -> Claim:
    """Return claim 4."""
    near = {
        name: [apart(a, b) for a, b in zip(clouds[SEEKING], clouds[name], strict=True)]
        for name in ("sft", *COMPARED_WITH_SEEKING)
    }
    spread = DESIRABLE.variance**0.5
    nearest = [is_below(paired_differences(near["sft"], near[name]), 0) for name in COMPARED_WITH_SEEKING]
    return Claim(
        "Risk-seeking is close to SFT",
        f"its samples lie within {spread:g} of SFT's, one standard deviation of P_d (Wasserstein's distance, mean over "
        "directions), and nearer to SFT's than to those of each other objective.",
        verdict_of(is_below(near["sft"], spread), *nearest),
        "; ".join(f"to {name} {mean_text(values)}" for name, values in near.items()) + ".",
    )


def claim_balances(values: Mapping[str, Mapping[str, list[float]]]) -> Claim:
    """Return claim 5."""
    more = {
        name: paired_differences(values[KT]["well placed"], values[name]["well placed"]) for name in NAMES if name != KT
    }
    return Claim(
        "The Kahneman-Tversky utility balances best",
        "it puts more samples than each other objective in the 95% disc of P_d without being nearer to the centre of "
        "P_u.",
        verdict_of(*(is_above(difference, 0) for difference in more.values())),
        f"well placed {mean_text(values[KT]['well placed'])}; "
        + "; ".join(f"{mean_text(difference, '+.3f')} against {name}" for name, difference in more.items())
        + ".",
    )


def claims_of(clouds: Samples) -> list[Claim]:
    """Return the paper's five claims, decided by the samples."""
    values = measures_by_model(clouds)
    return [
        claim_leaves(AVERSE, values),
        claim_leaves("dpo", values),
        claim_tolerates(values),
        claim_like_sft(clouds),
        claim_balances(values),
    ]


def rows_of(clouds: Samples) -> list[dict[str, Any]]:
    """Return a row for each model: means and intervals over seeds. The first row is P_d itself, for comparison."""
    ideal = measures(DESIRABLE.sample(200_000, torch.Generator().manual_seed(0)))
    rows: list[dict[str, Any]] = [{"model": "P_d itself", **ideal}]
    for name, values in measures_by_model(clouds).items():
        row: dict[str, Any] = {"model": name, "seeds": len(values["log-density"])}
        for measure, of_seeds in values.items():
            row |= interval_columns(measure, of_seeds)
        rows.append(row)
    return rows


def page_rows_of(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the rows with each interval beside its mean."""
    names = [n for n in rows[0] if n != "model"]

    def cell(row: Mapping[str, Any], name: str) -> str:
        low = row.get(f"{name}, low")
        return f"{row[name]:.3g}" + ("" if low is None else f" ({low:.3g} to {row[f'{name}, high']:.3g})")

    return [{"model": row["model"], **{name: cell(row, name) for name in names}} for row in rows]


def verdicts_elsewhere(planes: RatedPlanes, progress: Progress, say: Say, small: bool) -> list[dict[str, Any]]:
    """Return the verdict on each claim at other betas, liked shares and numbers of steps, on a few seeds."""
    base, count = planes.setting, 200 if small else 1000
    betas, shares = (OTHER_BETAS[:1], OTHER_SHARES[1:2]) if small else (OTHER_BETAS, OTHER_SHARES)
    budgets = (base.steps,) if small else OTHER_STEPS
    known: dict[tuple[Any, ...], dict[int, Tensor]] = {}

    def clouds_at(name: str, setting: Setting) -> dict[int, Tensor]:
        # SFT has no beta and no dislikes, and DPO has no share, so neither is trained twice
        key = (name, name != "sft" and setting.beta, name not in {"sft", "dpo"} and setting.liked_share)
        if key not in known:
            known[key] = planes.tune_and_sample(name, setting, budgets, count)
        return known[key]

    rows = []
    settings = [replace(base, beta=beta, liked_share=share) for beta in betas for share in shares]
    for setting in progress(settings, "Other settings"):
        of_objectives = {name: clouds_at(name, setting) for name in NAMES}
        for steps in budgets:
            clouds = {name: cloud[steps] for name, cloud in of_objectives.items()}
            row = {"beta": setting.beta, "liked share": setting.liked_share, "steps": steps}
            verdicts = {f"claim {i}": claim.verdict for i, claim in enumerate(claims_of(clouds), start=1)}
            placed = {f"well placed, {n}": _mean(v["well placed"]) for n, v in measures_by_model(clouds).items()}
            rows.append(row | verdicts | placed)
        say(f"     beta {setting.beta:g}, liked share {setting.liked_share:g}")
    return rows


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def plot(clouds: Samples) -> Any:
    """Plot the first seed's samples over the discs of P_d and P_u, with a panel for each model."""
    from matplotlib.patches import Circle

    figure, axes = panels(2, 3, (2.5, 2.5), sharex=True, sharey=True)
    crosses: Sequence[tuple[Gaussian, str, str]] = ((DESIRABLE, "#1a7f37", "P_d"), (UNDESIRABLE, "#cf222e", "P_u"))
    window = ((-0.25, 1.15), (0.1, 1.5))
    for axis, (name, cloud) in zip(axes, clouds.items(), strict=True):
        points = cloud[0]
        axis.scatter(*points.T, s=1.2, color=COLOURS[name], alpha=0.35, linewidths=0, rasterized=True)
        for gaussian, colour, _ in crosses:
            axis.add_patch(Circle((gaussian.x, gaussian.y), gaussian.radius, fill=False, color=colour, linewidth=1))
            axis.plot(gaussian.x, gaussian.y, "x", color=colour, markersize=8, markeredgewidth=2)
        axis.plot(PRETRAINING.x, PRETRAINING.y, "+", color=INK, markersize=8, markeredgewidth=1.5)
        (left, right), (low, high) = window
        x, y = points.T
        away = 1 - float(((x > left) & (x < right) & (y > low) & (y < high)).double().mean())
        axis.set(title="before tuning" if name == "reference" else name, xlim=window[0], ylim=window[1], aspect="equal")
        axis.grid(color=PALE, linewidth=0.5)
        if away > 0.005:  # noqa: PLR2004
            axis.text(0.98, 0.02, f"{away:.0%} outside", transform=axis.transAxes, ha="right", va="bottom")
    return figure


def count_verdicts(others: Sequence[Mapping[str, Any]]) -> str:
    """Return a note on how many settings each claim holds in; a claim without a liked share has fewer settings."""
    counts = []
    for i in range(1, 6):
        knobs = ("beta", "steps") if i == CLAIM_ABOUT_PAIRS else ("beta", "liked share", "steps")
        verdicts = {tuple(row[knob] for knob in knobs): row[f"claim {i}"] for row in others}
        counts.append(f"{sum(verdict == HOLDS for verdict in verdicts.values())} of {len(verdicts)} ({i})")
    return (
        f"Number of settings of the last table in which each claim holds: {', '.join(counts)}. One of them is the "
        f"figure's, on fewer seeds. Claim {CLAIM_ABOUT_PAIRS} is about DPO and SFT, which have no liked share, and so "
        "has fewer settings. Both numbers of steps come from one run at a constant learning rate."
    )


def make(order: Order, progress: Progress, say: Say) -> Result:
    """Pretrain, tune with each objective, sample, measure and decide; then repeat at other settings."""
    setting, seeds = (SMALL if order.quick else MAIN), range(order.seeds_or(SEEDS, quick=2))
    count = 300 if order.quick else SAMPLES
    say(f"1/3  {len(seeds)} models on the plane learn the pretraining distribution.")
    planes = RatedPlanes(seeds, setting)
    clouds: dict[str, Tensor] = {"reference": planes.samples(count)}
    say(f"2/3  Each of them is tuned with {len(NAMES)} objectives.")
    for name in progress(NAMES, "Tuning"):
        clouds[name] = planes.tune_and_sample(name, setting, (setting.steps,), count)[setting.steps]
    say("3/3  They are tuned again at other settings, with fewer seeds.")
    others = verdicts_elsewhere(RatedPlanes(seeds[:OTHER_SEEDS], setting), progress, say, order.quick)
    return _result(setting, len(seeds), clouds, others)


def _result(setting: Setting, seeds: int, clouds: Samples, others: list[dict[str, Any]]) -> Result:
    rows = rows_of(clouds)
    return Result(
        title="Figure 6: five objectives in the plane",
        about=f"{seeds} small diffusion models of points learn a Gaussian at (0.5, 0.8). They are then tuned towards "
        "the desirable distribution P_d at (0.3, 0.8) and away from the undesirable distribution P_u at (0.3, 0.6), "
        f"with the objectives and the noise process of `thumbtune train`. Our settings: beta {setting.beta:g}, "
        f"{setting.steps} steps of {setting.batch} points, AdamW at "
        f"{setting.lr:g}, liked share {setting.liked_share:g} (the paper's gamma), reference point `batch`, T = 100, "
        "a perceptron with two hidden layers of 64.",
        figure=plot(clouds),
        caption="Samples of the first seed. Crosses: centres of P_d (green) and P_u (red), with the discs that hold "
        "95% of each. Plus: centre of the pretraining distribution.",
        rows=rows,
        page_rows=page_rows_of(rows),
        claims=claims_of(clouds),
        more_tables={
            "Verdicts at other settings that the paper does not give": [
                {name: f"{value:.3g}" if isinstance(value, float) else value for name, value in row.items()}
                for row in others
            ]
        },
        notes=(
            count_verdicts(others),
            "The figure's setting was not chosen blindly: beta, learning rate and steps were picked after single runs "
            "of three and four seeds at betas from 1 to 300, so that SFT has converged and no slope is flat from the "
            "start. A claim that holds only there is no evidence for the paper; the last table shows where each claim "
            "holds.",
            "Nothing limits the push away from a disliked point: the slope of the risk-seeking utility grows with its "
            "own success, and DPO's loss depends only on the difference within a pair. Kahneman-Tversky's slope fades "
            "on both sides.",
            "Intervals are Student's 95% intervals over seeds; comparisons are paired by seed.",
            "P_u and P_d overlap: 16% of P_d's own points lie nearer to the centre of P_u.",
            "Samples that are not finite, or further than 100 from the centre of P_d, count as 100 away.",
            "Every objective trains on as many points. DPO's are pairs, half of them liked; both points of a pair "
            "share noise and time.",
        ),
    )

"""Rate-distortion curves: their points, the area above them, the best beta on them, and the generalization
gap.

Everything is a mean over seeds with a 95% interval over seeds. A seed is a replicate of the whole curve, so
comparisons along a curve, and between train and test, are made within a seed. The intervals say what other
seeds would give on this training and test set; they do not cover the drawing of another test set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from rdstudy.analysis import hull
from rdstudy.analysis.bootstrap import quantile_interval, resampled_means
from rdstudy.analysis.contrasts import MIN_SEEDS
from rdstudy.analysis.hull import dominated, lower_hull
from rdstudy.analysis.intervals import mean_interval
from rdstudy.analysis.paired import compare, to_reference
from rdstudy.analysis.replicates import CRITERIA, SETTING, Replicates, averaged, replicates
from rdstudy.storage.schema import POPULATIONS, TEST, TRAIN, VALIDATION

_WORSE_LEVEL = 0.05

DRAWN = ("rate_nats", *CRITERIA)
_PLANE = [
    "dataset",
    "split",
    "population",
]  # curves over these can be compared: they are measured on one population


def frontier(table: pd.DataFrame | Sequence[Replicates]) -> pd.DataFrame:
    """Every point of every rate-distortion curve, with 95% intervals over seeds.

    Args:
        table: rows as `rdstudy.load_measurements` gives them.

    Returns:
        One row per setting, population and beta, along each curve from the largest beta to the smallest: the
        setting's columns, `population beta n_seeds`; for each of rate, distortion, negative_elbo and nll its
        mean `*_nats` and interval `*_low *_high` (null where fewer than two seeds were measured); `on_hull`
        and `dominated` among the points of its own curve; `on_study_hull` and `dominated_in_study` among the
        points of all settings of its data set, split and population.

    >>> import rdstudy
    >>> points = frontier(rdstudy.load_measurements("results/quickstart"))
    >>> points.query("population == 'test' and depth == 1")["beta"].tolist()
    [5.0, 1.0, 0.1, 0.001]
    """
    rows = [row for setting in replicates(table) for row in _points(setting)]
    columns = [*SETTING, "population", "beta", "n_seeds"]
    columns += [name for quantity in DRAWN for name in interval_columns(quantity)]
    frame = pd.DataFrame(rows, columns=columns)
    frame["on_hull"], frame["dominated"] = _flags(frame, [*SETTING, "population"])
    frame["on_study_hull"], frame["dominated_in_study"] = _flags(frame, _PLANE)
    return frame


def interval_columns(quantity: str) -> tuple[str, str, str]:
    """`rate_nats` -> (`rate_nats`, `rate_low`, `rate_high`)."""
    stem = quantity.removesuffix("_nats")
    return quantity, f"{stem}_low", f"{stem}_high"


def _points(setting: Replicates) -> list[dict[str, object]]:
    rows = []
    for population in POPULATIONS:
        means = {quantity: mean_interval(setting.of(population, quantity)) for quantity in DRAWN}
        for k, beta in enumerate(setting.betas):
            if not any(means[quantity].count[k] for quantity in DRAWN):
                continue
            row = {**setting.setting, "population": population, "beta": float(beta)}
            row["n_seeds"] = max(int(means[quantity].count[k]) for quantity in DRAWN)
            for quantity in DRAWN:
                found = means[quantity]
                values = (found.mean[k], found.low[k], found.high[k])
                row.update(zip(interval_columns(quantity), map(float, values), strict=True))
            rows.append(row)
    return rows


def _flags(frame: pd.DataFrame, group: list[str]) -> tuple[Bool[np.ndarray, " rows"], Bool[np.ndarray, " rows"]]:
    on_hull = np.zeros(len(frame), dtype=bool)
    below = np.zeros(len(frame), dtype=bool)
    if len(frame):
        for _, rows in frame.reset_index(drop=True).groupby(group, dropna=False):
            rate = rows["rate_nats"].to_numpy(dtype=np.float64)
            distortion = rows["distortion_nats"].to_numpy(dtype=np.float64)
            on_hull[rows.index] = lower_hull(rate, distortion)
            below[rows.index] = dominated(rate, distortion)
    return on_hull, below


def hypervolumes(table: pd.DataFrame | Sequence[Replicates]) -> pd.DataFrame:
    """How much of the plane each curve covers, so that settings can be ranked by their whole curve.

        area between the lower hull and (reference rate, reference distortion), in nats squared

    The reference is the largest mean rate and the largest mean distortion of all settings of that data set,
    split and population: it changes when settings are added, and areas compare only within one table. Noise
    can only push a hull outwards, so with few noisy seeds the area is a little too large: its 95% interval
    then holds the truth in about 90% of studies (three seeds, 0.3 nats of noise), else in 95%.

    Returns:
        One row per setting and population with `hypervolume_nats2`, its interval (`*_low *_high`, from
        `resampled_means`), `rank` (1 is the largest area of its data set, split and population),
        `reference_rate_nats reference_distortion_nats` and `n_seeds`.
    """
    settings = replicates(table)
    references = _references(settings)
    rows = []
    for setting in settings:
        for population in POPULATIONS:
            if not setting.measured(population, "distortion_nats"):
                continue
            rate, distortion = (setting.of(population, q) for q in ("rate_nats", "distortion_nats"))
            reference = references[_plane(setting, population)]
            low, high = quantile_interval(_resampled_areas(rate, distortion, reference))
            rows.append(
                {
                    **setting.setting,
                    "population": population,
                    "n_seeds": int(np.isfinite(distortion).any(axis=1).sum()),
                    "hypervolume_nats2": hull.hypervolume(
                        mean_interval(rate).mean, mean_interval(distortion).mean, reference
                    ),
                    "hypervolume_low": low,
                    "hypervolume_high": high,
                    "reference_rate_nats": reference[0],
                    "reference_distortion_nats": reference[1],
                }
            )
    columns = [*SETTING, "population", "n_seeds", "hypervolume_nats2", "hypervolume_low", "hypervolume_high"]
    frame = pd.DataFrame(rows, columns=[*columns, "reference_rate_nats", "reference_distortion_nats"])
    ranks = frame.groupby(_PLANE, dropna=False)["hypervolume_nats2"].rank(ascending=False, method="min")
    return frame.assign(rank=ranks.astype("Int64"))


_AREA_DRAWS = 500  # a walk along a hull each


def _resampled_areas(
    rate: Float[np.ndarray, "seeds betas"],
    distortion: Float[np.ndarray, "seeds betas"],
    reference: tuple[float, float],
) -> Float[np.ndarray, " draws"]:
    points = rate.shape[1]
    draws = resampled_means(np.hstack([rate, distortion]), draws=_AREA_DRAWS)
    return hull.hypervolumes(draws[:, :points], draws[:, points:], reference)


def _plane(setting: Replicates, population: str) -> tuple[str, ...]:
    return (str(setting.setting["dataset"]), str(setting.setting["split"]), population)


def _references(settings: Sequence[Replicates]) -> dict[tuple[str, ...], tuple[float, float]]:
    references: dict[tuple[str, ...], tuple[float, float]] = {}
    for setting in settings:
        for population in POPULATIONS:
            if setting.measured(population, "distortion_nats"):
                largest = [
                    float(np.nanmax(mean_interval(setting.of(population, q)).mean))
                    if setting.measured(population, q)
                    else 0.0
                    for q in ("rate_nats", "distortion_nats")
                ]
                before = references.get(_plane(setting, population), (0.0, 0.0))
                references[_plane(setting, population)] = (
                    max(before[0], largest[0]),
                    max(before[1], largest[1]),
                )
    return references


def best_beta(table: pd.DataFrame | Sequence[Replicates]) -> pd.DataFrame:
    """The beta with the lowest test distortion, test -ELBO and test NLL, and the betas that may be as good.

    Where there are validation examples, the beta is the one with the lowest validation mean, and the test value at it
    is reported: it is unbiased. Without them the beta is chosen on the same test examples that it is judged on, so
    that its value there is too low on average.

    A beta stays in the interval unless it is worse than the best of the others with 95% confidence
    (one-sided, cross-fitted: `contrasts`), so the truly best beta of the grid is left out in at
    most about 5% of studies. The interval is the range of the betas that stay, some between them may not.

    Returns:
        One row per setting and criterion: `criterion n_seeds best_beta`, `chosen_on` (`validation` or `test`),
        `best_nats` on the test set, `beta_low beta_high` (null with fewer than three seeds), `at_edge`
        (the best is the smallest or largest beta of the grid: the true best may lie beyond).
    """
    settings = replicates(table)
    rows = []
    for criterion in CRITERIA:
        curves = []
        for setting in settings:
            values, chosen_on = setting.cells(TEST, criterion), choosing_population(setting, criterion)
            choose = setting.cells(chosen_on, criterion)
            there = np.isfinite(values).any(axis=(0, 1)) & np.isfinite(choose).any(axis=(0, 1))
            if there.any():
                of_betas = _Curve(setting.betas[there], values[..., there], choose[..., there])
                curves.append((setting, chosen_on, of_betas))
        kept = _may_be_best([curve for _, _, curve in curves])
        for (setting, chosen_on, (betas, values, choose)), stays in zip(curves, kept, strict=True):
            means = mean_interval(averaged(values)).mean
            best = int(np.argmin(mean_interval(averaged(choose)).mean))
            stays = stays.copy()
            stays[best] = True
            seeds = int(np.isfinite(values).any(axis=(1, 2)).sum())
            known = seeds >= MIN_SEEDS or len(betas) == 1
            rows.append(
                {
                    **setting.setting,
                    "criterion": criterion,
                    "n_seeds": seeds,
                    "best_beta": float(betas[best]),
                    "chosen_on": chosen_on,
                    "beta_low": float(betas[stays].min()) if known else np.nan,
                    "beta_high": float(betas[stays].max()) if known else np.nan,
                    "best_nats": float(means[best]),
                    "at_edge": best in (0, len(betas) - 1),
                }
            )
    columns = ["criterion", "n_seeds", "best_beta", "chosen_on", "beta_low", "beta_high", "best_nats", "at_edge"]
    frame = pd.DataFrame(rows, columns=[*SETTING, *columns])
    return frame.sort_values([*SETTING], kind="stable", ignore_index=True)


def choosing_population(setting: Replicates, criterion: str) -> str:
    """Where a beta is chosen: on the validation examples where there are any, else on the test set itself."""
    return VALIDATION if setting.measured(VALIDATION, criterion) else TEST


class _Curve(NamedTuple):
    """Test values over beta, and the values by which a beta is chosen."""

    betas: Float[np.ndarray, " betas"]
    values: Float[np.ndarray, "seeds cells betas"]
    choose: Float[np.ndarray, "seeds cells betas"]


def _may_be_best(curves: Sequence[_Curve]) -> list[Bool[np.ndarray, " _"]]:
    """Which betas of each setting are not shown to be worse than the best of the others."""
    kept = [np.ones(len(curve.betas), dtype=bool) for curve in curves]
    for beta in {float(beta) for curve in curves for beta in curve.betas}:
        asked = []
        for k, (betas, values, choose) in enumerate(curves):
            for point in map(int, np.flatnonzero(betas == beta)):
                others = [other for other in range(len(betas)) if other != point]
                asked.append((k, point, to_reference(values, betas, point, others, choose)))
        asked = [one for one in asked if one[2].points]
        if not asked:
            continue
        found, _ = compare([differences for _, _, differences in asked])
        worse = (found.p_above(0.0) <= _WORSE_LEVEL) & (found.seeds >= MIN_SEEDS)
        for at, (k, point, _) in enumerate(asked):
            kept[k][point] = not worse[at]
    return kept


def gaps(table: pd.DataFrame | Sequence[Replicates]) -> pd.DataFrame:
    """The generalization gap, test minus train within each seed, of distortion, -ELBO and NLL at every beta.

    Returns:
        One row per setting, criterion and beta: `criterion beta n_seeds gap_nats gap_low gap_high`.
    """
    rows = []
    for setting in replicates(table):
        for criterion in CRITERIA:
            found = mean_interval(averaged(setting.cells(TEST, criterion) - setting.cells(TRAIN, criterion)))
            for k in np.flatnonzero(found.count):
                rows.append(
                    {
                        **setting.setting,
                        "criterion": criterion,
                        "beta": float(setting.betas[k]),
                        "n_seeds": int(found.count[k]),
                        "gap_nats": float(found.mean[k]),
                        "gap_low": float(found.low[k]),
                        "gap_high": float(found.high[k]),
                    }
                )
    columns = ["criterion", "beta", "n_seeds", "gap_nats", "gap_low", "gap_high"]
    return pd.DataFrame(rows, columns=[*SETTING, *columns])

"""Where the mutual information reaches its ceiling log N, and what still changes below that beta.

A code of N examples cannot say more about its input than which one it is: I <= log N. Once I is there, a
larger rate only moves the aggregate posterior away from the prior, KL(q(z) || p(z)) = R - I (Hoffman &
Johnson 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from rdstudy.analysis.bootstrap import quantile_interval, resampled_means
from rdstudy.analysis.contrasts import NO_EFFECT, Effect, cross_fitted_contrast, effect
from rdstudy.analysis.frontier import interval_columns
from rdstudy.analysis.intervals import mean_interval
from rdstudy.analysis.replicates import CRITERIA, SETTING, Replicates, replicates
from rdstudy.storage.schema import POPULATIONS, TEST, TRAIN

SATURATED_SHARE = 0.95
AT, EVERYWHERE, NEVER, NOT_MEASURED = "at", "everywhere", "never", "not measured"


def information(table: pd.DataFrame | Sequence[Replicates]) -> pd.DataFrame:
    """Rate, mutual information, its ceiling and the marginal KL at every beta, with 95% intervals over seeds.

    Returns:
        One row per setting, population and beta: `population beta n_seeds mi_ceiling_nats`; `rate`, `mi` and
        `marginal_kl` as `*_nats *_low *_high`; `mi_share mi_share_low mi_share_high`, I as a share of its
        ceiling. Without a measured mutual information the frame has no rows.
    """
    rows = []
    for setting in replicates(table):
        for population in POPULATIONS:
            if not setting.measured(population, "mi_nats"):
                continue
            names = ("rate_nats", "mi_nats", "marginal_kl_nats", "mi_share")
            means = {name: mean_interval(setting.of(population, name)) for name in names}
            ceiling = mean_interval(setting.of(population, "mi_ceiling_nats")).mean
            for k in np.flatnonzero(means["mi_nats"].count):
                row = {**setting.setting, "population": population, "beta": float(setting.betas[k])}
                row |= {"n_seeds": int(means["mi_nats"].count[k]), "mi_ceiling_nats": float(ceiling[k])}
                for name in names:
                    found = means[name]
                    values = (found.mean[k], found.low[k], found.high[k])
                    row.update(zip(interval_columns(name), map(float, values), strict=True))
                rows.append(row)
    columns = [*SETTING, "population", "beta", "n_seeds", "mi_ceiling_nats"]
    columns += [c for q in ("rate_nats", "mi_nats", "marginal_kl_nats", "mi_share") for c in interval_columns(q)]
    return pd.DataFrame(rows, columns=columns)


def saturation(table: pd.DataFrame | Sequence[Replicates], *, share: float = SATURATED_SHARE) -> pd.DataFrame:
    """The beta at which the mutual information reaches 95% of its ceiling, and what happens to the test set
    below it.

    The beta is interpolated in log beta on the mean curve, between the last point below 95% and the first
    above.

    Returns:
        One row per setting and population: `population n_seeds`; `saturates`: `at` a beta within the grid,
        `everywhere`, `never`, or `not measured`; `beta`, where it is `at`; `beta_low beta_high`, its 95%
        interval over seeds, where 0 means that it may never saturate on this grid and infinity that it may
        everywhere; `largest_share`, the largest mean I / ceiling; `marginal_kl_nats_at`, the marginal KL at
        the saturated point with the largest beta (the *edge*), and `marginal_kl_nats_last`, at the smallest
        beta; for each criterion on the test set the fall from the edge to the best smaller beta, `*_fall_nats
        _low _high` (cross-fitted), and the change from the edge to the smallest beta, `*_change_nats _low
        _high` (positive: worse).

    >>> import rdstudy
    >>> table = rdstudy.load_measurements("results/quickstart")
    >>> saturation(table, share=2.0)["saturates"].unique().tolist()  # twice the ceiling is never reached
    ['never']
    """
    rows = []
    for setting in replicates(table):
        for population in POPULATIONS:
            rows.append({**setting.setting, "population": population, **_saturation(setting, population, share)})
    return pd.DataFrame(rows, columns=[*SETTING, "population", *_SATURATION_COLUMNS])


def _effect_columns(stem: str) -> tuple[str, str, str]:
    return f"{stem}_nats", f"{stem}_low", f"{stem}_high"


_STEMS = tuple(criterion.removesuffix("_nats") for criterion in CRITERIA)
_SATURATION_COLUMNS = (
    "n_seeds",
    "saturates",
    "beta",
    "beta_low",
    "beta_high",
    "largest_share",
    "marginal_kl_nats_at",
    "marginal_kl_nats_last",
    *(c for stem in _STEMS for part in ("fall", "change") for c in _effect_columns(f"{stem}_{part}")),
)


def _saturation(setting: Replicates, population: str, share: float) -> dict[str, Any]:
    if not setting.measured(population, "mi_share"):
        return {"n_seeds": 0, "saturates": NOT_MEASURED}
    shares = setting.of(population, "mi_share")
    means = mean_interval(shares).mean
    there = np.isfinite(means)
    crossing = float(crossing_beta(setting.betas[there], means[None, there], share)[0])
    draws = resampled_means(shares[:, there])
    low, high = quantile_interval(crossing_beta(setting.betas[there], draws, share))
    row: dict[str, Any] = {
        "n_seeds": int(np.isfinite(shares).any(axis=1).sum()),
        "saturates": {0.0: NEVER, float("inf"): EVERYWHERE}.get(crossing, AT),
        "beta": crossing if 0 < crossing < np.inf else np.nan,
        "beta_low": low,
        "beta_high": high,
        "largest_share": float(np.nanmax(means)),
    }
    edge = saturation_edge(setting, population, share)
    if edge is None:
        return row
    kl = mean_interval(setting.of(population, "marginal_kl_nats")).mean
    row["marginal_kl_nats_at"] = float(kl[edge])
    row["marginal_kl_nats_last"] = float(kl[np.flatnonzero(np.isfinite(kl))[-1]]) if np.isfinite(kl).any() else np.nan
    for criterion, stem in zip(CRITERIA, _STEMS, strict=True):
        fall, change = below(setting, criterion, edge)
        row |= dict(zip(_effect_columns(f"{stem}_fall"), (fall.nats, fall.low, fall.high), strict=True))
        row |= dict(zip(_effect_columns(f"{stem}_change"), (change.nats, change.low, change.high), strict=True))
    return row


def crossing_beta(
    betas: Float[np.ndarray, " betas"], shares: Float[np.ndarray, "draws betas"], level: float
) -> Float[np.ndarray, " draws"]:
    """The beta, from the largest down, at which each share first reaches the level: interpolated in log beta.

    0 where it never does, infinity where it already has at the largest beta, NaN where a share is NaN.

    >>> betas, shares = np.array([1.0, 0.1, 0.01]), np.array([[0.5, 0.9, 1.0]])
    >>> crossing_beta(betas, shares, 0.95).round(4).tolist()  # half way from 0.1 to 0.01
    [0.0316]
    """
    reached = shares >= level
    k = np.argmax(reached, axis=1)
    every, before = np.arange(len(shares)), np.maximum(k - 1, 0)
    rise = shares[every, k] - shares[every, before]
    fraction = (level - shares[every, before]) / np.where(rise > 0, rise, 1.0)
    logs = np.log(np.where(betas > 0, betas, 1.0))
    # beta = 0 has no logarithm: what is first reached there is reached at 0.
    at = np.where(betas[k] > 0, np.exp(logs[before] + fraction * (logs[k] - logs[before])), betas[k])
    crossing = np.where(k == 0, np.inf, at)
    crossing = np.where(reached.any(axis=1), crossing, 0.0)
    return np.where(np.isnan(shares).any(axis=1), np.nan, crossing)


def saturation_edge(setting: Replicates, population: str, share: float = SATURATED_SHARE) -> int | None:
    """Index of the largest beta at which the mean I has reached its ceiling; None where none has."""
    means = mean_interval(setting.of(population, "mi_share")).mean
    reached = np.flatnonzero(np.isfinite(means) & (np.nan_to_num(means) >= share))
    return int(reached[0]) if len(reached) else None


def below(setting: Replicates, criterion: str, start: int) -> tuple[Effect, Effect]:
    """What a test criterion does at betas smaller than the one at `start`.

    Returns:
        The fall to the best of them (cross-fitted, positive: better), and the change to the smallest
        (positive: worse).
    """
    values = setting.of(TEST, criterion)
    smaller = [k for k in range(start + 1, len(setting.betas)) if np.isfinite(values[:, k]).any()]
    if not smaller:
        return NO_EFFECT, NO_EFFECT
    return effect(cross_fitted_contrast(values, start, smaller)), effect(values[:, smaller[-1]] - values[:, start])


def informed_population(setting: Replicates) -> str | None:
    """Where this setting's mutual information is read: on the training set, else on the test set."""
    return next((p for p in (TRAIN, TEST) if setting.measured(p, "mi_share")), None)

"""Where the mutual information reaches its ceiling log N.

A code of N examples cannot say more about its input than which one it is: I <= log N for the estimate on N
examples. Once the estimate is there, a larger rate only moves R - I, which is the marginal KL(q(z) || p(z))
(Hoffman & Johnson 2016) if I itself has not grown further. Only an upper bound of I can tell (`identification`): where
it lies more than a nat above the estimate, at the ceiling or at a smaller beta, I is not identified.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from rdstudy.analysis.frontier import interval_columns
from rdstudy.analysis.identification import (
    NOT_IDENTIFIED,
    NOT_MEASURED,
    InformationRange,
    information_ranges,
    marginal_kl_change,
    widest,
)
from rdstudy.analysis.intervals import mean_interval
from rdstudy.analysis.replicates import SETTING, Replicates, averaged, replicates
from rdstudy.storage.schema import POPULATIONS, TEST, TRAIN, VALIDATION

DEFICIT_NATS = 0.1
"""I is called saturated where log N - I is at most this."""
AT, EVERYWHERE, NEVER, OPEN = "at", "everywhere", "never", "open"
_INFORMATION = ("rate_nats", "mi_nats", "marginal_kl_nats", "mi_share")
_BOUNDS = ("mi_lower_nats", "mi_upper_nats", "marginal_kl_lower_nats", "marginal_kl_upper_nats")


def information(table: pd.DataFrame | Sequence[Replicates]) -> pd.DataFrame:
    """Rate, mutual information, its ceiling and the marginal KL at every beta, with 95% intervals over seeds.

    Returns:
        One row per setting, population and beta: `population beta n_seeds mi_ceiling_nats`; `rate`, `mi` and
        `marginal_kl` as `*_nats *_low *_high`; `mi_share mi_share_low mi_share_high`, I as a share of its
        ceiling; the bounds of the distribution's I and marginal KL, `mi_lower mi_upper marginal_kl_lower
        marginal_kl_upper` as `*_nats *_low *_high`, NaN where they were not measured. Without a measured mutual
        information the frame has no rows.
    """
    rows = []
    for setting in replicates(table):
        for population in POPULATIONS:
            if not setting.measured(population, "mi_nats"):
                continue
            means = {name: mean_interval(setting.of(population, name)) for name in (*_INFORMATION, *_BOUNDS)}
            ceiling = mean_interval(setting.of(population, "mi_ceiling_nats")).mean
            for k in np.flatnonzero(means["mi_nats"].count):
                row = {**setting.setting, "population": population, "beta": float(setting.betas[k])}
                row |= {"n_seeds": int(means["mi_nats"].count[k]), "mi_ceiling_nats": float(ceiling[k])}
                for name, found in means.items():
                    values = (found.mean[k], found.low[k], found.high[k])
                    row.update(zip(interval_columns(name), map(float, values), strict=True))
                rows.append(row)
    columns = [*SETTING, "population", "beta", "n_seeds", "mi_ceiling_nats"]
    columns += [c for q in (*_INFORMATION, *_BOUNDS) for c in interval_columns(q)]
    return pd.DataFrame(rows, columns=columns)


_COLUMNS = ("n_seeds", "saturates", "beta_low", "beta_high", "least_deficit_nats", "marginal_kl_nats_last")
_RANGE = ("bounded", "apart_nats", *(f"{name}_last" for name in _BOUNDS), "marginal_kl_change")


def saturation(table: pd.DataFrame | Sequence[Replicates], *, deficit_nats: float = DEFICIT_NATS) -> pd.DataFrame:
    """Between which betas of the grid the mutual information comes within 0.1 nats of its ceiling log N.

    The betas bracket the beta sought with 95% confidence over seeds, if I does not fall as beta falls. There is
    no interpolation between them: that would need a model of the curve.

    Returns:
        One row per setting and population: `population n_seeds`; `beta_low`, the largest beta at which and below
        which I is shown saturated (0: at none), `beta_high`, the smallest beta at which and above which it is
        shown not to be (infinity: at none); `saturates`: `at` a beta between them, `everywhere`, `never`,
        `open` (nothing is shown), `not identified` (the upper bound of I, or the rate where no other was
        measured, lies more than a nat above the lower one at `beta_low` or a smaller beta), or `not measured`;
        `least_deficit_nats`, the least mean of log N - I; `marginal_kl_nats_last`, R - I at the smallest beta;
        `bounded`, whether an upper bound was measured at all these betas; `apart_nats`, by how much the bounds of
        I differ there at most; at the smallest beta `mi_lower_nats_last mi_upper_nats_last
        marginal_kl_lower_nats_last marginal_kl_upper_nats_last`, the bounds; `marginal_kl_change` from `beta_low` (from
        the largest beta, where that is 0 or the smallest) to the smallest: `grows` or `falls` where the bounds show it
        with 95% confidence, `not identified`, or `not measured`.

    >>> import rdstudy
    >>> table = rdstudy.load_measurements("results/quickstart")
    >>> sorted(saturation(table, deficit_nats=-1.0)["saturates"].unique())  # I cannot exceed its ceiling
    ['never']
    """
    rows = []
    for setting in replicates(table):
        for population in POPULATIONS:
            if population == VALIDATION and not setting.measured(population, "mi_nats"):
                continue
            rows.append({**setting.setting, "population": population, **_saturation(setting, population, deficit_nats)})
    return pd.DataFrame(rows, columns=[*SETTING, "population", *_COLUMNS, *_RANGE])


def _saturation(setting: Replicates, population: str, deficit: float) -> dict[str, object]:
    deficits = deficits_of(setting, population)
    if not np.isfinite(deficits).any():
        return {"n_seeds": 0, "saturates": NOT_MEASURED, "bounded": False}
    low, high = bracket(setting.betas, deficits, deficit)
    measured = setting.betas[np.isfinite(deficits).any(axis=0)]
    if low == 0:
        saturates = OPEN if np.isinf(high) else NEVER if high == measured[-1] else AT
    else:
        saturates = EVERYWHERE if low == measured[0] else AT
    ranges = information_ranges(setting, population)
    start = low if low > 0 else float(measured[0])
    least = widest(ranges, start)
    if low > 0 and least is not None and not least.identified:
        saturates = NOT_IDENTIFIED
    kl = mean_interval(setting.of(population, "marginal_kl_nats")).mean
    finite = kl[np.isfinite(kl)]
    return {
        "n_seeds": int(np.isfinite(deficits).any(axis=1).sum()),
        "saturates": saturates,
        "beta_low": low,
        "beta_high": high,
        "least_deficit_nats": float(np.nanmin(mean_interval(deficits).mean)),
        "marginal_kl_nats_last": float(finite[-1]) if len(finite) else np.nan,
        **_range(ranges, start),
        "marginal_kl_change": marginal_kl_change(
            setting, population, low if low > measured[-1] else float(measured[0])
        ),
    }


def _range(ranges: list[InformationRange], start: float) -> dict[str, object]:
    """What the bounds leave open from a beta down; null where no upper bound was measured."""
    below = [each for each in ranges if each.beta <= start]
    if not below or not all(each.bounded for each in below):
        return {"bounded": False}
    last = below[-1]
    values = (last.mi_lower, last.mi_upper, last.marginal_kl_lower, last.marginal_kl_upper)
    apart = max(each.mi_upper - each.mi_lower for each in below)
    return {
        "bounded": True,
        "apart_nats": apart,
        **dict(zip((f"{name}_last" for name in _BOUNDS), values, strict=True)),
    }


def deficits_of(setting: Replicates, population: str) -> Float[np.ndarray, "seeds betas"]:
    """log N - I, nats."""
    return averaged(setting.cells(population, "mi_ceiling_nats") - setting.cells(population, "mi_nats"))


def bracket(
    betas: Float[np.ndarray, " betas"], deficits: Float[np.ndarray, "seeds betas"], deficit: float
) -> tuple[float, float]:
    """The largest beta shown saturated and the smallest shown not to be; (0, infinity) where none is.

    Betas are tested in order from either end, each at a one-sided 2.5%, until one fails: the order keeps the error
    of each end at 2.5% without a correction. With one seed there is no error to test by: the values are taken as
    they are, and the bracket is one beta wider at either end.

    Args:
        betas: from the largest to the smallest.

    >>> bracket(np.array([1.0, 0.3, 0.1, 0.01]), np.array([[2.0, 0.8, 0.02, 0.0]] * 2), 0.1)
    (0.1, 0.3)
    """
    there = np.isfinite(deficits).any(axis=0)
    betas, deficits = betas[there], deficits[:, there]
    found = mean_interval(deficits)
    single = found.count < 2
    saturated = np.where(single, found.mean, found.high) <= deficit
    reduced = np.where(single, found.mean, found.low) > deficit
    low = int(np.argmin(saturated[::-1])) if not saturated.all() else len(betas)
    high = int(np.argmin(reduced)) if not reduced.all() else len(betas)
    if single.any():
        low, high = max(low - 1, 0), max(high - 1, 0)
    return float(betas[len(betas) - low]) if low else 0.0, float(betas[high - 1]) if high else float("inf")


def informed_population(setting: Replicates) -> str | None:
    """Where this setting's mutual information is read: on the training set, else on the test set."""
    return next((p for p in (TRAIN, TEST) if setting.measured(p, "mi_nats")), None)

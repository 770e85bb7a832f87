"""The shape of a criterion over beta, decided with intervals and not by eye.

A curve is read from its largest beta to its smallest, the direction in which the rate rises. It *falls* if
some smaller beta is better than the largest, and it *rises* if it ends, at the smallest beta, above some
larger one. Then:

    falls and rises      U-shaped
    falls, does not rise falling
    rises, does not fall rising
    neither              flat, or humped if it passes above both of its ends

Each of the two questions is one cross-fitted comparison (`contrasts.above_best`), so the number of betas does
not multiply the chance of an error. "U-shaped" needs both and is wrong even more rarely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from rdstudy.analysis.contrasts import (
    ABSENT,
    NO_EFFECT,
    PRESENT,
    SMALLEST_EFFECT_NATS,
    Effect,
    cross_fitted_contrast,
    effect,
)
from rdstudy.analysis.replicates import CRITERIA, SETTING, Replicates, replicates
from rdstudy.storage.schema import POPULATIONS

U_SHAPED, FALLING, RISING, FLAT, HUMPED, UNDECIDED = (
    "U-shaped",
    "falling",
    "rising",
    "flat",
    "humped",
    "undecided",
)

RELATIVE_RISE = 0.05
"""A fall or rise below this share of the curve's range does not count when a shape is named: a curve that
falls by 76
nats and ends 1.3 above its minimum, as the published deep test curve does, is falling."""


@dataclass(frozen=True)
class Shape:
    """A shape, and what it was decided by; `of_means` is what the means alone look like."""

    name: str
    of_means: str
    fall: Effect
    rise: Effect
    bump: Effect


def shape_of(values: Float[np.ndarray, "seeds betas"], smallest: float = SMALLEST_EFFECT_NATS) -> Shape:
    """Decide the shape of a curve whose columns run from the largest beta to the smallest.

    Args:
        values: one replicate a row; NaN where it was not measured. Columns without a value are ignored.
        smallest: nats; falls and rises below it, or below 5% of the curve's range, do not count.
    """
    values = values[:, np.isfinite(values).any(axis=0)]
    if values.shape[1] < 2:
        return Shape(UNDECIDED, UNDECIDED, NO_EFFECT, NO_EFFECT, NO_EFFECT)
    points = values.shape[1]
    first, last, inner = 0, points - 1, range(1, points - 1)
    fall = effect(cross_fitted_contrast(values, first, range(1, points)))
    rise = effect(cross_fitted_contrast(values, last, range(points - 1)))
    # The higher end against the highest point between: a bump is above both ends.
    higher_end = first if np.nanmean(values[:, first]) >= np.nanmean(values[:, last]) else last
    bump = effect(cross_fitted_contrast(-values, higher_end, inner))

    means = np.nanmean(values, axis=0)
    smallest = max(smallest, RELATIVE_RISE * float(np.ptp(means)))
    name = _name(*(part.decided(smallest) for part in (fall, rise, bump)))
    return Shape(name, _by_means(means, smallest), fall, rise, bump)


def _name(fall: str, rise: str, bump: str) -> str:
    if fall == PRESENT and rise == PRESENT:
        return U_SHAPED
    if fall == PRESENT and rise == ABSENT:
        return FALLING
    if rise == PRESENT and fall == ABSENT:
        return RISING
    if fall == ABSENT and rise == ABSENT:
        return {PRESENT: HUMPED, ABSENT: FLAT}.get(bump, UNDECIDED)
    return UNDECIDED


def _by_means(means: Float[np.ndarray, " betas"], smallest: float) -> str:
    falls = means[0] - means.min() >= smallest
    rises = means[-1] - means.min() >= smallest
    bumps = means.max() - max(means[0], means[-1]) >= smallest
    if falls and rises:
        return U_SHAPED
    if falls or rises:
        return FALLING if falls else RISING
    return HUMPED if bumps else FLAT


def shapes(
    table: pd.DataFrame | Sequence[Replicates], *, smallest_effect_nats: float = SMALLEST_EFFECT_NATS
) -> pd.DataFrame:
    """The shape over beta of every criterion that was measured.

    Returns:
        One row per setting, population and criterion: the setting's columns, `population criterion n_betas
        n_seeds`; `shape` (`U-shaped falling rising flat humped undecided`, read from the largest beta to the
        smallest; undecided with fewer than three seeds); `shape_of_means`, what the means look like without
        asking how sure that is; `fall_nats fall_low fall_high` from the largest beta down to the best smaller
        one and `rise_nats rise_low rise_high` from the best beta up to the smallest one; `min_nats` and
        `min_beta`, the lowest mean and where it is.
    """
    rows = []
    for setting in replicates(table):
        for population in POPULATIONS:
            for criterion in CRITERIA:
                if not setting.measured(population, criterion):
                    continue
                values = setting.of(population, criterion)
                there = np.isfinite(values).any(axis=0)
                means = np.nanmean(values[:, there], axis=0)
                found = shape_of(values, smallest_effect_nats)
                rows.append(
                    {
                        **setting.setting,
                        "population": population,
                        "criterion": criterion,
                        "n_betas": int(there.sum()),
                        "n_seeds": found.fall.seeds if there.sum() > 1 else int(np.isfinite(values).sum()),
                        "shape": found.name,
                        "shape_of_means": found.of_means,
                        "fall_nats": found.fall.nats,
                        "fall_low": found.fall.low,
                        "fall_high": found.fall.high,
                        "rise_nats": found.rise.nats,
                        "rise_low": found.rise.low,
                        "rise_high": found.rise.high,
                        "min_nats": float(means.min()),
                        "min_beta": float(setting.betas[there][np.argmin(means)]),
                    }
                )
    columns = [*SETTING, "population", "criterion", "n_betas", "n_seeds", "shape", "shape_of_means"]
    columns += [f"{part}_{end}" for part in ("fall", "rise") for end in ("nats", "low", "high")]
    return pd.DataFrame(rows, columns=[*columns, "min_nats", "min_beta"])

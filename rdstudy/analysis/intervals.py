"""Intervals from few replicates: of a mean over seeds, and of a share of settings.

    mean +- t(n - 1) * sd / sqrt(n)    (Student 1908)

With three to ten seeds a percentile bootstrap is too narrow: over three normal seeds its "95%" interval holds
the mean in about 75 of 100 studies (`tests/analysis/test_intervals.py` counts). For a mean we therefore use
the t interval, which is also what the bootstrap of `analysis.bootstrap` tends to as its number of draws
grows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import betaincinv, stdtrit

LEVEL = 0.95


@dataclass(frozen=True)
class Means:
    """Means over seeds with their interval; low and high are NaN where fewer than two seeds were measured."""

    mean: Float[np.ndarray, " points"]
    low: Float[np.ndarray, " points"]
    high: Float[np.ndarray, " points"]
    sd: Float[np.ndarray, " points"]
    count: Int[np.ndarray, " points"]


def mean_interval(values: Float[np.ndarray, "seeds points"], level: float = LEVEL) -> Means:
    """Mean over the seeds at each point, with the t interval over the seeds that were measured there."""
    there = np.isfinite(values)
    count = there.sum(axis=0)
    total = np.where(there, values, 0.0).sum(axis=0)
    mean = np.divide(total, count, where=count > 0, out=np.full(values.shape[1], np.nan))
    squares = np.where(there, (values - mean) ** 2, 0.0).sum(axis=0)
    variance = np.divide(squares, count - 1, where=count > 1, out=np.full(values.shape[1], np.nan))
    sd = np.sqrt(variance)
    quantiles = stdtrit(np.where(count > 1, count - 1, np.nan), (1 + level) / 2)
    half = quantiles * sd / np.sqrt(np.maximum(count, 1))
    return Means(mean, mean - half, mean + half, sd, count.astype(np.int64))


def share_interval(successes: int, trials: int, level: float = LEVEL) -> tuple[float, float]:
    """Exact interval of a share (Clopper & Pearson 1934): holds the true share at least as often as it says.

    (0, 1) without trials.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is not a share")
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else float(betaincinv(successes, trials - successes + 1, tail))
    high = 1.0 if successes == trials else float(betaincinv(successes + 1, trials - successes, 1 - tail))
    return low, high

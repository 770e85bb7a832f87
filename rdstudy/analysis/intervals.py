"""Intervals from few replicates: of a mean over seeds, and of a share of settings.

    mean +- t(n - 1) * sd / sqrt(n)    (Student 1908)

With three to ten seeds a percentile bootstrap is too narrow: over three normal seeds its "95%" interval holds
the mean in about 75 of 100 studies (`tests/analysis/test_intervals.py` counts). For a mean we therefore use
the t interval, which is also what the bootstrap of `analysis.resampling` tends to as its number of draws
grows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

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
    quantiles = np.array([t_quantile((1 + level) / 2, int(n) - 1) if n > 1 else np.nan for n in count])
    half = quantiles * sd / np.sqrt(np.maximum(count, 1))
    return Means(mean, mean - half, mean + half, sd, count.astype(np.int64))


@lru_cache(maxsize=4096)
def t_quantile(probability: float, degrees: int) -> float:
    """Quantile of Student's t with whole degrees of freedom, by bisection of its distribution function."""
    if not 0 < probability < 1 or degrees < 1:
        raise ValueError(f"no t quantile at probability {probability} with {degrees} degrees of freedom")
    if probability < 0.5:
        return -t_quantile(1 - probability, degrees)
    low, high = 0.0, 1.0
    while _t_distribution(high, degrees) < probability:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if _t_distribution(middle, degrees) < probability:
            low = middle
        else:
            high = middle
        if high - low <= 1e-12 * high:
            break
    return (low + high) / 2


def _t_distribution(t: float, degrees: int) -> float:
    """P(T <= t) for t >= 0 (Abramowitz & Stegun 1964, equations 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    term, total = 1.0, 0.0
    first = 2 if degrees % 2 else 1
    if degrees % 2:
        term = cosine
    for k in range(first, degrees, 2):
        total += term
        term *= cosine**2 * k / (k + 1)
    inside = 2 / math.pi * (angle + sine * total) if degrees % 2 else sine * total
    return 0.5 + inside / 2


def share_interval(successes: int, trials: int, level: float = LEVEL) -> tuple[float, float]:
    """Exact interval of a share (Clopper & Pearson 1934): holds the true share at least as often as it says.

    (0, 1) without trials.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is not a share")
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else _share_where(lambda p: 1 - _binomial(successes - 1, trials, p), tail)
    high = 1.0 if successes == trials else 1 - _share_where(lambda p: _binomial(successes, trials, 1 - p), tail)
    return low, high


def _binomial(k: int, n: int, p: float) -> float:
    return math.fsum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))


def _share_where(rising: object, target: float) -> float:
    assert callable(rising)
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < target else (low, middle)
    return (low + high) / 2

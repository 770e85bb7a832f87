"""When a study may be judged: looks at 3, 6, 12 and 20 seeds, between which the error rate is divided.

Looking again after every few more seeds, until something is found, raises the rate of false findings from 2.5% to
5 or 10%. The error is therefore spent over the looks by Lan & DeMets's (1983) function of the O'Brien-Fleming type,

    alpha(t) = 2 - 2 Phi(z(1 - alpha / 2) / sqrt(t)),    t = seeds / planned seeds,

little at first and nearly all at the last look. The number of planned seeds has to be stated before the first look.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.special import ndtr, ndtri

from rdstudy.errors import UserError

LOOKS = (3, 6, 12, 20)
ALPHA = 0.025
"""One-sided rate of each kind of false verdict, over the settings of a claim and over all looks."""

_NODES = 150


def looks_of(planned_seeds: int) -> tuple[int, ...]:
    """The seeds at which a study of that many planned seeds is judged.

    Raises:
        UserError: fewer than one planned seed.

    >>> looks_of(3), looks_of(5), looks_of(20)
    ((3,), (3, 5), (3, 6, 12, 20))
    """
    if planned_seeds < 1:
        raise UserError(f"planned_seeds = {planned_seeds}: a study has at least one seed")
    return (*(look for look in LOOKS if look < planned_seeds), planned_seeds)


def look_reached(seeds: int, looks: tuple[int, ...]) -> int:
    """Number of looks, 0 to `len(looks)`, that this many seeds are enough for."""
    return sum(seeds >= look for look in looks)


@lru_cache(maxsize=4096)
def nominal_levels(alpha: float, looks: tuple[int, ...]) -> tuple[float, ...]:
    """One-sided level of the test at each look, such that all looks together err at a rate of `alpha`.

    By the recursive integration of Armitage, McPherson & Rowe (1969) over the sums not yet decided.

    >>> [round(level, 4) for level in nominal_levels(0.025, (10, 20))]  # Lan & DeMets: z = 2.963 and 1.969
    [0.0015, 0.0245]
    """
    times = np.asarray(looks, dtype=np.float64) / looks[-1]
    spent = 2 * ndtr(ndtri(alpha / 2) / np.sqrt(times))
    levels = [float(spent[0])]
    sums, step = _below(float(-ndtri(spent[0]) * np.sqrt(times[0])), times[0])
    density = _normal(sums / np.sqrt(times[0])) / np.sqrt(times[0])
    for k in range(1, len(times)):
        spread = np.sqrt(times[k] - times[k - 1])
        weights = density * step
        low, high = -2.0, 12.0
        for _ in range(60):
            z = (low + high) / 2
            crosses = ndtr((sums - z * np.sqrt(times[k])) / spread) @ weights
            low, high = (z, high) if crosses > spent[k] - spent[k - 1] else (low, z)
        levels.append(float(ndtr(-z)))
        following, step = _below(float(z * np.sqrt(times[k])), times[k])
        density = _normal((following[:, None] - sums) / spread) @ weights / spread
        sums = following
    return tuple(levels)


def _normal(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi))


def _below(bound: float, time: float) -> tuple[np.ndarray, np.ndarray]:
    """Points and weights of a Gauss-Legendre rule from far below up to the bound."""
    low = -9 * float(np.sqrt(time))
    nodes, weights = _nodes()
    half = (bound - low) / 2
    return low + half * (nodes + 1), half * weights


@lru_cache(maxsize=1)
def _nodes() -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return nodes, weights

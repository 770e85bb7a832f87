"""What the bounds of the mutual information I and of the marginal KL identify, for the distribution of the examples.

The estimate from N codes is a lower bound of I, at most log N. An upper bound is measured (`mi_upper_nats`), or else
the rate R, as R = I + KL(q(z) || p(z)) (Hoffman & Johnson 2016). Where the two are more than a nat apart, I is not
identified: it may have grown past log N, and the rate past log N need not be marginal KL.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from rdstudy.analysis.intervals import mean_interval
from rdstudy.analysis.replicates import Replicates, averaged

IDENTIFIED_NATS = 1.0
"""Where bounds of I differ by more, I is not identified."""
GROWS, FALLS, NOT_IDENTIFIED, NOT_MEASURED = "grows", "falls", "not identified", "not measured"


@dataclass(frozen=True)
class InformationRange:
    """Between which means over seeds I and the marginal KL lie at a beta, in nats.

    Attributes:
        bounded: whether the upper bound of I was measured; else it is the rate, and the lower one of the KL is 0.
    """

    beta: float
    mi_lower: float
    mi_upper: float
    marginal_kl_lower: float
    marginal_kl_upper: float
    bounded: bool

    @property
    def identified(self) -> bool:
        """Whether the bounds of I are within a nat."""
        return self.mi_upper - self.mi_lower <= IDENTIFIED_NATS


def information_ranges(setting: Replicates, population: str) -> list[InformationRange]:
    """The bounds at every beta at which I was measured, from the largest beta to the smallest.

    Bounds are taken from the seeds that have both; where no upper one was measured, from those that have a rate.
    """
    lower, upper = _bounds(setting, population)
    rate = setting.cells(population, "rate_nats")
    found = []
    for k, beta in enumerate(setting.betas):
        least, most, whole = (part[..., k] for part in (lower, upper, rate))
        bounded = bool(np.isfinite(least + most).any())
        most = most if bounded else whole
        there = np.isfinite(least + most)
        if there.any():
            found.append(
                InformationRange(
                    beta=float(beta),
                    mi_lower=_mean(least[there]),
                    mi_upper=_mean(most[there]),
                    marginal_kl_lower=_mean((whole - most)[there]),
                    marginal_kl_upper=_mean((whole - least)[there]),
                    bounded=bounded,
                )
            )
    return found


def _mean(values: Float[np.ndarray, " values"]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def widest(found: list[InformationRange], beta: float) -> InformationRange | None:
    """The range that says least of I at this beta and below, or None where there is none."""
    return max(
        (each for each in found if each.beta <= beta), key=lambda each: each.mi_upper - each.mi_lower, default=None
    )


def marginal_kl_change(setting: Replicates, population: str, start: float) -> str:
    """Whether KL(q(z) || p(z)) differs between a beta and the smallest one by more than its bounds leave open.

        KL_lower(smallest) - KL_upper(start) > 0: grows;    KL_upper(smallest) - KL_lower(start) < 0: falls

    with 95% confidence over seeds each (one-sided 97.5%), so a single seed shows neither.
    """
    lower, upper = _bounds(setting, population)
    rate = setting.cells(population, "rate_nats")
    least, most = rate - upper, rate - lower
    measured = np.flatnonzero(np.isfinite(least).any(axis=(0, 1)))
    first = np.flatnonzero(setting.betas == start)
    if len(first) == 0 or first[0] not in measured or measured[-1] == first[0]:
        return NOT_MEASURED
    a, b = int(first[0]), int(measured[-1])
    growth = mean_interval(averaged(least[..., [b]] - most[..., [a]]))
    fall = mean_interval(averaged(most[..., [b]] - least[..., [a]]))
    if not growth.count[0]:
        return NOT_MEASURED
    if growth.low[0] > 0:
        return GROWS
    return FALLS if fall.high[0] < 0 else NOT_IDENTIFIED


def _bounds(
    setting: Replicates, population: str
) -> tuple[Float[np.ndarray, "seeds cells betas"], Float[np.ndarray, "seeds cells betas"]]:
    """Of I; the estimate is the lower one where no other was measured."""
    lower, upper, estimate = (setting.cells(population, name) for name in ("mi_lower_nats", "mi_upper_nats", "mi_nats"))
    return np.where(np.isfinite(lower), lower, estimate), upper

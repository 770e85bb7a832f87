"""How many more seeds would settle a question that is still open."""

from __future__ import annotations

import math

from rdstudy.analysis.contrasts import MIN_SEEDS, SMALLEST_EFFECT_NATS, Effect
from rdstudy.analysis.intervals import t_quantile

POWER = 0.8
MAX_SEEDS = 100


def seeds_needed(found: Effect, smallest: float = SMALLEST_EFFECT_NATS, *, sd: float | None = None) -> int | None:
    """Seeds in all after which a question is settled in 80 of 100 studies, if the effect is as large as it
    now looks.

        distance >= (t(n - 1, 0.975) + t(n - 1, 0.8)) * sd / sqrt(n)

    where the distance is that of the effect from what has to be excluded: from 0 for an effect of at least
    `smallest`, from `smallest` for a lesser one. The usual approximation to the power of a t test; it takes
    the observed effect and standard deviation as true, so it is an order of magnitude and not a promise.

    Args:
        sd: standard deviation between seeds to use instead of the effect's own, e.g. that of comparable
        settings
            when there is only one seed.

    Returns:
        None where more than 100 seeds would be needed, or nothing is known about the spread.
    """
    spread = found.sd if sd is None else sd
    if not (math.isfinite(spread) and math.isfinite(found.nats)):
        return None
    distance = found.nats if found.nats >= smallest else smallest - found.nats
    for seeds in range(MIN_SEEDS, MAX_SEEDS + 1):
        quantiles = t_quantile(0.975, seeds - 1) + t_quantile(POWER, seeds - 1)
        if distance >= quantiles * spread / math.sqrt(seeds):
            return seeds
    return None

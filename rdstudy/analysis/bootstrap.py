"""A bootstrap over seeds that is right for few of them: whole curves are resampled, and spread as Student's
t.

    draw = mean + sum_s w_s (y_s - mean),    w_s = g_s / sqrt(n (n - 1)) * sqrt((n - 1) / chi2),    g_s ~ N(0,
    1)

A seed's residuals keep their one weight at every beta and for every quantity, so whatever belongs together
over the curve stays together (the multiplier bootstrap; van der Vaart & Wellner 1996, section 2.9). Dividing
by the root of a chi-squared variable with n - 1 degrees of freedom makes the draws of any weighted sum of the
means follow exactly its t distribution around the estimate, however few seeds there are; resampling seeds
with replacement does not. What is right for sums is then used for what is not one: where a curve crosses a
level, the area above its hull.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

DRAWS = 2000


def resampled_means(
    values: Float[np.ndarray, "seeds points"],
    *,
    draws: int = DRAWS,
    generator: np.random.Generator | None = None,
) -> Float[np.ndarray, "draws points"]:
    """Draws of the mean curve over seeds, whose quantiles are its intervals.

    Where a point was measured for some of the seeds only, its own count is used. Points with fewer than two
    seeds cannot be resampled: their draws are NaN.

    Args:
        values: one replicate of the curve a row; NaN where it was not measured. Put several quantities side
        by side
            to resample them jointly.
        generator: by default a fixed one, so that a report says the same twice.
    """
    generator = np.random.default_rng(0) if generator is None else generator
    there = np.isfinite(values)
    count = there.sum(axis=0)
    total = np.where(there, values, 0.0).sum(axis=0)
    mean = np.divide(total, count, where=count > 0, out=np.full(values.shape[1], np.nan))
    residuals = np.where(there, values - mean, 0.0)
    directions = generator.standard_normal((draws, len(values)))
    squares = np.cumsum(generator.standard_normal((draws, max(len(values) - 1, 1))) ** 2, axis=1)
    # The same squares serve points with fewer seeds: chi2 with their degrees of freedom is a shorter sum.
    degrees = np.maximum(count - 1, 1)
    scale = 1 / np.sqrt(np.maximum(count, 1) * squares[:, degrees - 1])
    drawn = mean + directions @ residuals * scale
    return np.where(count > 1, drawn, np.nan)


def quantile_interval(draws: Float[np.ndarray, " draws"], level: float = 0.95) -> tuple[float, float]:
    """The middle `level` of the draws, (NaN, NaN) where there are none."""
    finite = draws[~np.isnan(draws)]
    if not len(finite):
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    low, high = np.quantile(finite, [tail, 1 - tail], method="nearest")
    return float(low), float(high)

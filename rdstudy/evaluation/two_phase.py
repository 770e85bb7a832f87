"""The difference estimator of two-phase sampling: a mean over all examples from a costly value of a few of them.

    1/N sum_N known_n + 1/m sum_m (value_n - known_n)

(Cochran 1977, section 12.9.) As unbiased as the mean of the m values, and far less noisy where the two rise and fall
together, because the examples of the subsample may be harder or easier than all.
"""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor


def two_phase_error(value: Float[Tensor, " examples"], difference: Float[Tensor, " examples"], n: int) -> float | None:
    """Standard error over examples of the estimate; None for one example.

    Args:
        value: of the m examples.
        difference: from what is known of all n.
        n: number of all examples.
    """
    m = len(value)
    if m < 2:
        return None
    return math.sqrt(value.var() / n + (1 / m - 1 / n) * difference.var())

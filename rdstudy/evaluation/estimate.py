"""The record of an estimate: value, standard error, count."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@dataclass(frozen=True)
class Estimate:
    """A mean in nats per example with its standard error.

    Attributes:
        value: the estimate.
        standard_error: standard deviation of `value` over repetitions. Where nothing else is said, with fresh draws and
            everything else (encodings, images, population) held fixed; 0.0 for a closed form, which draws nothing.
        count: number of terms averaged.
    """

    value: float
    standard_error: float
    count: int


def two_phase_error(value: Float[Tensor, " some"], part: Float[Tensor, " some"], n: int) -> float | None:
    """Standard error over examples of a mean over n, a part of which was measured for some (Cochran 1977, 12.9).

        mean_n(whole) - mean_some(part),    value = whole - part

    Args:
        value: of the examples for which both are known.
        part: of the same examples.
        n: number of examples whose whole is known.

    Returns:
        None for a single example.
    """
    m = len(value)
    if m < 2:
        return None
    return math.sqrt(value.var().item() / n + (1 / m - 1 / n) * part.var().item())

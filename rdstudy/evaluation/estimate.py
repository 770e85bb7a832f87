"""The record of an estimate: value, standard error, count."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

LEAST_TO_REGRESS = 20
"""Examples that a regression on two terms needs, so that its own bias is small beside the error."""


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


def regressed_mean(
    each: Sequence[float], terms: Sequence[Float[Tensor, " all"]], *, fitted: bool = True
) -> tuple[float, float | None]:
    """A mean over N examples of which m are known, by regression on terms that are known of all.

        1/m sum_m v_n + b . (1/N sum_N t_n - 1/m sum_m t_n),    Var = Var(v_n) / N + (1/m - 1/N) Var(v_n - b . t_n)

    The regression estimator of two-phase sampling (Cochran 1977, section 12.9). The slopes b are by least squares; for
    fewer than 20 examples they are 0, and the mean is that of the m.

    Args:
        each: v of the first m examples.
        terms: of all N.
        fitted: whether the slopes are fitted; else they are 1.

    Returns:
        The mean, and its standard error over examples; null for a single example.
    """
    import torch

    value, term = torch.tensor(each, dtype=torch.float64), torch.stack(list(terms), dim=1).cpu()
    m, n, k = len(value), len(term), term.shape[1]
    slopes, freedom = torch.full((k,), 0.0 if fitted else 1.0, dtype=term.dtype), m - 1
    if fitted and m >= LEAST_TO_REGRESS:
        centred = term[:m] - term[:m].mean(0)
        slopes = torch.linalg.lstsq(centred, (value - value.mean())[:, None], driver="gelsd").solution[:, 0]
        freedom = m - 1 - k
    predicted = term @ slopes
    difference = value - predicted[:m]
    mean = (predicted.mean() + difference.mean()).item()
    if m < 2:
        return mean, None
    left = (m - 1) / freedom * difference.var()
    return mean, math.sqrt(value.var() / n + (1 / m - 1 / n) * left)

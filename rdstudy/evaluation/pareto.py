"""The Pareto shape k-hat of the upper tail of importance weights (Vehtari et al. 2024).

Weights have finite moments below order 1/k. Above k = 1 their mean does not exist, and for k well below 1 the sample
variance of finitely many draws is already too small.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

FEWEST = 5
"""Smallest number of exceedances to which a tail is fitted."""


def tail_length(draws: int) -> int:
    """Number of the largest weights in the tail: min(draws / 5, 3 sqrt(draws)) (Vehtari et al. 2024)."""
    return math.ceil(min(0.2 * draws, 3 * math.sqrt(draws)))


def largest_reliable_shape(draws: int) -> float:
    """Largest k-hat that is reliable with this number of draws: min(1 - 1 / log10 draws, 0.7) (Vehtari et al. 2024)."""
    return min(1 - 1 / math.log10(draws), 0.7) if draws > 1 else -math.inf


def pareto_shape(log_weights: Float[Tensor, "*examples largest"]) -> Float[Tensor, "*examples"]:
    """Shape k-hat of a generalized Pareto distribution fitted to each example's largest weights.

    The profile-likelihood posterior mean of Zhang & Stephens 2009 (their k is -k here), shrunk towards 0.5 by
    a prior worth ten observations as in Vehtari et al. 2024.

    Args:
        log_weights: the largest log weights in nats, descending; the last is the threshold that the others exceed.

    Returns:
        k-hat per example, without unit; -inf if all weights are equal, inf if the tail is too short to fit.
    """
    n = log_weights.shape[-1] - 1
    if n < FEWEST:
        return log_weights.new_full(log_weights.shape[:-1], math.inf)
    weights = (log_weights - log_weights[..., :1]).exp()
    excess = (weights[..., :-1] - weights[..., -1:]).flip(-1)  # ascending
    equal = excess[..., -1] <= 1e-12  # nothing but rounding
    excess = torch.where(equal[..., None], torch.ones_like(excess), excess.clamp(min=1e-300))
    points = 30 + int(math.sqrt(n))
    grid = torch.arange(1, points + 1, dtype=excess.dtype, device=excess.device)
    quartile = excess[..., int(n / 4 + 0.5) - 1, None]
    theta = 1 / excess[..., -1:] + (1 - (points / (grid - 0.5)).sqrt()) / (3 * quartile)
    shape = (-theta[..., None] * excess[..., None, :]).log1p().mean(-1)
    profile = (n * ((-theta / shape).log() - shape - 1)).nan_to_num(nan=-math.inf)  # 0 / 0 where theta is 0
    theta = (profile.softmax(-1) * theta).sum(-1, keepdim=True)
    shape = (-theta * excess).log1p().mean(-1)
    shape = (n * shape + 10 * 0.5) / (n + 10)
    return shape.masked_fill(equal, -math.inf)

"""Variances from few seeds, moderated over the settings of a study (empirical Bayes; Smyth 2004).

    s~^2 = (d0 s0^2 + d s^2) / (d0 + d),    degrees of freedom d0 + d

The prior variance s0^2 of each point (a beta) and the prior degrees of freedom d0 of all points are fitted to the
variances of all settings by matching the mean and the variance of their logarithms. Settings that are alike lend each
other nearly all of their degrees of freedom; settings that differ lend none.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Shaped
from scipy.special import digamma, polygamma

_LEAST_VARIANCE = 1e-12  # nats squared: the logarithm of a variance of 0 would dominate every mean


def trigamma_inverse(values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """The y at which trigamma(y) equals each positive value, by Newton's method (Smyth 2004, appendix).

    >>> round(float(trigamma_inverse(np.array([np.pi**2 / 6]))[0]), 6)
    1.0
    """
    found = 0.5 + 1 / values
    for _ in range(50):
        trigamma = polygamma(1, found)
        step = trigamma * (1 - trigamma / values) / polygamma(2, found)
        found = found + step
        if np.max(-step / found, initial=0.0) < 1e-9:
            break
    return np.asarray(found)


def moderate(
    variances: Float[np.ndarray, "*studies settings points"], degrees: Shaped[np.ndarray, "*studies settings points"]
) -> tuple[Float[np.ndarray, "*studies settings points"], Float[np.ndarray, "*studies settings points"]]:
    """Moderated variances and their degrees of freedom.

    Args:
        variances: sample variances; entries with less than one degree of freedom are ignored and come back as NaN.
        degrees: degrees of freedom of each variance.

    Returns:
        The moderated variances, and their degrees of freedom: d0 + d, and no more than all settings have at that
        point. Where no point has two settings, what was given.
    """
    there = degrees >= 1
    d = np.where(there, degrees, 1).astype(np.float64)
    logs = np.log(np.maximum(np.where(there, variances, 1.0), _LEAST_VARIANCE)) - digamma(d / 2) + np.log(d / 2)
    count = there.sum(axis=-2, keepdims=True)
    mean = np.where(there, logs, 0.0).sum(axis=-2, keepdims=True) / np.maximum(count, 1)
    squares = np.where(there, (logs - mean) ** 2, 0.0).sum(axis=-2, keepdims=True)
    excess = squares / np.maximum(count - 1, 1) - np.where(there, polygamma(1, d / 2), 0.0).sum(
        axis=-2, keepdims=True
    ) / np.maximum(count, 1)
    several = count >= 2
    # One d0 for all points: the variance of a logarithm is too noisy an estimate at one point alone.
    points = several.sum(axis=-1, keepdims=True)
    excess = np.where(several, excess, 0.0).sum(axis=-1, keepdims=True) / np.maximum(points, 1)

    differ = excess > 0
    half = np.where(differ, trigamma_inverse(np.where(differ, excess, 1.0)), 1.0)
    pooled_degrees = np.where(there, d, 0.0).sum(axis=-2, keepdims=True)
    pooled = np.where(there, d * variances, 0.0).sum(axis=-2, keepdims=True) / np.maximum(pooled_degrees, 1)
    prior = np.where(differ, np.exp(mean + digamma(half) - np.log(half)), pooled)
    weight = np.where(several, np.where(differ, 2 * half, np.inf), 0.0)
    finite = np.where(np.isfinite(weight), weight, 0.0)
    mixed = (finite * prior + d * np.where(there, variances, 0.0)) / (finite + d)
    moderated = np.where(np.isfinite(weight), mixed, pooled)
    found_degrees = np.minimum(weight + d, np.maximum(pooled_degrees, d))
    return np.where(there, moderated, np.nan), np.where(there, found_degrees, np.nan)

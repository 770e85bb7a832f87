"""Monotone cubic interpolation: between its points a curve passes no value that lies outside theirs."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def monotone_interpolation(
    at: Float[np.ndarray, " wanted"], x: Float[np.ndarray, " points"], y: Float[np.ndarray, " points"]
) -> Float[np.ndarray, " wanted"]:
    """Cubic Hermite interpolation with the slopes of Fritsch & Butland (1984), as PCHIP.

    Args:
        at: where; NaN is returned outside of the range of `x`, up to rounding.
        x, y: the points in any order; points with the same `x` are averaged, and those with a NaN left out.
    """
    there = np.isfinite(x) & np.isfinite(y)
    knots, index = np.unique(x[there], return_inverse=True)
    if not len(knots):
        return np.full(len(at), np.nan)
    heights = np.bincount(index, y[there]) / np.bincount(index)
    slack = 1e-9 * max(1.0, float(np.abs(knots).max()))
    inside = (at >= knots[0] - slack) & (at <= knots[-1] + slack)
    if len(knots) == 1:
        return np.where(inside, heights[0], np.nan)
    width = np.diff(knots)
    slopes = np.diff(heights) / width
    tangents = _tangents(width, slopes)
    clipped = np.clip(at, knots[0], knots[-1])
    k = np.clip(np.searchsorted(knots, clipped, side="right") - 1, 0, len(width) - 1)
    t = (clipped - knots[k]) / width[k]
    value = (
        heights[k] * (1 + 2 * t) * (1 - t) ** 2
        + width[k] * tangents[k] * t * (1 - t) ** 2
        + heights[k + 1] * t**2 * (3 - 2 * t)
        - width[k] * tangents[k + 1] * t**2 * (1 - t)
    )
    return np.where(inside, value, np.nan)


def _tangents(width: Float[np.ndarray, " gaps"], slopes: Float[np.ndarray, " gaps"]) -> Float[np.ndarray, " knots"]:
    if len(slopes) == 1:
        return np.repeat(slopes, 2)
    before, after = slopes[:-1], slopes[1:]
    weight = 2 * width[1:] + width[:-1], width[1:] + 2 * width[:-1]
    same = before * after > 0
    inner = np.zeros(len(before))
    harmonic = weight[0][same] / before[same] + weight[1][same] / after[same]
    inner[same] = (weight[0] + weight[1])[same] / harmonic
    ends = [_end(width[0], width[1], slopes[0], slopes[1]), _end(width[-1], width[-2], slopes[-1], slopes[-2])]
    return np.array([ends[0], *inner, ends[1]])


def _end(width: float, next_width: float, slope: float, next_slope: float) -> float:
    """Slope at an end from its three points, limited so that the curve stays monotone."""
    tangent = ((2 * width + next_width) * slope - width * next_slope) / (width + next_width)
    if tangent * slope <= 0:
        return 0.0
    if slope * next_slope <= 0 and abs(tangent) > 3 * abs(slope):
        return 3 * slope
    return float(tangent)

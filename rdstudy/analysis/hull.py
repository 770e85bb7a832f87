"""The plane of rate and distortion: which points are dominated, which lie on the lower hull, and how much
they cover.

Less of both is better. A code may be drawn from two models at random, so everything on a line between two
points is reachable too: the lower convex hull, not the staircase, is the frontier (Berger 1971, section 2.3).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float


def dominated(
    rate: Float[np.ndarray, " points"], distortion: Float[np.ndarray, " points"]
) -> Bool[np.ndarray, " points"]:
    """Points for which another has no more of either and less of one. A NaN neither dominates nor is.

    >>> dominated(np.array([1.0, 2.0, 3.0]), np.array([3.0, 4.0, 1.0])).tolist()
    [False, True, False]
    """
    no_more = (rate[:, None] <= rate) & (distortion[:, None] <= distortion)
    less = (rate[:, None] < rate) | (distortion[:, None] < distortion)
    return np.asarray((no_more & less).any(axis=0))


def lower_hull(
    rate: Float[np.ndarray, " points"], distortion: Float[np.ndarray, " points"]
) -> Bool[np.ndarray, " points"]:
    """Corners of the lower left convex hull: the points that minimise D + beta R for some beta >= 0.

    Of equal points the first is taken; NaNs are never on the hull.

    >>> lower_hull(np.array([0.0, 1.0, 2.0]), np.array([4.0, 3.0, 0.0])).tolist()  # the second lies above the line
    [True, False, True]
    """
    on_hull = np.zeros(len(rate), dtype=bool)
    finite = np.flatnonzero(np.isfinite(rate) & np.isfinite(distortion))
    chain: list[int] = []
    for point in finite[np.lexsort((distortion[finite], rate[finite]))].tolist():
        if chain and distortion[point] >= distortion[chain[-1]]:
            continue  # more rate and no less distortion
        while len(chain) > 1 and not _turns_left(chain[-2], chain[-1], point, rate, distortion):
            chain.pop()
        chain.append(point)
    on_hull[chain] = True
    return on_hull


def _turns_left(a: int, b: int, c: int, x: np.ndarray, y: np.ndarray) -> bool:
    return bool((x[b] - x[a]) * (y[c] - y[a]) - (y[b] - y[a]) * (x[c] - x[a]) > 0)


def hypervolume(
    rate: Float[np.ndarray, " points"],
    distortion: Float[np.ndarray, " points"],
    reference: tuple[float, float],
) -> float:
    """Area between the lower hull and a reference point, in nats squared: larger is better.

    The area of all (r, d) with r <= reference rate and d <= reference distortion that lie above the hull or
    to the right of its end (Zitzler & Thiele 1999, on the hull instead of the staircase). NaN without a
    finite point.

    >>> hypervolume(np.array([0.0, 2.0]), np.array([4.0, 0.0]), reference=(2.0, 4.0))  # half a rectangle
    4.0
    """
    return float(hypervolumes(rate[None], distortion[None], reference)[0])


def hypervolumes(
    rate: Float[np.ndarray, "draws points"],
    distortion: Float[np.ndarray, "draws points"],
    reference: tuple[float, float],
) -> Float[np.ndarray, " draws"]:
    """`hypervolume` of many curves at once: walks along all hulls together, a corner a step (Jarvis 1973)."""
    finite = np.isfinite(rate) & np.isfinite(distortion)
    rate, distortion = np.where(finite, rate, np.inf), np.where(finite, distortion, np.inf)
    right, top = reference
    every = np.arange(len(rate))
    # The leftmost point, of several the lowest.
    lowest_left = np.where(rate == rate.min(axis=1, keepdims=True), distortion, np.inf)
    x, y = rate.min(axis=1), lowest_left.min(axis=1)
    area = np.zeros(len(rate))
    walking = np.isfinite(x)
    for _ in range(rate.shape[1]):
        ahead = (rate > x[:, None]) & (distortion < y[:, None]) & finite & walking[:, None]
        walking = ahead.any(axis=1)
        if not walking.any():
            break
        run = np.where(ahead, rate - x[:, None], 1.0)
        slope = np.where(ahead, np.where(ahead, distortion, 0.0) - np.where(walking, y, 0.0)[:, None], np.inf) / run
        steepest = np.argmin(slope, axis=1)
        following_x = np.where(walking, rate[every, steepest], x)
        following_y = np.where(walking, distortion[every, steepest], y)
        area += np.where(walking, _above_segment(x, following_x, y, following_y, right, top), 0.0)
        x, y = following_x, following_y
    there = np.isfinite(x)
    tail = np.where(there, right - x, 0.0).clip(min=0) * np.where(there, top - y, 0.0).clip(min=0)
    return np.where(finite.any(axis=1), area + tail, np.nan)


def _above_segment(
    x0: np.ndarray, x1: np.ndarray, y0: np.ndarray, y1: np.ndarray, right: float, top: float
) -> np.ndarray:
    """Area above the falling segments, under `top` and left of `right`."""
    fall = np.where(y0 > y1, y0 - y1, 1.0)
    run = np.where(x1 > x0, x1 - x0, 1.0)
    start = np.where(y0 > top, x0 + run * (y0 - top) / fall, x0)  # where the segment comes under the top
    end = np.minimum(x1, right)
    at_start, at_end = (top - (y0 - fall * (at - x0) / run) for at in (start, end))
    inside = (end > start) & (y1 < top)
    return np.where(inside, (end - start) * (at_start + at_end) / 2, 0.0)

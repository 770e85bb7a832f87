"""Points so far from all others that an axis would show nothing else: left out of it, and named at its edge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from rdstudy.report.figures.drawable import finite

MAX_LEFT_OUT = 0.1
"""Share of the points that may be left out."""
STRETCH = 3.0
"""They are left out if, with them, the others would have less than one third of the axis."""
MARGIN = 0.08


def limits(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Ends of an axis on which these values can be told apart; 0 and 1 if there are none.

    >>> limits([1.0, 2.0, 3.0])
    (0.84, 3.16)
    >>> limits(np.append(np.arange(1, 12), 500))  # the last one alone would take 98% of the axis
    (0.2, 11.8)
    """
    numbers = np.sort(np.asarray(values, dtype=np.float64))
    numbers = numbers[finite(numbers)]
    if len(numbers) == 0:
        return 0.0, 1.0
    low, high = _kept(numbers)
    margin = MARGIN * (high - low) or 1.0
    return round(low - margin, 12), round(high + margin, 12)


def _kept(ordered: np.ndarray) -> tuple[float, float]:
    """The first and last of the values that are shown: as many as possible."""
    low, high = float(ordered[0]), float(ordered[-1])
    for left_out in range(1, int(len(ordered) * MAX_LEFT_OUT) + 1):
        for below in range(left_out + 1):
            first, last = float(ordered[below]), float(ordered[below - left_out - 1])
            if 0 < STRETCH * (last - first) < high - low:
                return first, last
    return low, high


def leave_out_far_points(axes: Axes, values: np.ndarray) -> None:
    """Shorten the vertical axis if some of these values are too far from the others; else leave it as it is."""
    low, high = limits(values)
    numbers = values[finite(values)]
    if ((numbers < low) | (numbers > high)).any():
        axes.set_ylim(low, high)


def name_far_points(axes: Axes, x: np.ndarray, y: np.ndarray, colour: str, top: float | None = None) -> None:
    """Write at the axes' edge what lies beyond it: an arrow and the value, in the colour of the curve.

    Args:
        axes: with its final limits.
        x, y: the points.
        colour: of their curve.
        top: the upper edge, where the panel has something above it.
    """
    left, right = sorted(axes.get_xlim())
    bottom, edge = axes.get_ylim()
    top = edge if top is None else top
    for across, up in zip(x, y, strict=True):
        beyond = [f"{arrow} {up:,.0f}" for arrow, far in (("\u25b2", up > top), ("\u25bc", up < bottom)) if far]
        beyond += [
            f"{arrow} {across:,.0f}" for arrow, far in (("\u25b6", across > right), ("\u25c0", across < left)) if far
        ]
        if not beyond:
            continue
        at = float(np.clip(across, left, right)), float(np.clip(up, bottom, top))
        on_the_left, below = axes.transAxes.inverted().transform(axes.transData.transform(at)) < 0.5
        axes.annotate(
            " ".join(beyond),
            at,
            (2 if on_the_left else -2, 2 if below else -2),
            textcoords="offset points",
            ha="left" if on_the_left else "right",
            va="bottom" if below else "top",
            color=colour,
            fontsize=6,
        )

"""Which points can be drawn: finite, and small enough for an axis. The others are dropped and counted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

MAX_NATS = 1e9
"""Larger values overflow the arithmetic of an axis, and no model has them."""


def finite(values: pd.Series | np.ndarray) -> np.ndarray:
    """Which values are finite and at most `MAX_NATS` in size; a null is not."""
    if isinstance(values, pd.Series):
        values = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    numbers = np.asarray(values, dtype=np.float64)
    return np.isfinite(numbers) & (np.abs(numbers) <= MAX_NATS)


def drawable(frame: pd.DataFrame, needed: Sequence[str]) -> tuple[pd.DataFrame, int]:
    """The rows that can be drawn, and how many others there are.

    Args:
        frame: the points.
        needed: columns without which a point has no place.
    """
    kept = np.ones(len(frame), dtype=bool)
    for name in needed:
        kept &= finite(frame[name])
    return frame[kept], int(len(frame) - kept.sum())


def dropped_note(count: int) -> list[Line2D]:
    """A line of the legend that counts the points that are not drawn; none where all are."""
    if not count:
        return []
    label = f"{count} point{'' if count == 1 else 's'} not drawn (not finite)"
    return [Line2D([], [], linestyle="none", label=label)]


def ends(points: pd.DataFrame, stem: str) -> tuple[np.ndarray, np.ndarray]:
    """Low and high end of each point's interval, as floats; NaN where it cannot be drawn."""
    low, high = (points[f"{stem}_{end}"].to_numpy(dtype=np.float64) for end in ("low", "high"))
    return np.where(finite(low), low, np.nan), np.where(finite(high), high, np.nan)

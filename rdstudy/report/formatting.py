"""How numbers are written."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import pandas as pd

NOTHING = "\u2013"

_MAX_PLAIN = 1e6


def number(value: float | None) -> str:
    """One decimal, a real minus sign, and no minus before 0.0; from a million on in scientific notation."""
    if pd.isna(value):
        return NOTHING
    text = f"{round(value, 1) + 0.0:.1f}" if abs(value) < _MAX_PLAIN else f"{value:.3g}"
    return text.replace("-", "\u2212")


def short(value: float | None) -> str:
    """Three significant digits."""
    return NOTHING if pd.isna(value) else f"{value:.3g}"


def share(value: float | None) -> str:
    """A whole percentage."""
    return NOTHING if pd.isna(value) else f"{value:.0%}"


def interval(row: pd.Series, stem: str) -> str:
    """ "78.1 (77.8 to 78.4)", or the mean alone where there is no interval."""
    mean, low, high = row[f"{stem}_nats"], row[f"{stem}_low"], row[f"{stem}_high"]
    if pd.isna(low):
        return number(mean)
    return f"{number(mean)} ({number(low)} to {number(high)})"


def beta_range(low: float, high: float) -> str:
    """ "1 to 0.7", from large to small; an end of 0 or infinity lies outside the grid."""
    if math.isnan(low):
        return NOTHING
    if low == high:
        return {0.0: "never", float("inf"): "everywhere"}.get(float(low), short(low))
    if low == 0:
        return "any, or never" if high == float("inf") else f"{short(high)} or less, or never"
    return f"{short(low)} or more" if high == float("inf") else f"{short(high)} to {short(low)}"


def in_units(text: str, unit: str) -> str:
    """The text with its seeds called what they are: `seeds`, `data seeds` or `replicates`.

    >>> in_units("Within a seed, over 3 seeds.", "data seeds")
    'Within a data seed, over 3 data seeds.'
    """
    return re.sub(r"\bseed(?=s?\b)", unit.removesuffix("s"), text)


def joined(parts: Sequence[str]) -> str:
    """The parts as an enumeration.

    >>> joined(["a", "b", "c"])
    'a, b and c'
    """
    return "".join(parts) if len(parts) < 2 else ", ".join(parts[:-1]) + " and " + parts[-1]

"""Which settings a figure shows, and how they are named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import pandas as pd

from rdstudy.analysis import SETTING, setting_label, varying
from rdstudy.storage.schema import TEST

MAX_PANELS = 6
MAX_MINOR_PANELS = 3  # of figures that repeat another by a second criterion
MAX_SETTINGS = 3  # of figures that show one setting a panel

Item = TypeVar("Item")


def settings_of(frame: pd.DataFrame, names: Sequence[str] | None = None) -> list[tuple[str, pd.DataFrame]]:
    """The rows of each setting with its label, of these columns; None: those in which the settings differ."""
    if frame.empty:
        return []
    names = varying(frame) if names is None else names
    groups = frame.groupby(list(SETTING), dropna=False, sort=True)
    return [(setting_label(rows.iloc[0], names), rows) for _, rows in groups]


def same_setting(frame: pd.DataFrame, row: pd.Series, names: Sequence[str] = SETTING) -> pd.DataFrame:
    """The rows that agree with `row` in the columns `names`; null agrees with null."""
    same = np.ones(len(frame), dtype=bool)
    for name in names:
        value = row[name]
        same &= frame[name].isna().to_numpy() if pd.isna(value) else (frame[name] == value).to_numpy(dtype=bool)
    return frame[same]


def curve_text(rows: pd.DataFrame, name: str) -> str:
    """First, least and last value of every test curve, from the largest beta to the smallest."""
    texts = []
    names = varying(rows)
    points = rows[(rows["population"] == TEST) & rows[name].notna()]
    for _, curve in points.groupby(list(SETTING), dropna=False, sort=True):
        curve = curve.sort_values("beta", ascending=False)
        best = curve.iloc[int(np.argmin(curve[name].to_numpy(dtype=np.float64)))]
        label = setting_label(curve.iloc[0], names)
        text = f"{label + ': ' if label else ''}on the test set {curve[name].iloc[0]:.5g} nats at beta = "
        text += f"{curve['beta'].iloc[0]:g}"
        if len(curve) > 1:
            text += f", least {best[name]:.5g} at {best['beta']:g}, "
            text += f"{curve[name].iloc[-1]:.5g} at {curve['beta'].iloc[-1]:g}"
        texts.append(f"{text}.")
    return " ".join(texts)


def of(title: str) -> str:
    """The panel's title as a part of a sentence."""
    return f", {title}" if title else ""


def evenly(items: Sequence[Item], most: int) -> list[Item]:
    """The items, or so many of them, evenly spread from the first to the last."""
    if len(items) <= most:
        return list(items)
    return [items[k] for k in np.linspace(0, len(items) - 1, most).round().astype(int)]


def left_out(there: int, most: int, what: str) -> str:
    """A sentence that says how many of the panels are drawn, where not all are; with the space before it."""
    if there <= most:
        return ""
    return f" {most} of {there} {what} are drawn, spread evenly; the tables beside this page have all."

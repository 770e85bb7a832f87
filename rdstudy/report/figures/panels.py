"""How settings are spread over panels and colours: difficulty makes panels, capacity makes colours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rdstudy.analysis.replicates import SETTING, setting_label, varying
from rdstudy.report.figures.style import COLOURS, MARKERS

CAPACITY = ("depth", "width", "latent_dim")
MAX_CURVES = len(COLOURS)


@dataclass(frozen=True)
class Mark:
    """What one curve looks like in every panel of a figure."""

    colour: str
    marker: str
    label: str


Capacity = tuple[object, ...]
Marks = Mapping[Capacity, Mark]


@dataclass(frozen=True)
class Panels:
    """The panels of a figure, title -> rows, and one look for each capacity."""

    rows: Mapping[str, pd.DataFrame]
    marks: Marks


def panels(frame: pd.DataFrame) -> Panels:
    """Spread the rows over panels so that no panel has more curves than there are colours.

    Capacity (depth, width, latent dimension) is told by colour as long as six colours suffice; latent
    dimension, then width, then depth become panels of their own where they do not. Every other column that
    varies makes panels.
    """
    if frame.empty:
        return Panels({}, {})
    different = varying(frame)
    by_colour = [name for name in CAPACITY if name in different]
    while len(_distinct(frame, by_colour)) > MAX_CURVES:
        by_colour.pop()
    by_panel = [name for name in different if name not in by_colour]
    looks = [_capacity(row, by_colour) for _, row in _distinct(frame, by_colour).iterrows()]
    marks = {}
    for _, row in _distinct(frame, list(CAPACITY)).iterrows():
        k = looks.index(_capacity(row, by_colour))
        marks[_capacity(row)] = Mark(COLOURS[k], MARKERS[k], setting_label(row, by_colour))
    if not by_panel:
        return Panels({"": frame}, marks)
    groups = frame.groupby(by_panel, dropna=False, sort=True)
    return Panels({setting_label(rows.iloc[0], by_panel): rows for _, rows in groups}, marks)


def curves(frame: pd.DataFrame, marks: Marks | None = None) -> Iterator[tuple[Mark, pd.DataFrame]]:
    """The curves of one panel, each with its look; without `marks` the panel chooses them."""
    if frame.empty:
        return
    names = varying(frame)
    for k, (_, rows) in enumerate(frame.groupby(list(SETTING), dropna=False, sort=True)):
        alone = Mark(COLOURS[k % MAX_CURVES], MARKERS[k % MAX_CURVES], setting_label(rows.iloc[0], names))
        yield (marks or {}).get(_capacity(rows.iloc[0]), alone), rows


def _distinct(frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    if not names:
        return frame.head(1)
    return frame.drop_duplicates(names).sort_values(names)


def _capacity(row: Mapping[str, Any] | pd.Series, names: Sequence[str] = CAPACITY) -> Capacity:
    return tuple(None if pd.isna(row[name]) else row[name] for name in names)

"""Which curves of a study are compared with the published figure.

The figure's data set is Tetrominoes, its networks have one and three hidden layers. What else determines a cell is a
*setup*; its curves by split and depth are compared together. Only setups with the most training images count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from rdstudy.analysis.published.curves import DEPTHS
from rdstudy.analysis.replicates import SEEDS, SETTING, Replicates

SETUP = tuple(name for name in SETTING if name not in ("split", "depth"))
"""Columns that name a setup."""

CHECKERBOARD, RANDOM = "checkerboard", "random"


@dataclass(frozen=True)
class Setup:
    """The curves of one setup by (split, depth)."""

    names: Mapping[str, object]
    curves: Mapping[tuple[str, int], Replicates]

    def values(self, split: str, depth: int, population: str, quantity: str = "distortion_nats") -> pd.DataFrame:
        """One quantity, rows by seed, columns by beta without those that were never measured; empty without cells."""
        return by_replicate(self.cells(split, depth, population, quantity))

    def cells(self, split: str, depth: int, population: str, quantity: str = "distortion_nats") -> pd.DataFrame:
        """The same with a row for every cell of a data seed, where data seeds are the replicates."""
        curve = self.curves.get((split, depth))
        if curve is None:
            return pd.DataFrame()
        values = curve.cells(population, quantity)
        rows = pd.MultiIndex.from_product([curve.seeds, range(values.shape[1])])
        frame = pd.DataFrame(values.reshape(-1, values.shape[2]), index=rows, columns=curve.betas)
        return frame.dropna(axis="columns", how="all")

    @property
    def unit(self) -> str:
        """What the replicates are."""
        return next((curve.unit for curve in self.curves.values()), SEEDS)


def by_replicate(cells: pd.DataFrame) -> pd.DataFrame:
    """Mean over the cells of each replicate that have a value.

    Args:
        cells: rows by replicate and cell.
    """
    found: pd.DataFrame = cells if cells.empty else cells.groupby(level=0).mean()
    return found


def setups(settings: Sequence[Replicates]) -> list[Setup]:
    """The setups of a study that can be compared, in the order of their settings."""
    usable = [
        setting
        for setting in settings
        if setting.setting["dataset"] == "tetrominoes"
        and setting.setting["split"] in (CHECKERBOARD, RANDOM)
        and setting.setting["depth"] in DEPTHS.values()
    ]
    most = max((setting.setting["train_size"] or 0 for setting in usable), default=0)
    found: dict[tuple[object, ...], dict[tuple[str, int], Replicates]] = {}
    for setting in usable:
        if (setting.setting["train_size"] or 0) == most:
            given = (setting.setting[name] for name in SETUP)
            key = tuple(None if pd.isna(value) else value for value in given)  # a NaN is not equal to itself
            found.setdefault(key, {})[str(setting.setting["split"]), int(setting.setting["depth"])] = setting
    return [Setup(dict(zip(SETUP, key, strict=True)), curves) for key, curves in found.items()]

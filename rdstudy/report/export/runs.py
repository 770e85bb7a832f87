"""What other tools call a run: one cell with its settings, its learning curve and its final values."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rdstudy.report.cells import AXES, list_cells, varying_axes
from rdstudy.storage.lists import column_of, spread_lists
from rdstudy.storage.paths import StoragePath
from rdstudy.storage.schema import FAILED, STOPPED
from rdstudy.storage.table import load_measurements
from rdstudy.study import Cell
from rdstudy.study.measures import measured_columns

MEASURED = frozenset(column.name for column in measured_columns())


@dataclass(frozen=True)
class Point:
    """A value at a training step."""

    name: str
    """`POPULATION/COLUMN`, such as `test/distortion_nats`; `POPULATION/COLUMN.K` for entry K of a list."""
    step: int
    value: float
    seconds: float
    """When it was made, since 1970."""


@dataclass(frozen=True)
class Run:
    """One cell as another tool's run."""

    cell_id: str
    label: str
    """What tells it from the others, with the first digits of its id: `beta=0.1,seed=0,1f2e3d4c`."""
    status: str
    message: str | None
    settings: Mapping[str, object]
    points: tuple[Point, ...]
    """By step; no value that is null."""

    @property
    def final(self) -> dict[str, float]:
        """The last value of each curve: what stands at the final step. None of a cell that was stopped early."""
        if self.status == STOPPED:
            return {}
        return {point.name: point.value for point in self.points}


def runs_of(planned: Mapping[str, Cell], results: StoragePath) -> list[Run]:
    """The runs of a study's cells that are in the table, in the grid's order.

    Where a cell was measured more than once at a step, the latest value counts.
    """
    cells = list_cells(planned, results)
    axes = varying_axes(cells)
    table = spread_lists(load_measurements(results))
    table = table[table["status"] != FAILED].sort_values(["step", "finished_at"], kind="stable")
    rows = dict(iter(table.groupby("cell_id", sort=False)))
    runs = []
    for cell in cells.to_dict("records"):
        mine = rows.get(cell["cell_id"])
        if mine is None and cell["status"] != FAILED:
            continue
        named = ",".join(f"{axis}={_word(cell[axis])}" for axis in axes)
        label = ",".join(filter(None, [named, cell["cell_id"][:8]]))
        message = cell["message"] if isinstance(cell["message"], str) else None
        settings = {name: _setting(cell[name]) for name in AXES}
        points = () if mine is None else _points(mine)
        runs.append(Run(cell["cell_id"], label, cell["status"], message, settings, points))
    return runs


def _points(rows: pd.DataFrame) -> tuple[Point, ...]:
    latest: dict[tuple[str, int], Point] = {}
    for row in rows.to_dict("records"):
        made = row["finished_at"]
        seconds = made.timestamp() if isinstance(made, dt.datetime) and made == made else 0.0
        for column, value in zip(map(str, row), row.values(), strict=True):
            if column_of(column) not in MEASURED:
                continue
            if value is None or pd.isna(value) or not math.isfinite(value):
                continue
            name = f"{row['population']}/{column}"
            latest[name, row["step"]] = Point(name, int(row["step"]), float(value), float(seconds))
    return tuple(sorted(latest.values(), key=lambda point: point.step))


def _setting(value: Any) -> Any:
    """A setting as tools have it; one that is not set is None."""
    return None if value is None or pd.isna(value) else value


def _word(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).replace("/", "-")

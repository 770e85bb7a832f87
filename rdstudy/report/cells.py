"""A study's cells one by one: how each stands, and what it gave.

    planned cells + table -> a row per cell -> those that were asked for

Needs neither torch nor Ray.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rdstudy.analysis import cells as standing_in_table
from rdstudy.analysis import final_measurements
from rdstudy.data.split_spec import parse_split
from rdstudy.errors import UserError
from rdstudy.storage.paths import StoragePath
from rdstudy.storage.schema import DIVERGED, FAILED, OK, PROVENANCE, STOPPED, TEST, TRAIN
from rdstudy.storage.table import load_measurements
from rdstudy.study import Cell
from rdstudy.study.measures import measured_columns

MISSING = "missing"
STATUSES = (OK, DIVERGED, FAILED, STOPPED, MISSING)
"""How a cell may stand. One that failed will be tried again by the next run, and one that a search stopped early will
be trained where another study asks for it: neither is counted as missing here."""
AXES = tuple(field.name for field in dataclasses.fields(Cell))
FINAL = tuple(f"{population}_{value}" for value in ("distortion_nats", "rate_nats") for population in (TRAIN, TEST))
"""Final values in a list: `train_distortion_nats test_distortion_nats train_rate_nats test_rate_nats`."""
MAX_NAMED = 8

_TEXT = {field.name for field in dataclasses.fields(Cell) if field.type == "str"}
_COMPARISONS = {"=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt}
_COMPARISONS[">="] = operator.ge


def list_cells(planned: Mapping[str, Cell], results: StoragePath) -> pd.DataFrame:
    """One row per planned cell, in the grid's order.

    Returns:
        `cell_id`; `status`, one of `STATUSES`; `message`, what went wrong, or why it was stopped; the columns of
        `AXES`; and those of `FINAL`, NaN where nothing was measured.
    """
    names = ["cell_id", "step", "is_final", "population", "evaluation_id", "status", "message", "beta", "seed"]
    values = ["n_examples", "distortion_nats", "rate_nats", "elbo_nats", "finished_at"]
    table = load_measurements(results, columns=[*names, *values])
    table = table[table["is_final"].astype(bool)]
    settings = [
        {"cell_id": cell_id, **{name: getattr(cell, name) for name in AXES}} for cell_id, cell in planned.items()
    ]
    cells = pd.DataFrame(settings, columns=["cell_id", *AXES]).set_index("cell_id")
    known = standing_in_table(table).set_index("cell_id")[["status", "message"]]
    final = final_measurements(table).set_index(["population", "cell_id"])
    cells.insert(0, "status", known["status"].reindex(cells.index).fillna(MISSING))
    cells.insert(1, "message", known["message"].reindex(cells.index))
    for name in FINAL:
        population, _, value = name.partition("_")
        of_population = final[value][final.index.get_level_values("population") == population]
        cells[name] = of_population.droplevel("population").reindex(cells.index).astype(np.float64)
    return cells.reset_index()


def varying_axes(cells: pd.DataFrame) -> list[str]:
    """The axes that take more than one value; not the steps, where they only follow from the train size."""
    names = [name for name in AXES if cells[name].nunique(dropna=False) > 1]
    if {"steps", "train_size"} <= set(names) and cells.groupby("train_size")["steps"].nunique().max() == 1:
        names.remove("steps")
    return names


def select(cells: pd.DataFrame, where: Iterable[str] = (), statuses: Iterable[str] = ()) -> pd.DataFrame:
    """The cells for which every condition holds; conditions `KEY=VALUE` of the same key are alternatives.

    Args:
        cells: what `list_cells` returns.
        where: such as `depth=3`, `beta<=0.1`, `split!=random`, or `test_distortion_nats<100`.
        statuses: of these only.

    Raises:
        UserError: a condition that cannot be understood, or a value that no cell has.
    """
    unknown = [status for status in statuses if status not in STATUSES]
    if unknown:
        raise UserError(f"--status {unknown[0]}: there is no such status; allowed: {', '.join(STATUSES)}")
    alternatives: dict[str, pd.Series] = {}
    chosen = pd.Series(True, index=cells.index)
    for condition in where:
        key, sign, holds = _condition(cells, condition)
        if sign == "=":
            alternatives[key] = alternatives[key] | holds if key in alternatives else holds
        else:
            chosen &= holds
    for holds in alternatives.values():
        chosen &= holds
    statuses = list(statuses)
    if statuses:
        chosen &= cells["status"].isin(statuses)
    return cells[chosen]


def _condition(cells: pd.DataFrame, condition: str) -> tuple[str, str, pd.Series]:
    match = re.fullmatch(r"\s*(\w+)\s*(<=|>=|!=|=|<|>)\s*(.*?)\s*", condition)
    if match is None:
        raise UserError(f"--where {condition}: expected KEY=VALUE, or one of != < <= > >= instead of =")
    key, sign, text = match.groups()
    _check_key("--where", key)
    column = cells[key]
    if key in _TEXT:
        if sign not in ("=", "!="):
            raise UserError(f"--where {condition}: {key} is a word; allowed are = and !=")
        if key == "split":
            with contextlib.suppress(ValueError):  # said below, with the splits there are
                text = str(parse_split(text))
        holds = column == text if sign == "=" else column != text
        equal = column == text
    else:
        try:
            number = float(text)
        except ValueError:
            raise UserError(f"--where {condition}: {key} is a number; found {text!r}") from None
        numbers = column.astype(np.float64)
        equal = pd.Series(np.isclose(numbers, number, rtol=1e-9, atol=0.0), index=cells.index)
        strictly = _COMPARISONS[sign](numbers, number)
        holds = {"=": equal, "!=": ~equal, "<=": strictly | equal, ">=": strictly | equal}.get(sign, strictly & ~equal)
    if sign == "=" and key in AXES and not equal.any() and len(cells):
        raise UserError(f"--where {condition}: no cell of this study has it; its {key} is {_values(column)}")
    return key, sign, holds


def _check_key(option: str, key: str) -> None:
    allowed = (*AXES, *FINAL)
    if key not in allowed:
        near = difflib.get_close_matches(key, allowed, n=1)
        guess = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"{option} {key}: there is no such column; allowed: {', '.join(allowed)}{guess}")


def _values(column: pd.Series) -> str:
    values = sorted(column.dropna().unique())
    shown = [f"{value:g}" if isinstance(value, float) else str(value) for value in values[:MAX_NAMED]]
    more = f" and {len(values) - MAX_NAMED} more" if len(values) > MAX_NAMED else ""
    return (", ".join(shown) or "not set") + more


def ordered(cells: pd.DataFrame, by: str) -> pd.DataFrame:
    """The cells sorted by a column, largest first if its name is given with a leading `-`; NaN last.

    Raises:
        UserError: there is no such column.
    """
    key = by.removeprefix("-")
    if key not in ("cell_id", "status"):
        _check_key("--sort", key)
    return cells.sort_values(key, ascending=not by.startswith("-"), kind="stable", na_position="last")


def find_cell(ids: Iterable[str], prefix: str) -> str:
    """The one id that begins with these digits.

    Raises:
        UserError: there is none, or more than one.
    """
    found = sorted({cell_id for cell_id in ids if cell_id.startswith(prefix.lower())}) if prefix else []
    if len(found) == 1:
        return found[0]
    if not found:
        raise UserError(f"{prefix!r}: no cell's id begins with it; `rdstudy ls` lists the cells with their ids")
    shown = ", ".join(found[:MAX_NAMED]) + (" ..." if len(found) > MAX_NAMED else "")
    raise UserError(f"{prefix!r}: {len(found)} cells' ids begin with it: {shown}; give more digits")


@dataclass(frozen=True)
class CellRecord:
    """All that a results folder knows of one cell."""

    cell_id: str
    status: str
    message: str | None
    settings: dict[str, Any]
    curves: pd.DataFrame
    """`step population distortion_nats distortion_se rate_nats rate_se`, a row per evaluation in training."""
    final: pd.DataFrame
    """Its final rows, all columns of the table: one per population and evaluation."""
    provenance: dict[str, Any]
    """Of the pack that it was trained in, as far as it is known."""
    sheet: StoragePath | None
    """Stored reconstructions and samples."""
    weights: StoragePath | None


def cell_record(planned: Mapping[str, Cell], results: StoragePath, prefix: str) -> CellRecord:
    """What is known of the cell whose id begins with these digits; it is of the study, or at least in the table.

    Raises:
        UserError: no cell's id begins so, or more than one's does.
    """
    table = load_measurements(results)
    cell_id = find_cell([*planned, *table["cell_id"].unique()], prefix)
    rows = table[table["cell_id"] == cell_id]
    if cell_id in planned:
        settings = {name: getattr(planned[cell_id], name) for name in AXES}
    else:
        first = rows.iloc[0]
        settings = {name: first[name] for name in AXES if name in rows.columns}
    found = standing_in_table(rows)
    status = str(found["status"].iloc[0]) if len(found) else MISSING
    message = found["message"].iloc[0] if len(found) else None
    never_there = (rows["status"] == FAILED) | ((rows["status"] == STOPPED) & rows["is_final"].astype(bool))
    trained = rows[rows["pack_id"].notna() & ~never_there]
    names = ["step", "population", "distortion_nats", "distortion_se", "rate_nats", "rate_se"]
    curves = trained.drop_duplicates(["step", "population"])[names].reset_index(drop=True)
    made = (trained if len(trained) else rows).sort_values("step").tail(1)
    provenance = {name: made[name].iloc[0] if len(made) else None for name in PROVENANCE}
    return CellRecord(
        cell_id,
        status,
        message if isinstance(message, str) else None,
        settings,
        curves,
        rows[rows["is_final"].astype(bool)].reset_index(drop=True),
        provenance,
        _there(results / "sheets" / f"{cell_id}.npz"),
        _there(results / "models" / f"{cell_id}.safetensors"),
    )


def _there(path: StoragePath) -> StoragePath | None:
    return path if path.exists() else None


def final_values(row: pd.Series) -> dict[str, Any]:
    """The measured values of one row of the table, by column; null where it has none."""
    return {column.name: row[column.name] for column in measured_columns()}

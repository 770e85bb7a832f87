"""Warm start: a search begins with the table's finished cells that are in its space.

    search.json    their ids and a hash of the search; if missing, all finished cells that fit are used

So the cells of a grid inform a search, and cells trained later by other studies do not change its batches.
"""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from rdstudy.errors import UserError
from rdstudy.execution.search.outcome import COLUMNS, Outcome, outcomes
from rdstudy.execution.search.search import Search
from rdstudy.storage.files import atomic_write
from rdstudy.storage.paths import StoragePath
from rdstudy.storage.schema import OK, TEST
from rdstudy.storage.table import load_measurements
from rdstudy.study import Cell, Study
from rdstudy.study.axes import listed_axes
from rdstudy.study.hashing import digest
from rdstudy.study.renamed_keys import Record, with_old_keys
from rdstudy.study.search_section import Range

AXES = tuple(axis.name for axis in listed_axes() if axis.column)
RECORD = "search.json"


def load_outcomes(results: StoragePath) -> dict[str, Outcome]:
    """Outcomes of all cells in a results folder, which need not exist."""
    if not (results / "measurements").is_dir():
        return {}
    return outcomes(load_measurements(results, columns=list(COLUMNS)))


def begin(study: Study, results: StoragePath, *, record: bool = True) -> Search:
    """The study's search, with the cells known when it first began in this folder.

    Args:
        study: has a `search` section.
        results: the folder.
        record: write `search.json` if it is missing, and use the search's Optuna storage; False: write nothing.

    Raises:
        UserError: the record cannot be read, or the search's storage cannot be reached.
    """
    found = _fitting(study, results)
    path, course = results / RECORD, _course(study)
    known = [] if not found else sorted(found)
    recorded = _read(path)
    if recorded is not None and recorded.get("search") == course:
        known = [cell_id for cell_id in recorded["known"] if cell_id in found]
    elif record:
        text = json.dumps({"search": course, "known": known}, indent=1)
        atomic_write(path, lambda file: file.write(text.encode()))
    if not record:  # the storage may belong to a running search
        assert study.search is not None
        study = study.model_copy(update={"search": study.search.model_copy(update={"storage": None})})
    return Search(study, {cell_id: found[cell_id] for cell_id in known})


def _course(study: Study) -> str:
    """Hash of what determines the batches: without the stopping rule and the resources."""
    assert study.search is not None
    record = study.model_dump(mode="json", include={"dataset", "grid", "training", "search"})
    record["dataset"] = study.dataset.identity
    for name in ("stop_when", "storage", "group_by"):
        del record["search"][name]
    record["search"] = with_old_keys(record["search"])  # so that searches begun before the renaming resume
    if not study.search.stops_hopeless:
        del record["search"]["stop"]  # so that the hash equals that of versions without early stopping
    return digest(record, 8)


def _read(path: StoragePath) -> Record | None:
    try:
        record = json.loads(path.read_text())
        if isinstance(record, dict) and isinstance(record["known"], list):
            return record
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: cannot be read: {error}; remove it, and the search begins from the table") from error
    raise UserError(f"{path}: is damaged; remove it, and the search begins from the table")


def _fitting(study: Study, results: StoragePath) -> dict[str, tuple[Cell, Outcome]]:
    """Finished cells of the table that are in the search's space."""
    if not (results / "measurements").is_dir():
        return {}
    table = load_measurements(results, columns=[*COLUMNS, *AXES])
    rows = table[table["is_final"].astype(bool) & (table["population"] == TEST) & (table["status"] == OK)]
    observed, found = outcomes(table), {}
    for row in rows[["cell_id", *AXES]].drop_duplicates("cell_id").to_dict("records"):
        axes = {name: row[name] for name in AXES}
        if _fits(study, axes):
            cell = study.cell(**{name: _plain(value) for name, value in axes.items()})
            if cell.id == row["cell_id"]:
                found[cell.id] = (cell, observed[cell.id])
    return found


def _fits(study: Study, axes: Record) -> bool:
    spec = study.search
    assert spec is not None
    ranges: Record = dict(spec.space) if spec.space else {"beta": spec.beta}
    for name, value in axes.items():
        if name in ranges:
            span = ranges[name]
            if not (span.low <= value <= span.high if isinstance(span, Range) else value in span):
                return False
        elif name != "seed" and value not in study.values_of(name):
            return False
    return True


def _plain(value: Any) -> Any:
    """A Python value in place of a NumPy scalar."""
    return value.item() if hasattr(value, "item") and not isinstance(value, pd.Timestamp) else value

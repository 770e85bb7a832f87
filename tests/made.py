"""Results folders made without training: rows of chosen values for the cells of a study."""

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from rdstudy.execution.inputs import measured_populations
from rdstudy.storage.parts import to_arrow, write_part
from rdstudy.storage.schema import DIVERGED, FAILED, OK, Measurement
from rdstudy.study import Cell, Study

WHEN = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
WHY = {OK: None, DIVERGED: "not finite at step 40: [encoder/0]", FAILED: "ZeroDivisionError: poisoned, [1, 2] [/x] ü"}


def rows_of(study: Study, cell: Cell, status: str = OK, **changes: Any) -> list[Measurement]:
    """Rows of one cell: distortion 200 / step + beta, for test one more; rate 10 / beta."""
    hidden = ("dataset_size", "test_size", "validation_size", "steps")
    which = {field.name: getattr(cell, field.name) for field in fields(cell) if field.name not in hidden}
    made: dict[str, Any] = {"pack_id": "pack7", "pack_size": 4, "device": "cpu", "host": "höst", "seconds": 75.0}
    rows = []
    for step in [cell.steps] if status == FAILED else study.evaluation.steps_of(cell.steps):
        for test, population in enumerate(measured_populations(cell)):
            values: dict[str, Any] = {}
            if status == OK:
                values = {"distortion_nats": 200 / step + cell.beta + test, "distortion_se": 0.25, "n_examples": 20}
                values |= {"rate_nats": 10 / cell.beta, "rate_se": 0.5, "elbo_nats": -99.0, "elbo_se": 0.125}
            row: dict[str, Any] = {"study": study.name, "cell_id": cell.id, **which, "step": step, "epoch": 1.0}
            row |= {"is_final": step == cell.steps, "population": population, "status": status, "message": WHY[status]}
            row |= {"evaluation_id": study.evaluation.evaluation_id, "finished_at": WHEN, **made, **values, **changes}
            rows.append(Measurement(**row))
    return rows


def changed(row: Measurement, **columns: Any) -> Measurement:
    """The row with other values in these columns."""
    return replace(row, **columns)


def make_results(folder: Path, study: Study, statuses: Mapping[str, str]) -> Path:
    """A folder in which these cells (by id) have ended so, and the others are missing."""
    rows = []
    for cell_id, status in statuses.items():
        mine = rows_of(study, study.cells[cell_id], status)
        if status == FAILED:
            write_part(folder / "measurements" / f"failed-{cell_id}.parquet", to_arrow(mine))
        else:
            rows += mine
    write_part(folder / "measurements" / "pack7.parquet", to_arrow(rows))
    record = study.model_dump(mode="json") | {
        "n_cells": study.n_cells,
        "numerics": study.numerics,
        "data_fingerprint": "made",
    }
    (folder / "study.json").write_text(json.dumps(record))
    return folder


def make_sheet(folder: Path, cell_id: str) -> None:
    """Images of one cell, as training leaves them."""
    rng = np.random.default_rng(0)
    names = ("train_images", "train_reconstructions", "test_images", "test_reconstructions", "samples")
    (folder / "sheets").mkdir()
    images = {name: rng.integers(0, 256, (3, 5, 4, 1), dtype=np.uint8) for name in names}
    np.savez_compressed(folder / "sheets" / f"{cell_id}.npz", allow_pickle=False, **images)

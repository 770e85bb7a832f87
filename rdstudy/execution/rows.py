"""Rows of the table: the one place that makes a `Measurement` of a cell."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from rdstudy.evaluation.evaluate import Values
from rdstudy.execution.inputs import measured_populations
from rdstudy.storage.schema import FAILED, Measurement
from rdstudy.study import Cell, Study
from rdstudy.study.axes import AXES
from rdstudy.training.packs import Pack


def measured_row(
    study: Study, cell: Cell, *, step: int, population: str, values: Values, provenance: Mapping[str, Any]
) -> Measurement:
    """One row: what was measured of a cell at one step on one population.

    Args:
        study: the cell's study, which names the evaluation.
        cell: what was measured.
        step: training steps taken.
        population: `train`, `test` or `validation`.
        values: measured columns, status and message.
        provenance: columns that say how and where the row was made.
    """
    axes = {name: getattr(cell, name) for name, axis in AXES.items() if axis.column}
    return Measurement(
        study=study.name,
        cell_id=cell.id,
        **axes,
        numerics=cell.numerics,
        step=step,
        epoch=step * cell.batch_size / cell.train_size,
        is_final=step == cell.steps,
        population=population,
        evaluation_id=study.evaluation.evaluation_id,
        **values.columns,
        status=values.status,
        message=values.message,
        **provenance,
        finished_at=dt.datetime.now(dt.UTC),
    )


def empty_final_rows(
    study: Study, cell: Cell, status: str, message: str, provenance: Mapping[str, object]
) -> list[Measurement]:
    """Final rows without values, one for each population, of a cell that was not trained to its last step."""
    values = Values({}, status, message)
    return [
        measured_row(study, cell, step=cell.steps, population=population, values=values, provenance=provenance)
        for population in measured_populations(cell)
    ]


def failure_rows(study: Study, cell: Cell, pack: Pack, message: str) -> list[Measurement]:
    """Final rows of a cell that failed, with the error message."""
    return empty_final_rows(study, cell, FAILED, message, {"pack_id": pack.id, "pack_size": len(pack)})

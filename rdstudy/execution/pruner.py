"""Early stopping of cells that a search has no more use for: those above their limit at a measured step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rdstudy.execution.rows import empty_final_rows
from rdstudy.storage.schema import OK, STOPPED, TEST, VALIDATION, Measurement
from rdstudy.study import Cell, Study
from rdstudy.study.early_stopping import Limits, Measured, first_above


class Pruner:
    """Finds the cells of a pack whose values on the examples that choose a beta exceeded their limit."""

    def __init__(self, study: Study, limits: Mapping[str, Limits]) -> None:
        """
        Args:
            study: whose cells these are.
            limits: by cell id, the limits of the cells that may be stopped.
        """
        self.study, self.limits = study, limits

    def stopped_rows(
        self, cell: Cell, rows: Sequence[Measurement], provenance: Mapping[str, object]
    ) -> list[Measurement]:
        """The rows of a cell to be stopped: those up to the step that exceeded its limit, and empty final rows.

        Args:
            cell: a member of the pack.
            rows: all rows measured so far, of any cell.
            provenance: columns that say how and where the rows were made.

        Returns:
            No rows if the cell is to be trained further.
        """
        limits = self.limits.get(cell.id, {})
        own = [row for row in rows if row.cell_id == cell.id]
        population = VALIDATION if cell.validation_size else TEST
        learning_curve = {
            row.step: Measured(row.value("distortion_nats"), row.value("elbo_nats"))
            for row in own
            if row.population == population and row.status == OK and not row.is_final
        }
        step = first_above(learning_curve, limits)
        if step is None:
            return []
        reason = limits[step].reason(learning_curve[step], step, cell.steps, population)
        measured = [replace(row, status=STOPPED, message=reason) for row in own if row.step <= step]
        return [*measured, *empty_final_rows(self.study, cell, STOPPED, reason, provenance)]

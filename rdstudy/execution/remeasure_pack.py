"""Measures the stored weights of finished cells and stages the rows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from rdstudy.errors import UserError
from rdstudy.execution.evaluator import Evaluator
from rdstudy.execution.inputs import as_tensor, populations_of
from rdstudy.execution.protocols import PackProgress, RunContext
from rdstudy.execution.provenance import provenance
from rdstudy.storage.files import StorageError
from rdstudy.storage.paths import StoragePath
from rdstudy.storage.schema import OK, Measurement
from rdstudy.storage.table import stage_again
from rdstudy.storage.weights import read_model, weights_checksums
from rdstudy.training.packs import Pack

STAGE_SECONDS = 60.0
"""Rows are staged this often, so a machine that dies loses this much work and that of one cell."""


def remeasure_pack(pack: Pack, context: RunContext) -> Iterator[PackProgress]:
    """Measure the cells of a pack one after the other. A cell that fails is reported; the others are measured.

    Args:
        pack: finished cells with stored weights, of one data set.
        context: study (with the evaluation to be made), data, results folder and device.

    Raises:
        StorageError: the results folder cannot be written.
    """
    dataset = context.data.of(pack.cells[0].data_seed)
    images, checksums = as_tensor(dataset.images).to(context.device), weights_checksums(context.results)
    made_by = {**provenance(context.device, context.commit), "data_fingerprint": dataset.short_fingerprint}
    evaluator = Evaluator(context.study, images, lambda: made_by)
    started = staged_at = time.monotonic()
    rows: list[Measurement] = []

    def progress(
        done: int, cells: Sequence[str], staged: StoragePath | None = None, failure: str | None = None
    ) -> PackProgress:
        seconds, name = time.monotonic() - started, staged.name if staged else None
        return PackProgress(done, len(pack), tuple(cells), seconds, staged=name, failure=failure)

    all_populations = populations_of(dataset, pack.cells)
    for done, (cell, populations) in enumerate(zip(pack.cells, all_populations, strict=True), start=1):
        try:
            model = read_model(context.results, cell.id, checksums.get(cell.id)).to(context.device)
            measured = evaluator.rows(model, cell, populations, cell.steps)
            for row in measured:
                if row.status != OK:
                    raise UserError(row.message or row.status)
            rows += measured
        except StorageError:
            raise
        except (UserError, RuntimeError, MemoryError) as error:
            yield progress(done, [cell.id], failure=str(error).strip() or type(error).__name__)
        if rows and (done == len(pack) or time.monotonic() - staged_at > STAGE_SECONDS):
            cells = list(dict.fromkeys(row.cell_id for row in rows))
            yield progress(done, cells, staged=stage_again(context.results, rows))
            rows, staged_at = [], time.monotonic()
        elif done < len(pack):
            yield progress(done, [])

"""Finished cells measured again, by another evaluation, from their stored weights: nothing is trained.

stored weights + population -> measure -> staged rows, of another evaluation_id, beside those that are there
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rdstudy.errors import UserError
from rdstudy.evaluation.evaluate import measure
from rdstudy.execution.provenance import provenance
from rdstudy.execution.status import study_status
from rdstudy.execution.worker import Progress, RunContext, as_tensor, cell_columns, populations_of
from rdstudy.storage.files import StorageError
from rdstudy.storage.paths import StoragePath
from rdstudy.storage.schema import OK, Measurement
from rdstudy.storage.table import load_measurements, measured_cells, stage_again
from rdstudy.storage.weights import load_model, model_path
from rdstudy.study import Cell, Evaluation, Study
from rdstudy.study.sections import Examples
from rdstudy.training.packs import Pack

CELLS_AT_ONCE = 8
"""Cells that one worker is given at a time."""
STAGE_SECONDS = 60.0
"""At most this much work, and one cell's, is lost when a machine dies."""


def evaluation_again(
    study: Study,
    *,
    draws: int | None = None,
    examples: Examples | None = None,
    importance_samples: int | None = None,
    importance_examples: Examples | None = None,
) -> Evaluation:
    """What is to be measured at the final step: only the estimate that something is said of; else both, as the study
    has them.

    Raises:
        pydantic.ValidationError: a number that `Evaluation` does not allow.
    """
    said = {
        "mutual_information": {"draws": draws, "examples": examples},
        "nll": {"importance_samples": importance_samples, "examples": importance_examples},
    }
    silent = all(value is None for settings in said.values() for value in settings.values())
    asked = study.evaluation.model_dump()
    for name, settings in said.items():
        given = {setting: value for setting, value in settings.items() if value is not None}
        asked[name] |= {**given, "at": "final" if given or silent else "never"}
    return Evaluation.model_validate(asked)


@dataclass(frozen=True, slots=True)
class Remaining:
    """Of a study's finished cells: which are to be measured, and which cannot be."""

    to_measure: list[Cell]
    measured: int
    without_weights: list[Cell]


def remaining(study: Study, results: StoragePath) -> Remaining:
    """Which cells have no rows yet of the study's evaluation. Diverged and failed ones have nothing to measure."""
    rows = load_measurements(results, columns=["cell_id", "is_final", "status"])
    fine = set(rows[rows["is_final"] & (rows["status"] == OK)]["cell_id"])
    done = measured_cells(results / "measurements", study.evaluation.evaluation_id)
    cells = study_status(study, results).cells
    wanted = [cell for cell_id, cell in cells.items() if cell_id in fine - done]
    there = {cell.id for cell in wanted if model_path(results, cell.id).exists()}
    return Remaining(
        to_measure=[cell for cell in wanted if cell.id in there],
        measured=len(fine & done & cells.keys()),
        without_weights=[cell for cell in wanted if cell.id not in there],
    )


def measuring_packs(cells: Sequence[Cell]) -> list[Pack]:
    """Cells as they are given to workers, the largest populations first."""
    ordered = sorted(cells, key=lambda cell: -cell.train_size)
    return [Pack(tuple(ordered[i : i + CELLS_AT_ONCE])) for i in range(0, len(ordered), CELLS_AT_ONCE)]


def measure_pack(pack: Pack, at: RunContext) -> Iterator[Progress]:
    """Measure the cells of a pack one after the other. One that cannot be measured does not stop the others.

    Raises:
        StorageError: the results folder cannot be written.
    """
    images, every = as_tensor(at.dataset.images).to(at.device), populations_of(at.dataset, pack.cells)
    made_by = provenance(at.device, at.commit)
    started = staged_at = time.monotonic()
    rows: list[Measurement] = []

    def progress(
        done: int, cells: Sequence[str], staged: StoragePath | None = None, failure: str | None = None
    ) -> Progress:
        seconds = time.monotonic() - started
        return Progress(done, len(pack), tuple(cells), seconds, staged=staged.name if staged else None, failure=failure)

    for done, (cell, populations) in enumerate(zip(pack.cells, every, strict=True), start=1):
        try:
            model = load_model(at.results, cell.id).to(at.device)
            for population, indices in populations.items():
                values = measure(
                    model,
                    images,
                    indices,
                    at.study.evaluation,
                    stream_id=cell.stream_id,
                    step=cell.steps,
                    final=cell.steps,
                    population=population,
                )
                if values.status != OK:
                    raise UserError(values.message or values.status)
                rows.append(
                    Measurement(
                        **cell_columns(at.study, cell),
                        step=cell.steps,
                        epoch=cell.steps * cell.batch_size / cell.train_size,
                        is_final=True,
                        population=population,
                        evaluation_id=at.study.evaluation.evaluation_id,
                        **values.columns,
                        status=OK,
                        **made_by,
                        finished_at=dt.datetime.now(dt.UTC),
                    )
                )
        except StorageError:
            raise
        except (UserError, RuntimeError, MemoryError) as error:
            rows = [row for row in rows if row.cell_id != cell.id]
            yield progress(done, [cell.id], failure=str(error).strip() or type(error).__name__)
        if rows and (done == len(pack) or time.monotonic() - staged_at > STAGE_SECONDS):
            cells = list(dict.fromkeys(row.cell_id for row in rows))
            yield progress(done, cells, staged=stage_again(at.results, rows))
            rows, staged_at = [], time.monotonic()
        elif done < len(pack):
            yield progress(done, [])

"""Measures finished cells again, by another evaluation, from their stored weights; nothing is trained.

stored weights + data -> measure -> staged rows of another evaluation_id, beside those in the table
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from rdstudy.execution.budget import Budget
from rdstudy.execution.device import pick_device
from rdstudy.execution.executors import open_backend
from rdstudy.execution.protocols import RunContext, RunListener
from rdstudy.execution.provenance import git_commit
from rdstudy.execution.results_folder import TableWriter, open_results
from rdstudy.execution.status import StudyStatus, status_from, study_status
from rdstudy.storage.paths import StoragePath
from rdstudy.storage.table import Table, measured_cells
from rdstudy.storage.weights import model_path
from rdstudy.study import Cell, Evaluation, Study
from rdstudy.study.data import check_sizes, load_data
from rdstudy.study.measures import Scheduled
from rdstudy.training.packs import Pack, images_key

CELLS_PER_PACK = 8
"""Cells that a worker is given at a time."""


def changed_evaluation(study: Study, changes: Mapping[str, Mapping[str, str | int]]) -> Evaluation:
    """What to measure at the final step: only the measures that are changed; if none is, all that the study measures.

    Args:
        study: gives the settings that are not changed.
        changes: by the measure's name and the setting's.

    Raises:
        pydantic.ValidationError: a value that `Evaluation` does not allow.
    """
    evaluation = study.evaluation.model_dump()
    for name, measure in study.evaluation.measures.items():
        if isinstance(measure, Scheduled):
            changed = changes.get(name, {})
            at = "final" if changed or not (any(changes.values()) or _left_out(measure)) else "never"
            evaluation[name] |= {**changed, "at": at}
    return Evaluation.model_validate(evaluation)


def _left_out(measure: Scheduled) -> bool:
    """Whether it is measured only where a study asks for it, and this one does not."""
    return measure.is_off and type(measure)().is_off


@dataclass(frozen=True, slots=True)
class Remaining:
    """Finished cells of a study by what is left to measure of them; diverged cells are in no list.

    Attributes:
        to_measure: cells without rows of the study's evaluation.
        measured: number of cells that have such rows.
        without_weights: cells without such rows whose weights were not stored.
    """

    to_measure: list[Cell]
    measured: int
    without_weights: list[Cell]


@dataclass(frozen=True, slots=True)
class RemeasureResult:
    """How a remeasuring run ended.

    Attributes:
        study: with the evaluation that was made.
        results: its results folder.
        remaining: what is left to measure now.
    """

    study: Study
    results: StoragePath
    remaining: Remaining

    @property
    def complete(self) -> bool:
        """Whether every finished cell that did not diverge has rows of the evaluation."""
        return not self.remaining.to_measure and not self.remaining.without_weights


def remeasure_study(
    study: Study,
    results: StoragePath,
    *,
    ray: bool = True,
    address: str | None = None,
    listener: RunListener | None = None,
    only: Set[str] | None = None,
) -> RemeasureResult:
    """Measure every finished cell that has no rows of the study's evaluation. Prints nothing.

    Args:
        study: as recorded in the results folder, with the evaluation that is wanted.
        results: the results folder.
        ray: measure on Ray; else in this process.
        address: of a Ray cluster: `auto` or HOST:PORT; None: RAY_ADDRESS, or a local Ray.
        listener: receives what happens.
        only: ids of the cells that may be measured; None: all.

    Raises:
        UserError: invalid input: data, device, address, or a folder that another run writes to.
        StorageError: the results folder cannot be written any more; what was committed stays.
    """
    listener = listener or RunListener()
    evaluation_id = study.evaluation.evaluation_id
    status = study_status(study, results)
    left = _remaining(status, results, measured_cells(results / "measurements", evaluation_id), only)
    listener.on_remaining(left)
    if not left.to_measure:
        return RemeasureResult(study, results, left)
    data = load_data(study)
    check_sizes(study, data)
    device = pick_device("cpu" if ray else study.resources.device)
    context = RunContext(study, data, results, device, git_commit(), remeasure=True)
    with open_results(study, results, data.fingerprints, record=False) as table:
        left = _remaining_now(study, results, table, status, only)
        packs = _packs_of(left.to_measure)
        with open_backend(context, ray=ray, address=address, data_bytes=data.n_bytes) as backend:
            listener.on_start(packs, backend.place)
            try:
                backend.execute(packs, context, TableWriter(study, results, table, listener), Budget())
            finally:
                listener.on_end()
        return RemeasureResult(study, results, _remaining_now(study, results, table, status, only))


def _remaining_now(
    study: Study, results: StoragePath, table: Table, before: StudyStatus, only: Set[str] | None
) -> Remaining:
    status = status_from(study, results, table.states, before.search)
    return _remaining(status, results, table.measured(study.evaluation.evaluation_id), only)


def _remaining(status: StudyStatus, results: StoragePath, measured: set[str], only: Set[str] | None) -> Remaining:
    measurable = status.finished - status.diverged.keys()
    if only is not None:
        measurable &= only
    wanted = [cell for cell_id, cell in status.cells.items() if cell_id in measurable - measured]
    stored = {cell.id for cell in wanted if model_path(results, cell.id).exists()}
    return Remaining(
        to_measure=[cell for cell in wanted if cell.id in stored],
        measured=len(measurable & measured),
        without_weights=[cell for cell in wanted if cell.id not in stored],
    )


def _packs_of(cells: Sequence[Cell]) -> list[Pack]:
    """Cells of the same images in the portions that workers are given, the largest populations first."""
    groups: dict[int | None, list[Cell]] = {}
    for cell in sorted(cells, key=lambda cell: -cell.train_size):
        groups.setdefault(images_key(cell), []).append(cell)
    packs = [
        Pack(tuple(group[i : i + CELLS_PER_PACK]))
        for group in groups.values()
        for i in range(0, len(group), CELLS_PER_PACK)
    ]
    return sorted(packs, key=lambda pack: -pack.cells[0].train_size)

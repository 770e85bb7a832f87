"""Runs a study: trains and measures every cell that is not finished, and commits the rows to the table.

    study's cells - finished cells -> packs -> executor (this process, or Ray) -> staged rows -> table

The table alone says what is finished. The driver holds the folder's lock and is the only writer of the table; it
reads the table once, and keeps track of what it commits.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rdstudy.data.temporary import remove_abandoned
from rdstudy.execution import machine
from rdstudy.execution.budget import Budget
from rdstudy.execution.device import pick_device
from rdstudy.execution.executors import Backend, open_backend
from rdstudy.execution.packing import packs_of
from rdstudy.execution.protocols import RunContext, RunListener
from rdstudy.execution.provenance import git_commit
from rdstudy.execution.ray_choice import RayChoice, choose_ray
from rdstudy.execution.results_folder import TableWriter, check_data, is_recorded, open_results
from rdstudy.execution.status import StudyStatus, status_from
from rdstudy.storage.cell_states import read_cell_states
from rdstudy.storage.paths import StoragePath
from rdstudy.storage.study_record import recorded_study
from rdstudy.storage.table import load_measurements
from rdstudy.study import Cell, Study
from rdstudy.study.data import check_sizes, load_data
from rdstudy.training.packs import Pack

if TYPE_CHECKING:
    import pandas as pd

    from rdstudy.execution.search import Search


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        study: what was run.
        results: its results folder.
        status: which cells are finished, failed, stopped early or missing now.
        trained: number of cells that this run finished.
        limit: the limit of the budget that ended the run, in words; None if none did.
    """

    study: Study
    results: StoragePath
    status: StudyStatus
    trained: int
    limit: str | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing is missing and nothing failed."""
        return not self.status.missing and not self.status.failed

    def measurements(self) -> pd.DataFrame:
        """The table, as `rdstudy.load_measurements` gives it."""
        return load_measurements(self.results)

    def __str__(self) -> str:
        limit = f", ended because {self.limit}" if self.limit else ""
        return f"{self.study.name}: {self.status}, {self.trained} finished by this run{limit} ({self.results})"

    def __repr__(self) -> str:
        return f"<RunResult {self}>"


def run_study(
    study: Study,
    results: StoragePath,
    *,
    ray: bool | None = None,
    address: str | None = None,
    budget: Budget | None = None,
    listener: RunListener | None = None,
) -> RunResult:
    """Train and measure every cell of a study that is not finished. Prints nothing.

    Args:
        study: what to run.
        results: where results go; finished cells in it are not trained again.
        ray: train on Ray; else in this process, pack after pack. None: on Ray where that is faster (`ray_choice`).
        address: of a Ray cluster: `auto` or HOST:PORT; None: RAY_ADDRESS, or a local Ray.
        budget: limits of time and cost; None: none but the study's own.
        listener: receives what happens.

    Raises:
        UserError: invalid input: data, device, address, or a folder that another run writes to or that holds results
            of other data.
        StorageError: the results folder cannot be written any more; what was committed stays.
    """
    states = read_cell_states(results / "measurements")
    status = status_from(study, results, states, _search(study, results, record=False))
    data = load_data(study)
    n_test = check_sizes(study, data)
    listener = listener or RunListener()
    listener.on_notes([*data.notes, *remove_abandoned()])
    if not status.missing:
        check_data(results, study, data.fingerprints, states)
        if not is_recorded(results, study, data.fingerprints):
            with open_results(study, results, data.fingerprints, states=states):
                _search(study, results, record=True)
        return RunResult(study, results, status, trained=0)
    here = not address and not os.environ.get("RAY_ADDRESS")
    if here:
        machine.check_fits(study, machine.gpu_count())
    choice = RayChoice(not here if ray is None else ray)
    if here and ray is None:
        choice = choose_ray(study, results, status.missing, data.pixels, n_test)
    # On Ray each worker picks the device of its own machine, and this one may have none.
    device = pick_device("cpu" if choice.ray else study.resources.device)
    context = RunContext(study, data, results, device, git_commit())
    anew = _begun_anew(study, results, status)
    with open_results(study, results, data.fingerprints, states=states) as table:
        listener.on_notes([*table.set_aside, *anew])
        search = _search(study, results, record=True)
        status = status_from(study, results, table.states, search)
        n_before = len(status.finished)
        listener.on_begin(status, choice)
        with open_backend(context, ray=choice.ray, address=address, data_bytes=data.n_bytes) as backend:
            writer = TableWriter(study, results, table, listener, cells=study.cells if search is None else search.cells)
            limit = _train(status, context, data.pixels, backend, writer, budget or Budget.of(study), listener)
        status = status_from(study, results, table.states, search)
    return RunResult(study, results, status, len(status.finished) - n_before, limit)


def _begun_anew(study: Study, results: StoragePath, status: StudyStatus) -> list[str]:
    """Say of cells that were trained for fewer steps before that they do not go on from there."""
    if study.search is not None or not (results / "study.json").exists():
        return []
    before = recorded_study(results)
    if before.search is not None:
        return []
    shorter = {replace(cell, steps=0): cell.steps for cell in before.cells.values()}
    n = sum(shorter.get(replace(cell, steps=0), cell.steps) < cell.steps for cell in status.missing)
    if not n:
        return []
    kept = "a finished cell keeps its weights, but not its optimizer's state, which would take two times their room"
    return [f"{n:,} cells were asked for with fewer steps before, and begin at step 0: {kept}"]


def _search(study: Study, results: StoragePath, *, record: bool) -> Search | None:
    if study.search is None:
        return None
    from rdstudy.execution.search import begin

    return begin(study, results, record=record)


def _train(
    status: StudyStatus,
    context: RunContext,
    pixels: int,
    backend: Backend,
    writer: TableWriter,
    budget: Budget,
    listener: RunListener,
) -> str | None:
    """Train what is missing, and what a search asks for then; the limit that was reached, if any."""
    search, results = status.search, context.results

    def packed(cells: list[Cell]) -> list[Pack]:
        packs = packs_of(context.study, results, cells, pixels, backend.workers)
        return packs if search is None else [pack.limited(search.limits) for pack in packs]

    def next_packs() -> list[Pack]:
        from rdstudy.execution.search import load_outcomes

        assert search is not None
        outcomes = load_outcomes(results)
        packs = packed([cell for cell in search.advance(outcomes) if search.seen(cell.id, outcomes) is None])
        listener.on_packs(packs)
        return packs

    packs = packed(status.missing)
    listener.on_start(packs, backend.place)
    try:
        return backend.execute(packs, context, writer, budget, next_packs if search is not None else None)
    finally:
        listener.on_end()

"""A study from its file to its table: what is missing is planned, trained by an executor, and committed.

    planned cells - finished cells -> packs -> executor (inline, or Ray) -> staged rows -> the table

The table is the only truth: nothing else is read to know what is finished. The driver holds the folder's lock and
alone writes the table; executors run packs and tell a `Listener` how they fare.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

from rdstudy.errors import UserError
from rdstudy.execution.budget import Budget
from rdstudy.execution.remeasure import measure_pack
from rdstudy.execution.worker import Progress, RunContext, failure_rows, run_pack, use_threads
from rdstudy.storage.checkpoints import Checkpoints
from rdstudy.storage.files import atomic_write, make_folder, remove_leftovers
from rdstudy.storage.lock import locked
from rdstudy.storage.paths import StoragePath
from rdstudy.storage.study_record import load_study_record, recorded_study
from rdstudy.storage.table import Table
from rdstudy.study import Cell, Study
from rdstudy.training.packs import Pack

More = Callable[[], list[Pack]]


@runtime_checkable
class Listener(Protocol):
    """What an executor tells, pack by pack."""

    def __call__(self, pack: Pack, progress: Progress) -> None: ...


@runtime_checkable
class Executor(Protocol):
    """Works on packs until all have ended, or the budget is spent: then it says which limit it was.

    Where there is `more`, it is asked for further packs each time that all have ended, until it gives none.
    """

    def __call__(
        self, packs: list[Pack], at: RunContext, listener: Listener, budget: Budget, more: More | None = None
    ) -> str | None: ...


class TableWriter:
    """Commits what packs stage, and records what failed: the only writer of the table."""

    def __init__(
        self,
        study: Study,
        results: StoragePath,
        table: Table,
        listener: Listener | None = None,
        *,
        cells: Mapping[str, Cell] | None = None,
    ) -> None:
        """
        Args:
            study: whose cells are trained.
            results: the folder.
            table: the folder's table, open for writing.
            listener: told everything after it is recorded.
            cells: by id, where they are not the study's grid; may grow.
        """
        self.cells = study.cells if cells is None else cells
        self.study, self.results, self.table = study, results, table
        self.checkpoints = Checkpoints(results)
        self.listener = listener
        self.stopped: set[str] = set()

    def __call__(self, pack: Pack, progress: Progress) -> None:
        if progress.staged is not None:
            staged = self.table.staging / progress.staged
            self.table.commit(staged)
            self.checkpoints.remove(staged.stem)
            if progress.stopped:
                self.stopped.update(progress.cells)
            finished = self.table.finished
            if all(cell.id in finished or cell.id in self.stopped for cell in pack.cells):
                self.checkpoints.remove(pack.id)  # the last part of a halved pack, or all were stopped early
                if progress.stopped:  # perhaps the rest of a larger pack
                    self.checkpoints.remove_finished(finished | self.stopped)
        if progress.failure is not None:
            for cell_id in progress.cells:
                if cell_id not in self.table.finished:  # a cell that was measured again is
                    cell = self.cells[cell_id]
                    self.table.record_failure(failure_rows(self.study, cell, pack, progress.failure))
        if self.listener is not None:
            self.listener(pack, progress)


@contextmanager
def open_results(study: Study, results: StoragePath, fingerprint: str, *, record: bool = True) -> Iterator[Table]:
    """Hold a results folder for writing: lock it, tidy what a killed run left, check that it belongs to this data.

    Args:
        study: whose results these are.
        results: the folder, made if it is not there, or the prefix of a bucket.
        fingerprint: of the study's images.
        record: whether the folder's record of its study becomes this one.

    Raises:
        UserError: another run holds it, or it holds results of other data.
    """
    with locked(results) as still_locked:
        for name in ("measurements", "staging", "models", "sheets", "."):
            make_folder(results / name)
            remove_leftovers(results / name)
        _check_data(results, study, fingerprint)
        if record:
            atomic_write(results / "study.json", lambda file: file.write(_study_record(study, fingerprint)))
        table = Table(results, still_locked)
        table.commit_staged()
        checkpoints = Checkpoints(results)
        checkpoints.remove_finished(table.finished)
        yield table
        stopping = study.search is not None and study.search.stops_hopeless
        checkpoints.remove_finished(table.finished | table.stopped if stopping else table.finished)


def _study_record(study: Study, fingerprint: str) -> bytes:
    record: dict[str, Any] = {
        **study.model_dump(mode="json"),
        "n_cells": study.n_cells,
        "numerics": study.numerics,
        "data_fingerprint": fingerprint,
    }
    return json.dumps(record, indent=1).encode()


def _check_data(results: StoragePath, study: Study, fingerprint: str) -> None:
    if not (results / "study.json").exists():
        return
    record = load_study_record(results)
    if record.get("numerics", 1) != study.numerics:
        raise UserError(
            f"{results}: its cells were made with numerics {record.get('numerics', 1)}, those of this version of "
            f"rdstudy with numerics {study.numerics}, whose seeds are paired. The two are not mixed: give "
            "another folder with --results."
        )
    same_identity = recorded_study(results).dataset.identity == study.dataset.identity
    if same_identity and record["data_fingerprint"] != fingerprint:
        raise UserError(
            f"{results}: was made from other data: its {study.dataset.name} had the fingerprint "
            f"{record['data_fingerprint'][:12]}, this one has {fingerprint[:12]}. The images changed; give the study "
            "another name, or another folder with --results."
        )


def work(pack: Pack, at: RunContext) -> Iterator[Progress]:
    """What is to be done with a pack: train it and measure it, or only measure it again."""
    return measure_pack(pack, at) if at.again else run_pack(pack, at)


def run_inline(
    packs: list[Pack], at: RunContext, listener: Listener, budget: Budget, more: More | None = None
) -> str | None:
    """An executor: the packs one after the other in this process, without Ray."""
    use_threads(at.study)
    while packs := packs or (more() if more else []):
        for pack in packs:
            for progress in work(pack, at):
                listener(pack, progress)
                over = budget.over(lambda: 1)
                if over:
                    return over
        packs = []
    return None

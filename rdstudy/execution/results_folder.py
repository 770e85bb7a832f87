"""The driver's side of a results folder: opening it for writing, and committing what workers stage."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rdstudy.errors import UserError
from rdstudy.execution.protocols import Listener, PackProgress
from rdstudy.execution.rows import failure_rows
from rdstudy.storage.cell_states import CellStates
from rdstudy.storage.checkpoints import Checkpoints
from rdstudy.storage.files import StorageError, atomic_write, make_folder, remove_leftovers
from rdstudy.storage.lock import locked
from rdstudy.storage.paths import StoragePath, read_bytes
from rdstudy.storage.study_record import load_study_record, recorded_fingerprints, recorded_study
from rdstudy.storage.table import Table
from rdstudy.study import Cell, Study
from rdstudy.training.packs import Pack

FOLDERS = ("measurements", "staging", "models", "sheets", ".")


class TableWriter:
    """The only writer of the table: commits what packs stage, and records cells that failed."""

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
            results: the results folder.
            table: the folder's table, open for writing.
            listener: receives every report after it is recorded.
            cells: by id, if they are not the study's grid; may grow.
        """
        self.cells = study.cells if cells is None else cells
        self.study, self.results, self.table = study, results, table
        self.checkpoints = Checkpoints(results)
        self.listener = listener
        self.stopped: set[str] = set()

    def __call__(self, pack: Pack, progress: PackProgress) -> None:
        """Record one report.

        Raises:
            StorageError: the results folder cannot be written.
        """
        if progress.staged is not None:
            self._commit(pack, progress, progress.staged)
        if progress.failure is not None:
            for cell_id in progress.cells:
                if cell_id not in self.table.finished:  # in a remeasuring run it is
                    cell = self.cells[cell_id]
                    self.table.record_failure(failure_rows(self.study, cell, pack, progress.failure))
        if self.listener is not None:
            self.listener(pack, progress)

    def _commit(self, pack: Pack, progress: PackProgress, name: str) -> None:
        staged = self.table.staging / name
        self.table.commit(staged)
        self.checkpoints.remove(staged.stem)
        if progress.stopped:
            self.stopped.update(progress.cells)
        finished = self.table.finished
        if all(cell.id in finished or cell.id in self.stopped for cell in pack.cells):
            self.checkpoints.remove(pack.id)  # it was the last part of a split pack, or all were stopped early
            if progress.stopped:  # the pack may be what was left of a larger one
                self.checkpoints.remove_finished(finished | self.stopped)


@contextmanager
def open_results(
    study: Study,
    results: StoragePath,
    fingerprints: Mapping[int, str],
    *,
    record: bool = True,
    states: CellStates | None = None,
) -> Iterator[Table]:
    """Open a results folder for writing: lock it, remove what a killed run left, and check whose data it holds.

    Args:
        study: whose results these are.
        results: the folder, made if it is missing, or the prefix of a bucket.
        fingerprints: of the study's data, by data seed.
        record: whether to write the study to `study.json`.
        states: what was read of the table before, to spare reading it again.

    Raises:
        UserError: another run writes to the folder, or it holds results of other data.
    """
    with locked(results) as still_locked:
        for name in FOLDERS:
            make_folder(results / name)
            remove_leftovers(results / name)
        table = Table(results, still_locked, states)
        check_data(results, study, fingerprints, table.states)
        if record:
            atomic_write(results / "study.json", lambda file: file.write(_study_record(study, fingerprints)))
        table.commit_staged()
        checkpoints = Checkpoints(results)
        checkpoints.remove_finished(table.finished)
        yield table
        table.check_kept()
        if record and not (results / "study.json").exists():
            raise StorageError(f"{results}: its study.json was removed while the study ran; run it again to restore it")
        ended = table.finished
        if study.search is not None and study.search.stops_hopeless:
            ended = ended | table.states.stopped.keys()
        checkpoints.remove_finished(ended)


def _study_record(study: Study, fingerprints: Mapping[int, str]) -> bytes:
    record: dict[str, object] = {
        **study.model_dump(mode="json"),
        "n_cells": study.n_cells,
        "numerics": study.numerics,
        "data_fingerprint": next(iter(fingerprints.values())),
    }
    if study.grid.data_seed:
        record["data_fingerprints"] = fingerprints
    return json.dumps(record, indent=1).encode()


def check_data(results: StoragePath, study: Study, fingerprints: Mapping[int, str], states: CellStates) -> None:
    """Refuse a folder whose study, or whose finished cells, were made from other data than these.

    Args:
        results: the results folder.
        study: whose cells are looked for.
        fingerprints: of the study's data, by data seed.
        states: what the table says of its cells.

    Raises:
        UserError: the images differ, or the folder is of another version.
    """
    for cell_id, recorded in states.fingerprints.items():
        cell = study.cells.get(cell_id) if study.search is None else None
        if cell is not None and not fingerprints.get(cell.data_seed, recorded).startswith(recorded):
            raise _other_data(results, study, recorded, fingerprints[cell.data_seed])
    if not (results / "study.json").exists():
        return
    before, record = recorded_study(results).dataset, load_study_record(results)
    if record.get("numerics", 1) != study.numerics:
        raise UserError(
            f"{results}: its cells were made with numerics {record.get('numerics', 1)}, those of this version of "
            f"rdstudy with numerics {study.numerics}, whose seeds are paired. The two are not mixed: give "
            "another folder with --results."
        )
    if (before.name, before.size) != (study.dataset.name, study.dataset.size):
        return
    for seed, recorded in recorded_fingerprints(record).items():
        if fingerprints.get(seed, recorded) != recorded:
            raise _other_data(results, study, recorded, fingerprints[seed])


def _other_data(results: StoragePath, study: Study, recorded: str, found: str) -> UserError:
    return UserError(
        f"{results}: was made from other data: its {study.dataset.name} had the fingerprint "
        f"{recorded[:12]}, this one has {found[:12]}. The images changed: give the study "
        "another name, or another folder with --results."
    )


def is_recorded(results: StoragePath, study: Study, fingerprints: Mapping[int, str]) -> bool:
    """Whether the folder's record is already this study's."""
    try:
        return read_bytes(results / "study.json") == _study_record(study, fingerprints)
    except OSError:
        return False

"""The table of measurements, into which each cell's rows are committed exactly once.

    worker:  rows of a finished pack -> staging/<pack>.parquet      (whole, or not there)
    driver:  staging/<pack>.parquet  -> measurements/<pack>.parquet (a rename, by the one holder of the lock,
                                                                     minus cells that are finished already)

Workers never change the table and a part is never edited, so a cell cannot be in it twice: neither after a kill at
any moment, nor when two machines trained the same pack. Reading checks this again. Rows of remeasured cells are
committed in the same way, minus cells that already have rows of that evaluation. A cell that failed or was stopped
early has a part of its own, which is removed when the cell is trained to its end.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from rdstudy.storage.cell_states import CellStates, read_cell_states
from rdstudy.storage.files import StorageError, atomic_move, make_folder, remove, translate_errors
from rdstudy.storage.parts import (
    DEFAULTS,
    FAILED_PART,
    SCHEMA,
    STOPPED_PART,
    bundle_parts,
    read_parts,
    to_arrow,
    write_part,
)
from rdstudy.storage.paths import PASSING, StoragePath, in_bucket, list_files, local_copy, retry, storage_path
from rdstudy.storage.schema import FAILED, KEY, STOPPED, UNFINISHED, Measurement

if TYPE_CHECKING:
    import pandas as pd

_AGAIN_PART = "again-"


class Table:
    """The measurements in one results folder, for the holder of its lock."""

    def __init__(
        self, root: StoragePath, check: Callable[[], None] = lambda: None, states: CellStates | None = None
    ) -> None:
        """Open the table of a results folder.

        Args:
            root: the results folder.
            check: called before every change of the table; raises if the lock was lost.
            states: what was read of the table before; read again if the table has changed since.
        """
        self.folder = root / "measurements"
        self.staging = root / "staging"
        self._states = states if states is not None and states.parts == self._parts() else None
        self._measured: dict[str, set[str]] = {}
        self._check = check
        self._until_bundle = bundle_parts(self.folder)
        self._committed: set[str] = set()
        self.set_aside: list[str] = []

    def check_kept(self) -> None:
        """Check that the parts committed here are still in the folder.

        Raises:
            StorageError: some were removed meanwhile, and their cells with them.
        """
        lost = self._committed - self._parts()
        if lost:
            raise StorageError(
                f"{self.folder}: {len(lost)} of the {len(self._committed)} parts written by this run were removed "
                "while it ran, and their cells with them. Run the same command again to train them again."
            )

    def measured(self, evaluation_id: str) -> set[str]:
        """Ids of the cells that have final rows of this evaluation."""
        if evaluation_id not in self._measured:
            self._measured[evaluation_id] = measured_cells(self.folder, evaluation_id)
        return self._measured[evaluation_id]

    @property
    def states(self) -> CellStates:
        """How every cell ended; read once, and kept up to date by this table's own changes."""
        if self._states is None:
            self._states = read_cell_states(self.folder)
        return self._states

    @property
    def finished(self) -> set[str]:
        """Ids of the cells whose final rows are in the table."""
        return self.states.finished

    def commit(self, staged: StoragePath) -> list[str]:
        """Move a staged part into the table, and return the ids of the cells it finished, or measured again.

        Cells that are finished already, or have rows of that evaluation already, are left out; recorded failures and
        the rows of stopped cells are removed first for the others, so that at no moment a cell has both.
        """
        part = _read_staged(staged)
        if staged.name.startswith(STOPPED_PART):
            self._commit_stopped(staged, part)
            return []
        cells = sorted(set(part["cell_id"].to_pylist()))
        if staged.name.startswith(_AGAIN_PART):
            there = self.measured(part["evaluation_id"][0].as_py())
        else:
            there = self.finished
            self._measured.clear()
        new = [cell for cell in cells if cell not in there]
        if len(new) < len(cells):
            part = part.filter(pa.compute.is_in(part["cell_id"], pa.array(new, pa.string())))
        self._check()
        for cell_id in new:
            remove(self._failure(cell_id))
            self._forget_stopped(cell_id)
        if new == cells:
            atomic_move(staged, self.folder / staged.name)
            self._committed.add(staged.name)
        elif new:
            # The first new cell names the part: no other part can hold it, so no other part has this name.
            name = f"{staged.stem}-{new[0]}.parquet"
            write_part(self.folder / name, part)
            self._committed.add(name)
        remove(staged)
        if there is self.finished:
            self.states.add(part)
        else:
            there.update(new)
        self._until_bundle -= bool(new)
        if self._until_bundle <= 0:
            self._until_bundle = bundle_parts(self.folder)
        return new

    def commit_staged(self) -> list[str]:
        """Commit everything that lies staged (after a driver died between a pack's end and its commit)."""
        finished = []
        for staged in (self.staging / name for name in list_files(self.staging, ".parquet")):
            try:
                part = _read_staged(staged)
            except StorageError as error:
                if not _is_foreign(staged, error):
                    raise
                self._set_aside(staged, str(error.__cause__ or error))  # the pack's checkpoint makes it again
                continue
            problem = _problem(part)
            if problem:
                self._set_aside(staged, problem)
            else:
                finished += self.commit(staged)
        return finished

    def _set_aside(self, staged: StoragePath, why: str) -> None:
        """Move a file that is no part of the table out of the way, into the folder `set-aside`."""
        place = self.folder.parent / "set-aside" / staged.name
        reason = (why.strip() or "it is damaged").splitlines()[0][:160]
        self.set_aside.append(f"set aside: {staged}: not a finished pack ({reason}): moved to {place}")
        if in_bucket(staged) or in_bucket(place):
            atomic_move(staged, place)
            return
        make_folder(place.parent)
        with translate_errors(place, "moving a foreign file aside"):
            os.replace(staged, place)

    def record_failure(self, rows: Sequence[Measurement]) -> None:
        """Record a cell that failed: its rows stand in the table until the cell is trained after all."""
        cell_id = rows[0].cell_id
        assert cell_id not in self.finished
        assert all(row.status == FAILED and row.cell_id == cell_id for row in rows)
        self._check()
        self._forget_stopped(cell_id)
        part = to_arrow(rows)
        write_part(self._failure(cell_id), part)
        self.states.add(part)

    def _commit_stopped(self, staged: StoragePath, part: pa.Table) -> None:
        """Replace what the table has of a cell by the rows of its early stop, unless it is finished."""
        cell_id = part["cell_id"][0].as_py()
        self._check()
        if cell_id in self.finished:
            remove(staged)
            return
        remove(self._failure(cell_id))
        atomic_move(staged, self._stopped_part(cell_id))
        self.states.forget([cell_id])
        self.states.add(part)

    def _forget_stopped(self, cell_id: str) -> None:
        if cell_id in self.states.stopped:
            remove(self._stopped_part(cell_id))
            self.states.forget([cell_id])

    def _parts(self) -> frozenset[str]:
        return frozenset(list_files(self.folder, ".parquet"))

    def _stopped_part(self, cell_id: str) -> StoragePath:
        return self.folder / f"{STOPPED_PART}{cell_id}.parquet"

    def _failure(self, cell_id: str) -> StoragePath:
        return self.folder / f"{FAILED_PART}{cell_id}.parquet"


def _read_staged(staged: StoragePath) -> pa.Table:
    with translate_errors(staged, "reading a finished pack"):
        try:
            with local_copy(staged) as copy:
                return retry(lambda: pq.read_table(copy, schema=SCHEMA), only=PASSING)
        except (pa.ArrowException, ValueError) as error:
            raise StorageError(f"{staged}: not a part of the table: {error}") from error


def _problem(part: pa.Table) -> str | None:
    """Why staged rows are not those of a finished pack; None if they are."""
    if not part.num_rows:
        return "it has no rows"
    lacking = [field.name for field in SCHEMA if not field.nullable and part[field.name].null_count]
    lacking = [name for name in lacking if name not in DEFAULTS]
    if lacking:
        return f"it has no column {', '.join(lacking[:5])}"
    if not pa.compute.all(pa.compute.match_substring_regex(part["cell_id"], "^[0-9A-Za-z]{1,64}$")).as_py():
        return "it names what is not a cell's id"
    if part.group_by(list(KEY)).aggregate([([], "count_all")]).num_rows < part.num_rows:
        return "it has rows more than once"
    return None


def stage(root: StoragePath, name: str, rows: Sequence[Measurement]) -> StoragePath:
    """Write the rows of a finished pack where the driver finds them."""
    path = root / "staging" / f"{name}.parquet"
    write_part(path, to_arrow(rows))
    return path


def stage_stopped(root: StoragePath, rows: Sequence[Measurement]) -> StoragePath:
    """Write the rows of one cell that was stopped early where the driver finds them."""
    assert {(row.cell_id, row.status) for row in rows} == {(rows[0].cell_id, STOPPED)}
    return stage(root, f"{STOPPED_PART}{rows[0].cell_id}", rows)


def stage_again(root: StoragePath, rows: Sequence[Measurement]) -> StoragePath:
    """Write rows of finished cells that were measured again, all by one evaluation, where the driver finds them."""
    assert len({row.evaluation_id for row in rows}) == 1
    return stage(root, f"{_AGAIN_PART}{rows[0].evaluation_id}-{min(row.cell_id for row in rows)}", rows)


def measured_cells(folder: StoragePath, evaluation_id: str) -> set[str]:
    """Ids of the cells that have final rows of this evaluation in the parts of `folder`."""
    table = read_parts(folder, ["cell_id", "is_final", "status", "evaluation_id"])
    final = pa.compute.and_(table["is_final"], _to_its_end(table))
    of_evaluation = pa.compute.equal(table["evaluation_id"], evaluation_id)
    return set(pa.compute.unique(table.filter(pa.compute.and_(final, of_evaluation))["cell_id"]).to_pylist())


def is_committed(staged: StoragePath, states: CellStates) -> bool:
    """Whether committing a staged part would add nothing, because the table has all its cells already.

    Args:
        staged: the part, in the folder `staging`. One that is damaged or foreign is not committed.
        states: what the table says of its cells.

    Raises:
        StorageError: the file, or the table, cannot be read.
    """
    try:
        part = _read_staged(staged)
    except StorageError as error:
        if _is_foreign(staged, error):
            return False
        raise
    if _problem(part):
        return False
    there = states.finished
    if staged.name.startswith(_AGAIN_PART):
        there = measured_cells(staged.parent.parent / "measurements", part["evaluation_id"][0].as_py())
    return set(part["cell_id"].to_pylist()) <= there


def _is_foreign(staged: StoragePath, error: StorageError) -> bool:
    """Whether a staged part could be read, but is none; otherwise the storage failed."""
    return not (isinstance(error.__cause__, OSError) and (in_bucket(staged) or staged.is_file()))


def _to_its_end(table: pa.Table) -> pa.ChunkedArray:
    """Which rows are of cells that were trained to their last step."""
    return pa.compute.invert(pa.compute.is_in(table["status"], pa.array(UNFINISHED, pa.string())))


def load_measurements(results: str | StoragePath, *, columns: Iterable[str] | None = None) -> pd.DataFrame:
    """The table of a results folder: one row per cell, evaluation step, population and `evaluation_id`.

    Args:
        results: a results folder or bucket prefix, e.g. `results/full` or `s3://bucket/full`. A run may be active.
        columns: only these columns (`rdstudy.storage.schema.COLUMNS` lists all), which is faster.

    Raises:
        UserError: there is no such folder, a part is unreadable, or a row appears more than once.

    >>> import rdstudy
    >>> table = rdstudy.load_measurements("results/quickstart", columns=["beta", "population", "is_final"])
    >>> sorted(table["beta"].unique().tolist())
    [0.001, 0.1, 1.0, 5.0]
    """
    folder = storage_path(results) / "measurements"
    if not folder.is_dir() and not (folder.parent / "study.json").exists():
        raise StorageError(f"{results}: holds no measurements; expected the folder {folder} that `rdstudy run` makes")
    wanted = list(columns) if columns is not None else SCHEMA.names
    unknown = [name for name in wanted if name not in SCHEMA.names]
    if unknown:
        raise StorageError(f"no column {', '.join(unknown)}; the table has {', '.join(SCHEMA.names)}")
    table = read_parts(folder, list(dict.fromkeys([*KEY, *wanted])))
    _check_unique(table, folder)
    order = [("cell_id", "ascending"), ("step", "ascending"), ("population", "descending")]
    table = table.sort_by([*order, ("evaluation_id", "ascending")]).select(wanted)
    frame: pd.DataFrame = table.to_pandas(split_blocks=True, self_destruct=True)  # a column at a time: half the memory
    return frame


def _check_unique(table: pa.Table, folder: StoragePath) -> None:
    counts = table.group_by(list(KEY)).aggregate([([], "count_all")])
    repeated = counts.filter(pa.compute.greater(counts["count_all"], 1))
    if repeated.num_rows:
        first = repeated.slice(0, 1).to_pylist()[0]
        raise StorageError(
            f"{folder}: {repeated.num_rows} rows appear more than once, the first: cell {first['cell_id']}, step "
            f"{first['step']}, {first['population']}. rdstudy never writes a row twice: was a part copied within the "
            "folder? Remove the copy."
        )

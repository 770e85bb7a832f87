"""What the table says of each cell: finished, diverged, failed or stopped early; read in one pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa
from pyarrow import compute

from rdstudy.storage.parts import read_parts
from rdstudy.storage.paths import StoragePath, list_files
from rdstudy.storage.schema import DIVERGED, FAILED, STOPPED, UNFINISHED

COLUMNS = ("cell_id", "is_final", "status", "message", "data_fingerprint")


@dataclass
class CellStates:
    """How every cell of a table ended, by cell id.

    Attributes:
        finished: cells that were trained to their last step, those that diverged among them.
        diverged: messages of the finished cells that diverged.
        failed: messages of the cells that failed and are not finished.
        stopped: messages of the cells that were stopped early and are not finished.
        fingerprints: of the data that cells were trained on, where the table tells: the first 16 digits.
        parts: names of the table's files at the time of reading, which change whenever a cell's state does.
    """

    finished: set[str] = field(default_factory=set)
    diverged: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    stopped: dict[str, str] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    parts: frozenset[str] = frozenset()

    def add(self, rows: pa.Table) -> None:
        """Take in rows that were added to the table. A finished cell is no longer failed or stopped."""
        status = rows["status"]
        to_last_step = compute.and_(rows["is_final"], compute.invert(compute.is_in(status, _array(UNFINISHED))))
        finished = set(compute.unique(rows.filter(to_last_step)["cell_id"]).to_pylist())
        self.finished |= finished
        self.forget(finished)
        known = rows.filter(compute.is_valid(rows["data_fingerprint"])).select(["cell_id", "data_fingerprint"])
        pairs = known.group_by(["cell_id", "data_fingerprint"]).aggregate([])
        self.fingerprints |= zip(pairs["cell_id"].to_pylist(), pairs["data_fingerprint"].to_pylist(), strict=True)
        with_message = compute.is_in(status, _array((DIVERGED, FAILED, STOPPED)))
        for row in rows.select(COLUMNS).filter(with_message).to_pylist():
            cell_id, message = row["cell_id"], row["message"] or ""
            if row["status"] == DIVERGED and row["is_final"]:
                self.diverged[cell_id] = message
            elif row["status"] in UNFINISHED and cell_id not in self.finished:
                (self.failed if row["status"] == FAILED else self.stopped)[cell_id] = message

    def forget(self, cell_ids: Iterable[str]) -> None:
        """Take back recorded failures and early stops whose rows were removed."""
        for cell_id in cell_ids:
            self.failed.pop(cell_id, None)
            self.stopped.pop(cell_id, None)


def read_cell_states(folder: StoragePath) -> CellStates:
    """Read from a table how its cells ended.

    Args:
        folder: the folder `measurements`, which need not exist.

    Raises:
        StorageError: the table cannot be read.
    """
    states = CellStates(parts=frozenset(list_files(folder, ".parquet")))
    states.add(read_parts(folder, COLUMNS))
    return states


def finished_cells(folder: StoragePath) -> set[str]:
    """Ids of the cells whose final rows are in the table."""
    return read_cell_states(folder).finished


def _array(values: tuple[str, ...]) -> pa.Array:
    return pa.array(values, pa.string())

"""The table of measurements as Parquet parts: schema, reading, and how rows come in exactly once.

    worker:  rows of a finished pack -> staging/<pack>.parquet      (whole, or not there)
    driver:  staging/<pack>.parquet  -> measurements/<pack>.parquet (a rename, by the one holder of the lock,
                                                                     minus cells that are finished already)

Workers never touch the table, and a part is never edited, so a cell cannot be in it twice: neither after a kill at
any moment, nor when two machines trained the same pack. Reading checks that again. Rows of finished cells that were
measured again come in the same way, minus cells that have rows of that evaluation already.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from rdstudy.measurement import COLUMNS, FAILED, KEY, Measurement
from rdstudy.store.files import StorageError, explained, move_whole, remove, write_whole

if TYPE_CHECKING:
    import pandas as pd

_ARROW = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    dt.datetime: pa.timestamp("us", tz="UTC"),
}

SCHEMA = pa.schema(
    [
        pa.field(c.name, _ARROW[c.type], nullable=c.nullable, metadata={"unit": c.unit, "meaning": c.meaning})
        for c in COLUMNS
    ]
)

READERS = 4
"""Parts read at once."""

_FAILED_PART, _AGAIN_PART = "failed-", "again-"


def to_arrow(rows: Sequence[Measurement]) -> pa.Table:
    """Rows as an Arrow table of the one schema."""
    columns = list(zip(*map(astuple, rows), strict=True)) if rows else [()] * len(SCHEMA)
    arrays = [pa.array(values, type=field.type) for values, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _read(folder: Path, columns: list[str] | None = None) -> pa.Table:
    """The parts of a folder as one table; columns that a part of an older version lacks are null there."""
    schema = SCHEMA if columns is None else pa.schema([SCHEMA.field(name) for name in columns])
    parts = sorted(folder.glob("*.parquet")) if folder.is_dir() else []
    # A part costs milliseconds whatever its size, most of them outside the interpreter: several at a time.
    with explained(folder, "reading the table"), ThreadPoolExecutor(READERS) as readers:
        return pa.concat_tables([schema.empty_table(), *readers.map(lambda part: _read_part(part, schema), parts)])


def _read_part(part: Path, schema: pa.Schema) -> pa.Table:
    try:
        file = pq.ParquetFile(str(part), memory_map=True, pre_buffer=False)
        names = file.schema_arrow.names
        if names == SCHEMA.names:
            table = file.read(columns=None if schema is SCHEMA else schema.names, use_threads=False)
        else:
            table = _of_another_version(file, set(names), schema)
        return table if table.schema.equals(schema) else table.select(schema.names).cast(schema)
    except FileNotFoundError:
        if part.name.startswith(_FAILED_PART):  # the driver took it away: the cell is being finished
            return schema.empty_table()
        raise
    except (pa.ArrowException, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise StorageError(
            f"{part}: not a part of the table: {reason}. Nothing was changed. If the file was damaged, move it out of "
            "the folder and run the study again: only its cells are trained again."
        ) from error


def _of_another_version(file: pq.ParquetFile, there: set[str], schema: pa.Schema) -> pa.Table:
    missing = [field.name for field in SCHEMA if not field.nullable and field.name not in there]
    if missing:
        raise ValueError(f"it has no column {', '.join(missing)}")
    table = file.read(columns=[name for name in schema.names if name in there])
    for field in schema:
        if field.name not in there:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table


class Table:
    """The measurements in one results folder, for the holder of its lock."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "measurements"
        self.staging = root / "staging"
        self._finished: set[str] | None = None
        self._measured: dict[str, set[str]] = {}

    def measured(self, evaluation_id: str) -> set[str]:
        """Ids of the cells that have final rows of this evaluation."""
        if evaluation_id not in self._measured:
            self._measured[evaluation_id] = measured_cells(self.folder, evaluation_id)
        return self._measured[evaluation_id]

    @property
    def finished(self) -> set[str]:
        """Ids of the cells whose final rows are in the table."""
        if self._finished is None:
            self._finished = finished_cells(self.folder)
        return self._finished

    def commit(self, staged: Path) -> list[str]:
        """Move a staged part into the table, and return the ids of the cells it finished, or measured again.

        Cells that are finished already, or have rows of that evaluation already, are left out; the recorded failures
        of the others are removed first, so that at no moment a cell has both.
        """
        with explained(staged, "reading a finished pack"):
            try:
                part = pq.read_table(staged, schema=SCHEMA)
            except (pa.ArrowException, ValueError) as error:
                raise StorageError(f"{staged}: not a part of the table: {error}") from error
        cells = sorted(set(part["cell_id"].to_pylist()))
        if staged.name.startswith(_AGAIN_PART):
            there = self.measured(part["evaluation_id"][0].as_py())
        else:
            there = self.finished
            self._measured.clear()
        new = [cell for cell in cells if cell not in there]
        if len(new) < len(cells):
            part = part.filter(pa.compute.is_in(part["cell_id"], pa.array(new, pa.string())))
        for cell_id in new:
            remove(self._failure(cell_id))
        if new == cells:
            move_whole(staged, self.folder / staged.name)
        elif new:
            # The first new cell names the part: no other part can hold it, so no other part has this name.
            write_whole(self.folder / f"{staged.stem}-{new[0]}.parquet", lambda file: pq.write_table(part, file))
        remove(staged)
        there.update(new)
        return new

    def commit_staged(self) -> list[str]:
        """Commit everything that lies staged (after a driver died between a pack's end and its commit)."""
        finished = []
        for staged in sorted(self.staging.glob("*.parquet")):
            try:
                finished += self.commit(staged)
            except StorageError as error:
                if isinstance(error.__cause__, OSError):
                    raise
                remove(staged)  # never whole; the pack's checkpoint makes it again
        return finished

    def record_failure(self, rows: Sequence[Measurement]) -> None:
        """Record a cell that failed: its rows stand in the table until the cell is trained after all."""
        cell_id = rows[0].cell_id
        assert cell_id not in self.finished
        assert all(row.status == FAILED and row.cell_id == cell_id for row in rows)
        write_whole(self._failure(cell_id), lambda file: pq.write_table(to_arrow(rows), file))

    def _failure(self, cell_id: str) -> Path:
        return self.folder / f"{_FAILED_PART}{cell_id}.parquet"


def stage(root: Path, name: str, rows: Sequence[Measurement]) -> Path:
    """Write the rows of a finished pack where the driver finds them."""
    path = root / "staging" / f"{name}.parquet"
    write_whole(path, lambda file: pq.write_table(to_arrow(rows), file, compression="zstd"))
    return path


def stage_again(root: Path, rows: Sequence[Measurement]) -> Path:
    """Write rows of finished cells that were measured again, all by one evaluation, where the driver finds them."""
    assert len({row.evaluation_id for row in rows}) == 1
    return stage(root, f"{_AGAIN_PART}{rows[0].evaluation_id}-{min(row.cell_id for row in rows)}", rows)


def measured_cells(folder: Path, evaluation_id: str) -> set[str]:
    """Ids of the cells that have final rows of this evaluation in the parts of `folder`."""
    table = _read(folder, ["cell_id", "is_final", "status", "evaluation_id"])
    final = pa.compute.and_(table["is_final"], pa.compute.not_equal(table["status"], FAILED))
    of_evaluation = pa.compute.equal(table["evaluation_id"], evaluation_id)
    return set(pa.compute.unique(table.filter(pa.compute.and_(final, of_evaluation))["cell_id"]).to_pylist())


def finished_cells(folder: Path) -> set[str]:
    """Ids of the cells whose final rows are in the parts of `folder`."""
    table = _read(folder, ["cell_id", "is_final", "status"])
    final = table.filter(pa.compute.and_(table["is_final"], pa.compute.not_equal(table["status"], FAILED)))
    return set(pa.compute.unique(final["cell_id"]).to_pylist())


def failed_cells(folder: Path) -> dict[str, str]:
    """Recorded failures by cell id, with their messages."""
    names = sorted(folder.glob(f"{_FAILED_PART}*.parquet")) if folder.is_dir() else []
    if not names:
        return {}
    table = _read(folder, ["cell_id", "status", "message"])
    failed = table.filter(pa.compute.equal(table["status"], FAILED)).to_pylist()
    return {row["cell_id"]: row["message"] for row in failed}


def load_measurements(results: str | Path, *, columns: Iterable[str] | None = None) -> pd.DataFrame:
    """The table of a results folder: one row per cell, evaluation step, population and `evaluation_id`.

    Args:
        results: the folder a study was run into, e.g. `results/full`. It may be still growing.
        columns: only these columns (`rdstudy.measurement.COLUMNS` lists all), which is faster.

    Raises:
        UserError: there is no such folder, a part is unreadable, or a row appears more than once.
    """
    folder = Path(results) / "measurements"
    if not folder.is_dir():
        raise StorageError(f"{results}: holds no measurements; expected the folder {folder} that `rdstudy run` makes")
    wanted = list(columns) if columns is not None else SCHEMA.names
    unknown = [name for name in wanted if name not in SCHEMA.names]
    if unknown:
        raise StorageError(f"no column {', '.join(unknown)}; the table has {', '.join(SCHEMA.names)}")
    table = _read(folder, list(dict.fromkeys([*KEY, *wanted])))
    _check_unique(table, folder)
    order = [("cell_id", "ascending"), ("step", "ascending"), ("population", "descending")]
    table = table.sort_by([*order, ("evaluation_id", "ascending")]).select(wanted)
    frame: pd.DataFrame = table.to_pandas(split_blocks=True, self_destruct=True)  # a column at a time: half the memory
    return frame


def _check_unique(table: pa.Table, folder: Path) -> None:
    counts = table.group_by(list(KEY)).aggregate([([], "count_all")])
    repeated = counts.filter(pa.compute.greater(counts["count_all"], 1))
    if repeated.num_rows:
        first = repeated.slice(0, 1).to_pylist()[0]
        raise StorageError(
            f"{folder}: {repeated.num_rows} rows appear more than once, the first: cell {first['cell_id']}, step "
            f"{first['step']}, {first['population']}. rdstudy never writes a row twice: was a part copied within the "
            "folder? Remove the copy."
        )

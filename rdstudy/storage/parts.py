"""The parts of the table: one Parquet file per pack, thousands of which are read as one table.

Opening a file takes some milliseconds whatever its size, so 10,000 small packs would take half a minute to read. The
writer therefore copies every `PARTS_PER_BUNDLE` parts into one bundle, which records their names and sizes. The parts
themselves stay, and a bundle that disagrees with them is not used.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from types import GenericAlias

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

from rdstudy.errors import UserError
from rdstudy.storage.files import StorageError, atomic_write, remove, translate_errors
from rdstudy.storage.paths import StoragePath, in_bucket, list_files
from rdstudy.storage.schema import COLUMNS, Measurement
from rdstudy.storage.study_record import load_study_record

_ARROW: dict[type | GenericAlias, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    list[float]: pa.list_(pa.float64()),
    dt.datetime: pa.timestamp("us", tz="UTC"),
}

SCHEMA = pa.schema(
    [
        pa.field(c.name, _ARROW[c.type], nullable=c.nullable, metadata={"unit": c.unit, "meaning": c.meaning})
        for c in COLUMNS
    ]
)

FAILED_PART, STOPPED_PART = "failed-", "stopped-"
"""Prefixes of parts with a failed or early stopped cell. They are removed when it is finished, and never bundled."""

DEFAULTS = {column.name: column.default for column in COLUMNS if column.default is not None}
"""Values that rows of an older version have in columns that came later. Their `data_seed` is the study's."""

DATA_SEED = "data_seed"

PARTS_PER_BUNDLE = 128
_OF_PARTS = b"rdstudy.parts"


def to_arrow(rows: Sequence[Measurement]) -> pa.Table:
    """Convert rows to an Arrow table with the columns of `SCHEMA`."""
    columns = list(zip(*map(astuple, rows), strict=True)) if rows else [()] * len(SCHEMA)
    arrays = [pa.array(values, type=field.type) for values, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def write_part(path: StoragePath, table: pa.Table) -> None:
    """Write a part atomically."""
    atomic_write(path, lambda file: pq.write_table(table, file, compression="zstd"))


def read_parts(folder: StoragePath, columns: Iterable[str] = SCHEMA.names) -> pa.Table:
    """Read all parts of a folder as one table. Columns that an older part lacks are null in its rows.

    Args:
        folder: the folder `measurements`.
        columns: names of the columns to read.

    Raises:
        StorageError: a file in the folder is not a part, or is damaged; the message names it.
    """
    schema = pa.schema([SCHEMA.field(name) for name in columns])
    with translate_errors(folder, "reading the table"):
        while True:
            sizes = list_files(folder, ".parquet")
            bundles = _bundles(folder, sizes)
            bundled = {name for names in bundles.values() for name in names}
            files = [*bundles, *(folder / name for name in sizes if name not in bundled)]
            try:
                return _read(files, schema)
            except FileNotFoundError:
                # The part of a failed or stopped cell was removed meanwhile, because the cell is finished: read again.
                if list_files(folder, ".parquet") == sizes:
                    raise


def bundle_parts(folder: StoragePath) -> int:
    """Copy parts into bundles while there are enough of them, and remove outdated bundles.

    Only for the holder of the lock.

    Returns:
        The number of parts still missing for the next bundle.
    """
    sizes = list_files(folder, ".parquet")
    bundles = _bundles(folder, sizes)
    for path in _outdated(folder, bundles):
        remove(path)
    bundled = {name for names in bundles.values() for name in names}
    loose = [name for name in sizes if name not in bundled and not name.startswith((FAILED_PART, STOPPED_PART))]
    while len(loose) >= PARTS_PER_BUNDLE:
        names, loose = loose[:PARTS_PER_BUNDLE], loose[PARTS_PER_BUNDLE:]
        record = json.dumps({name: sizes[name] for name in names})
        table = _read([folder / name for name in names], SCHEMA)
        name = hashlib.sha256(record.encode()).hexdigest()[:16]
        write_part(_bundle_folder(folder) / f"{name}.parquet", table.replace_schema_metadata({_OF_PARTS: record}))
    return PARTS_PER_BUNDLE - len(loose)


def outdated_bundles(folder: StoragePath) -> list[StoragePath]:
    """Bundles of parts that have changed since, which are never read.

    Args:
        folder: the folder `measurements`.

    Raises:
        StorageError: a bundle is damaged.
    """
    return _outdated(folder, _bundles(folder, list_files(folder, ".parquet")))


def _outdated(folder: StoragePath, valid: Iterable[StoragePath]) -> list[StoragePath]:
    names = {path.name for path in valid}
    return [
        _bundle_folder(folder) / name for name in list_files(_bundle_folder(folder), ".parquet") if name not in names
    ]


def _bundle_folder(folder: StoragePath) -> StoragePath:
    return folder.parent / "bundles"


def _bundles(folder: StoragePath, sizes: dict[str, int]) -> dict[StoragePath, list[str]]:
    """The names of the parts in each valid bundle: one whose parts all exist with their recorded sizes."""
    found: dict[StoragePath, list[str]] = {}
    bundled: set[str] = set()
    for path in (_bundle_folder(folder) / name for name in list_files(_bundle_folder(folder), ".parquet")):
        try:
            with path.open("rb") as file:
                record = json.loads((pq.read_schema(file).metadata or {})[_OF_PARTS])
        except FileNotFoundError:
            continue  # the writer replaced it
        except (pa.ArrowException, ValueError, KeyError) as error:
            raise _not_a_part(path, error) from error
        if record.items() <= sizes.items() and bundled.isdisjoint(record):
            found[path] = list(record)
            bundled |= record.keys()
    return found


def _read(files: Sequence[StoragePath], schema: pa.Schema) -> pa.Table:
    if not files:
        return schema.empty_table()
    try:
        one = files[0]
        names = [file.path if in_bucket(file) else str(file) for file in files]
        where = one.fs if in_bucket(one) else None
        parts = pa.dataset.dataset(names, schema=SCHEMA, format="parquet", filesystem=where)
        table = parts.to_table(schema.names)
        for name in {*DEFAULTS, DATA_SEED} & set(schema.names):
            if table[name].null_count:
                value = _data_seed(one) if name == DATA_SEED else DEFAULTS[name]
                table = table.set_column(schema.names.index(name), name, table[name].fill_null(value))
        lacking = [field.name for field in schema if not field.nullable and table[field.name].null_count]
        if lacking:
            raise ValueError(f"it has no column {', '.join(lacking)}")
    except (FileNotFoundError, UserError):
        raise
    except (pa.ArrowException, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        for file in files if len(files) > 1 else []:
            _read([file], schema)  # raises an error that names the damaged file
        raise _not_a_part(files[0], error) from error
    return table.cast(schema)


def _data_seed(part: StoragePath) -> int:
    """The seed of the data of a results folder's study, which its rows did not always tell."""
    results = part.parent.parent
    if not (results / "study.json").exists():
        return 0
    return int(load_study_record(results)["dataset"].get("seed", 0))


def _not_a_part(path: StoragePath, error: Exception) -> StorageError:
    reason = str(error).splitlines()[0]
    if path.parent.name == "bundles":
        return StorageError(f"{path}: damaged: {reason}. It is a copy of parts of the table: remove it.")
    return StorageError(
        f"{path}: not a part of the table: {reason}. Nothing was changed. If the file was damaged, move it out of "
        "the folder and run the study again: only its cells are trained again."
    )

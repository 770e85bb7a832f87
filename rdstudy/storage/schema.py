"""What one row of the table says: names, types, units and meanings of its columns.

A `Measurement` is one cell, at one training step, on one population. Everything that names a column (the Parquet
schema, the README's table, `rdstudy columns`) is made from this record. Values are nats per example; what could not
be measured is null, never 0. The columns of values are those that the measures declare (`study.measures`). Imports
neither torch nor Ray, so that a laptop can read what a cluster wrote.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import types
import typing
from dataclasses import dataclass
from types import GenericAlias
from typing import TYPE_CHECKING, Any

from rdstudy.study.axes import AxisColumns
from rdstudy.study.measures import measured_columns

OK, DIVERGED, FAILED, STOPPED = "ok", "diverged", "failed", "stopped"
STATUSES = (OK, DIVERGED, FAILED, STOPPED)
UNFINISHED = (FAILED, STOPPED)
"""Statuses of cells that were not trained to their end: their final rows hold no values, and may go away."""
TRAIN, TEST, VALIDATION = "train", "test", "validation"
POPULATIONS = (TRAIN, TEST, VALIDATION)
"""All that there are; validation examples are set apart from the test pool only where the study asks for it."""


def _column(unit: str, meaning: str, *, group: str, required: bool = True) -> Any:
    metadata = {"unit": unit, "meaning": meaning, "group": group}
    if required:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=None, metadata=metadata)


def _which(unit: str, meaning: str) -> Any:
    return _column(unit, meaning, group="which")


def _when(unit: str, meaning: str) -> Any:
    return _column(unit, meaning, group="when and on what")


def _provenance(unit: str, meaning: str) -> Any:
    return _column(unit, meaning, group="provenance", required=False)


@dataclass(frozen=True, kw_only=True)
class _Row:
    study: str = _which("", "name of the study that trained the cell")
    cell_id: str = _which("", "hash of everything that determines the trained model, and of nothing else")


@dataclass(frozen=True, kw_only=True)
class _Point:
    numerics: int | None = _column(
        "",
        "version of how random numbers are drawn; from 2 on, cells that differ only in what is compared within a seed "
        "(beta, prior, optimizer settings) share them; null: 1",
        group="which",
        required=False,
    )

    step: int = _when("steps", "training steps taken when this was measured")
    epoch: float = _when("epochs", "step * batch_size / train_size")
    is_final: bool = _when("", "whether this is the cell's last step")
    population: str = _when("", "examples measured on: `train`, `test` or `validation`; also the population of q(z)")
    n_examples: int | None = _column(
        "examples", "number of examples averaged over", group="when and on what", required=False
    )
    evaluation_id: str = _when("", "hash of the evaluation's settings (draws, subsamples), part of the row's key")


if TYPE_CHECKING:

    class _Values:
        """The columns of all measures."""

else:
    _Values = dataclasses.make_dataclass(
        "_Values",
        [
            (column.name, column.type | None, _column(column.unit, column.meaning, group="values", required=False))
            for column in measured_columns()
        ],
        frozen=True,
        kw_only=True,
    )


@dataclass(frozen=True, kw_only=True)
class Measurement(_Values, _Point, AxisColumns, _Row):
    """One cell, evaluated at one training step on one population.

    (cell_id, step, population, evaluation_id) is the row's key: it determines every value, and is in the table once.
    A cell is finished if and only if its rows with `is_final` are in the table and their `status` is neither `failed`
    nor `stopped`. All rows of a cell that a search stopped early say `stopped`: those measured on its way, and final
    ones without values.
    """

    status: str = _column(
        "", "`ok`, `diverged`, `failed`, or `stopped` early by a search: in every row of such a cell", group="health"
    )
    message: str | None = _column(
        "", "what went wrong, or why it was stopped, in words", group="health", required=False
    )

    pack_id: str | None = _provenance("", "the pack the cell was trained in; null in rows of `rdstudy remeasure`")
    pack_size: int | None = _provenance("models", "models trained at once in that pack")
    device: str | None = _provenance("", "device and its model name")
    host: str | None = _provenance("", "machine that made the row")
    seconds: float | None = _provenance(
        "seconds",
        "training time of the whole pack up to this row, over all interruptions; null in rows of `rdstudy remeasure`",
    )
    finished_at: dt.datetime | None = _provenance("UTC", "when the row was made")
    rdstudy_version: str | None = _provenance("", "version of rdstudy")
    torch_version: str | None = _provenance("", "version of PyTorch")
    data_fingerprint: str | None = _provenance(
        "", "first 16 hexadecimal digits of the SHA-256 of the data set: its images, labels and factors"
    )
    weights_sha256: str | None = _provenance(
        "", "SHA-256 of the cell's file of weights, in the final rows of its training; null where none is kept"
    )
    git_commit: str | None = _provenance("", "commit of the working directory's repository, if there is one")
    git_dirty: bool | None = _provenance("", "whether that repository had uncommitted changes")

    def value(self, column: str) -> float | None:
        """What was measured, by a column's name; None where it was not.

        Raises:
            AttributeError: there is no such column.
        """
        found: float | None = getattr(self, column)
        return found


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table: name, Python type, whether null is allowed, unit, meaning, group.

    `type`: of a value; `list[float]` for a vector.
    `default`: the value in rows of versions that had no such column yet; None: null, or not allowed.
    """

    name: str
    type: type | GenericAlias
    nullable: bool
    unit: str
    meaning: str
    group: str
    default: str | int | float | None = None

    @property
    def type_name(self) -> str:
        """The type in words."""
        return "list of float" if self.type == list[float] else self.type.__name__


def _columns() -> tuple[Column, ...]:
    hints = typing.get_type_hints(Measurement)
    columns = []
    for field in dataclasses.fields(Measurement):
        hint = hints[field.name]
        nullable = isinstance(hint, types.UnionType)
        kind = next(a for a in typing.get_args(hint) if a is not type(None)) if nullable else hint
        unit, meaning, group = (field.metadata[key] for key in ("unit", "meaning", "group"))
        default = None if field.default is dataclasses.MISSING else field.default
        columns.append(Column(field.name, kind, nullable, unit, meaning, group, default))
    return tuple(columns)


COLUMNS = _columns()
KEY = ("cell_id", "step", "population", "evaluation_id")
PROVENANCE = tuple(column.name for column in COLUMNS if column.group == "provenance")


def columns_markdown() -> str:
    """The table's columns as Markdown, grouped; the README's section is this text."""
    lines = ["| column | type | unit | meaning |", "|---|---|---|---|"]
    group = ""
    for column in COLUMNS:
        if column.group != group:
            group = column.group
            lines.append(f"| **{group}** | | | |")
        kind = column.type_name + (" or null" if column.nullable else "")
        meaning = column.meaning.replace("|", "\\|")
        lines.append(f"| `{column.name}` | {kind} | {column.unit} | {meaning} |")
    return "\n".join(lines) + "\n"

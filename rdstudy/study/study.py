"""A `Study` becomes cells: the product of its grid's lists.

A cell is one point of the grid with its seed: what is trained, measured and counted. Its id is a hash of everything
that determines the trained model, and of nothing else.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from pydantic import Field, PrivateAttr, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from rdstudy.data.split_spec import check_split
from rdstudy.study.axes import AXES, CellAxes
from rdstudy.study.evaluation_section import Evaluation
from rdstudy.study.grid import Grid
from rdstudy.study.hashing import flat_digest
from rdstudy.study.renamed_keys import Record
from rdstudy.study.scalars import Strict
from rdstudy.study.search_section import GROUPS, NOT_BEFORE, SearchSpec
from rdstudy.study.sections import DatasetSpec, Resources, Training

NUMERICS = 2
"""Part of every cell's id. Raise it when a change of the code changes the numbers a cell gives.

1: every cell drew from streams of its own. 2: cells that differ only in `paired` axes share their streams.
"""


MAX_CELLS = 250_000
"""Cells of a study. Every command lists them all, which takes 5 s for so many."""


@dataclass(frozen=True, kw_only=True)
class Cell(CellAxes):
    """One point of the grid with its seed. Every field determines the trained model."""

    numerics: int = NUMERICS

    @cached_property
    def id(self) -> str:
        """Sixteen hexadecimal digits: the hash of all fields, but of later axes at their default."""
        return _digest(self, paired=True)

    @cached_property
    def stream_id(self) -> str:
        """What the cell's random streams are named after: its id without the axes that are compared within a seed.

        Cells that differ only in these draw the same initialisation, order and noise (common random numbers), so that
        their differences vary less between seeds. Each cell's distribution is what it was.
        """
        return self.id if self.numerics < 2 else _digest(self, paired=False)

    def __str__(self) -> str:
        later = "".join(
            f" {axis.label.format(getattr(self, axis.name))}"
            for axis in _ADDED
            if axis.column and getattr(self, axis.name) != axis.default
        )
        prior = "" if self.prior == "standard_normal" else f" prior {self.prior}"
        data = f" data_seed={self.data_seed}" if self.data_seed else ""
        return (
            f"{self.dataset} {self.split} n={self.train_size} {self.depth}x{self.width} "
            f"latent={self.latent_dim}{prior}{later} beta={self.beta:g} seed={self.seed}{data}"
        )


def _wrong(problem: str, where: tuple[str | int, ...], found: object) -> InitErrorDetails:
    return {"type": PydanticCustomError("section", "{problem}", {"problem": problem}), "loc": where, "input": found}


_HASHED_AS = {name: axis.hashed_as for name, axis in AXES.items()} | {"numerics": "numerics"}
_FIRST = {
    paired: sorted(
        ["numerics", *(name for name, axis in AXES.items() if not axis.added and (paired or not axis.paired))],
        key=_HASHED_AS.__getitem__,
    )
    for paired in (True, False)
}
_ADDED = tuple(axis for axis in AXES.values() if axis.added)


def _digest(cell: Cell, *, paired: bool) -> str:
    """Hash of a cell's fields, with or without the paired ones; later axes only where they are not at their default."""
    names = _FIRST[paired]
    later = [axis.name for axis in _ADDED if (paired or not axis.paired) and getattr(cell, axis.name) != axis.default]
    if later:
        names = sorted([*names, *later], key=_HASHED_AS.__getitem__)
    return flat_digest([_HASHED_AS[name] for name in names], [getattr(cell, name) for name in names], 8)


class Study(Strict):
    """A whole experiment, as its YAML file says it."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$")] = Field(
        description="Names the results folder: letters, digits, dot, dash and underscore; folders by slashes."
    )
    question: str = Field("", description="The question that the study answers, in a sentence; heads the report.")
    dataset: DatasetSpec
    grid: Grid
    training: Training
    evaluation: Evaluation = Evaluation()
    resources: Resources = Resources()
    search: SearchSpec | None = Field(
        None, description="Choose cells by what earlier ones showed; the grid's lists are then what is not searched."
    )

    _numerics: int = PrivateAttr(NUMERICS)

    def of_numerics(self, numerics: int) -> Study:
        """This study as it was with the code's earlier `NUMERICS`: with the ids that its cells had then."""
        other = self.model_copy()
        other._numerics = numerics
        other.__dict__.pop("cells", None)
        return other

    @property
    def numerics(self) -> int:
        """`NUMERICS` of the code whose cells these are."""
        return self._numerics

    @model_validator(mode="after")
    def _sections_agree(self) -> Study:
        if self.n_cells > MAX_CELLS:
            lengths = " x ".join(f"{len(values):,} {name}" for name, values in self.grid.listed().items() if values[1:])
            problem = f"makes {self.n_cells:,} cells ({lengths}); at most {MAX_CELLS:,} are allowed"
            raise ValidationError.from_exception_data("Study", [_wrong(problem, ("grid",), {})])
        wrong = [*self._wrong_splits(), *self._wrong_axes(), *self._wrong_stop()]
        if wrong:
            raise ValidationError.from_exception_data("Study", wrong)
        return self

    def _wrong_splits(self) -> Iterator[InitErrorDetails]:
        """Splits that the data set does not have."""
        for i, split in enumerate(self.grid.split):
            try:
                check_split(split, self.dataset.name)
            except ValueError as error:
                yield _wrong(str(error), ("grid", "split", i), split)

    def _wrong_axes(self) -> Iterator[InitErrorDetails]:
        """Axes that are both listed and searched, or neither, and goals that nothing is measured for."""
        search, grid = self.search, self.grid
        if search is None:
            if not grid.beta:
                yield {"type": "missing", "loc": ("grid", "beta"), "input": {}}
            return
        for name in search.varied:
            listed = getattr(grid, name, None)  # a recorded study lists defaults too
            if listed is not None and listed != Grid.model_fields[name].default:
                yield _wrong("is searched, so it must not be listed here too", ("grid", name), listed)
        if "beta" not in search.varied and not grid.beta:
            yield {"type": "missing", "loc": ("grid", "beta"), "input": {}}
        settled: Sequence[str] = GROUPS if search.group_by is None else search.group_by
        reason = "search.group_by does not name it"
        if search.goal == "frontier":
            settled, reason = (), "one frontier has one value of it"
        for name, values in grid.listed().items():
            replicate = name in AXES and AXES[name].replicate
            if name not in (*search.varied, *settled) and not replicate and len(values) > 1:
                yield _wrong(f"lists {len(values)} values, but {reason}", ("grid", name), values)
        estimate = search.estimate
        if estimate is not None and self.evaluation.measures[estimate].is_off:
            where = ("evaluation", estimate, "at")
            yield _wrong("is never, but the search needs it of every cell: say final", where, "never")

    def _wrong_stop(self) -> Iterator[InitErrorDetails]:
        """Cells to be stopped early at a step at which none is measured."""
        if self.search is None or not self.search.stops_hopeless:
            return
        for steps in sorted(self._budgets()):
            if not any(NOT_BEFORE * steps <= step < steps for step in self.evaluation.steps_of(steps)):
                problem = (
                    f"names no step from {math.ceil(NOT_BEFORE * steps):,} on and before the last, {steps:,}, at which "
                    "search.pruner could stop a cell: say for example {log_spaced: 12}"
                )
                yield _wrong(problem, ("evaluation", "steps"), self.evaluation.model_dump(mode="json")["steps"])
                return

    def _budgets(self) -> set[int]:
        """Training steps that cells of the grid may have."""
        grid, training = self.grid, self.training
        budgets = [{"steps": n} for n in grid.steps] or [{"epochs": n} for n in grid.epochs] or [{}]
        return {
            training.steps_for(size, batch_size=batch, **budget)
            for size in grid.train_size
            for batch in grid.batch_size or [None]
            for budget in budgets
        }

    @property
    def n_cells(self) -> int:
        """Number of cells: the product of the lengths of the grid's lists."""
        return math.prod(len(values) for values in self.grid.listed().values())

    @cached_property
    def cells(self) -> dict[str, Cell]:
        """All cells by id, in the grid's order."""
        axes = self.grid.listed()
        cells = {}
        for point in itertools.product(*axes.values()):
            cell = self.cell(**dict(zip(axes, point, strict=True)))
            cells[cell.id] = cell
        return cells

    def cell(self, **axes: Any) -> Cell:
        """The cell of these values of the grid's axes; what is left out has the value that all cells share."""
        axes = {**self._same, **axes, "beta": float(axes["beta"])}
        budget = {name: axes.pop(name) for name in ("steps", "epochs") if name in axes}
        steps = self.training.steps_for(axes["train_size"], batch_size=axes["batch_size"], **budget)
        return Cell(**axes, steps=steps, numerics=self._numerics)

    def values_of(self, axis: str) -> list[Any]:
        """Values that cells of the study may have of an axis of the grid."""
        listed: list[Any] = getattr(self.grid, axis)
        if listed or not (AXES[axis].section or AXES[axis].added):
            return listed
        return [self._section_value(axis) if AXES[axis].section else AXES[axis].default]

    @cached_property
    def _same(self) -> Record:
        """What all cells have in common, unless the grid lists it."""
        data = self.dataset
        shared = {name: self._section_value(name) for name, axis in AXES.items() if axis.section}
        del shared["steps"]
        return {
            "dataset": data.name,
            "dataset_size": data.size,
            "test_size": data.test_size,
            "validation_size": data.validation_size,
            **shared,
        }

    def _section_value(self, axis: str) -> Any:
        """The value of an axis that a section has for all cells."""
        return getattr(getattr(self, AXES[axis].section), AXES[axis].key)

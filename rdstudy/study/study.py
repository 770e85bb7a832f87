"""A `Study` becomes cells: the product of its grid's lists.

A cell is one point of the grid with its seed: what is trained, measured and counted. Its id is a hash of everything
that determines the trained model, and of nothing else.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from operator import attrgetter
from typing import Annotated, Any

from pydantic import Field, PrivateAttr, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from rdstudy.data.split_spec import check_split
from rdstudy.study.hashing import flat_digest
from rdstudy.study.search_section import GROUPS, NOT_BEFORE, SearchSpec
from rdstudy.study.sections import DatasetSpec, Evaluation, Grid, Resources, Strict, Training

NUMERICS = 2
"""Part of every cell's id. Raise it when a change of the code changes the numbers a cell gives.

1: every cell drew from streams of its own. 2: cells that differ only in `PAIRED` share their streams.
"""
PAIRED = frozenset({"beta", "prior", "learning_rate", "optimizer", "steps", "precision"})
"""Fields that are compared within a seed: cells that differ in nothing else share initialisation, order and noise."""


@dataclass(frozen=True)
class Cell:
    """One point of the grid with its seed. Every field determines the trained model."""

    dataset: str
    dataset_seed: int
    dataset_size: int | None
    test_size: int | None
    split: str
    train_size: int
    depth: int
    width: int
    latent_dim: int
    prior: str
    beta: float
    seed: int
    steps: int
    batch_size: int
    learning_rate: float
    optimizer: str
    precision: str
    numerics: int = NUMERICS

    @cached_property
    def id(self) -> str:
        """Sixteen hexadecimal digits: the hash of all fields."""
        return flat_digest(_NAMES, _values(self), 8)

    @cached_property
    def stream_id(self) -> str:
        """What the cell's random streams are named after: its id without the fields in `PAIRED`.

        Cells that are compared within a seed draw the same initialisation, order and noise (common random numbers), so
        that their differences vary less between seeds. Each cell's distribution is what it was.
        """
        if self.numerics < 2:
            return self.id
        return flat_digest(_STREAM_NAMES, _stream_values(self), 8)

    def __str__(self) -> str:
        return (
            f"{self.dataset} {self.split} n={self.train_size} {self.depth}x{self.width} "
            f"latent={self.latent_dim} beta={self.beta:g} seed={self.seed}"
        )


def _wrong(problem: str, where: tuple[str | int, ...], found: object) -> InitErrorDetails:
    return {"type": PydanticCustomError("section", "{problem}", {"problem": problem}), "loc": where, "input": found}


_NAMES = sorted(field.name for field in fields(Cell))
_values = attrgetter(*_NAMES)
_STREAM_NAMES = [name for name in _NAMES if name not in PAIRED]
_stream_values = attrgetter(*_STREAM_NAMES)


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
        for name, values in grid:
            if name not in (*search.varied, *settled, "seed") and len(values) > 1:
                yield _wrong(f"lists {len(values)} values, but {reason}", ("grid", name), values)
        estimate = search.estimate
        if estimate is not None and getattr(self.evaluation, estimate).at == "never":
            where = ("evaluation", estimate, "at")
            yield _wrong("is never, but the search needs it of every cell: say final", where, "never")

    def _wrong_stop(self) -> Iterator[InitErrorDetails]:
        """Cells to be stopped early at a step at which none is measured."""
        if self.search is None or not self.search.stops_hopeless:
            return
        for size in self.grid.train_size:
            steps = self.training.steps_for(size)
            if not any(NOT_BEFORE * steps <= step < steps for step in self.evaluation.steps_of(steps)):
                problem = (
                    f"names no step from {math.ceil(NOT_BEFORE * steps):,} on and before the last, {steps:,}, at which "
                    "search.pruner could stop a cell: say for example {log_spaced: 12}"
                )
                yield _wrong(problem, ("evaluation", "steps"), self.evaluation.model_dump(mode="json")["steps"])
                return

    @property
    def n_cells(self) -> int:
        """Number of cells: the product of the lengths of the grid's lists."""
        return math.prod(len(values) for _, values in self.grid)

    @cached_property
    def cells(self) -> dict[str, Cell]:
        """All cells by id, in the grid's order."""
        axes = [name for name, _ in self.grid]
        cells = {}
        for point in itertools.product(*(values for _, values in self.grid)):
            cell = self.cell(**dict(zip(axes, point, strict=True)))
            cells[cell.id] = cell
        return cells

    def cell(self, **axes: Any) -> Cell:
        """The cell of these values of the grid's axes; `learning_rate` may be among them."""
        axes = {**self._same, **axes, "beta": float(axes["beta"])}
        return Cell(**axes, steps=self.training.steps_for(axes["train_size"]), numerics=self._numerics)

    @cached_property
    def _same(self) -> dict[str, Any]:
        """What all cells have in common."""
        data, training = self.dataset, self.training
        return {
            "dataset": data.name,
            "dataset_seed": data.seed,
            "dataset_size": data.size,
            "test_size": data.test_size,
            "batch_size": training.batch_size,
            "learning_rate": training.learning_rate,
            "optimizer": training.optimizer,
            "precision": training.precision,
        }

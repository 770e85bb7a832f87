"""A `Study` becomes cells: the product of its grid's lists.

A cell is one point of the grid with its seed: what is trained, measured and counted. Its id is a hash of everything
that determines the trained model, and of nothing else.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, fields
from functools import cached_property
from operator import attrgetter
from typing import Annotated, Any, ClassVar

from pydantic import Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from rdstudy.data.split_spec import check_split
from rdstudy.study.digest import flat_digest
from rdstudy.study.sections import DatasetSpec, Evaluation, Grid, Resources, Strict, Training

NUMERICS = 1
"""Part of every cell's id. Raise it when a change of the code changes the numbers a cell gives."""


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
    numerics: ClassVar[int] = NUMERICS

    @cached_property
    def id(self) -> str:
        """Sixteen hexadecimal digits: the hash of all fields and of `NUMERICS`."""
        return flat_digest(_NAMES, _values(self), 8)

    def __str__(self) -> str:
        return (
            f"{self.dataset} {self.split} n={self.train_size} {self.depth}x{self.width} "
            f"latent={self.latent_dim} beta={self.beta:g} seed={self.seed}"
        )


_NAMES = sorted(["numerics", *(field.name for field in fields(Cell))])
_values = attrgetter(*_NAMES)


class Study(Strict):
    """A whole experiment, as its YAML file says it."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = Field(
        description="Names the results folder: letters, digits, dot, dash and underscore."
    )
    question: str = Field("", description="The question that the study answers, in a sentence; heads the report.")
    dataset: DatasetSpec
    grid: Grid
    training: Training
    evaluation: Evaluation = Evaluation()
    resources: Resources = Resources()

    @model_validator(mode="after")
    def _splits_belong_to_the_data_set(self) -> Study:
        wrong: list[InitErrorDetails] = []
        for i, split in enumerate(self.grid.split):
            try:
                check_split(split, self.dataset.name)
            except ValueError as error:
                problem = PydanticCustomError("split", "{problem}", {"problem": str(error)})
                wrong.append({"type": problem, "loc": ("grid", "split", i), "input": split})
        if wrong:
            raise ValidationError.from_exception_data("Study", wrong)
        return self

    @property
    def n_cells(self) -> int:
        """Number of cells: the product of the lengths of the grid's lists."""
        return math.prod(len(values) for _, values in self.grid)

    @cached_property
    def cells(self) -> dict[str, Cell]:
        """All cells by id, in the grid's order."""
        data, training = self.dataset, self.training
        same: dict[str, Any] = {
            "dataset": data.name,
            "dataset_seed": data.seed,
            "dataset_size": data.size,
            "test_size": data.test_size,
            "batch_size": training.batch_size,
            "learning_rate": training.learning_rate,
            "optimizer": training.optimizer,
            "precision": training.precision,
        }
        axes = [name for name, _ in self.grid]
        cells = {}
        for point in itertools.product(*(values for _, values in self.grid)):
            axis = dict(zip(axes, point, strict=True))
            axis["beta"] = float(axis["beta"])
            cell = Cell(**same, **axis, steps=training.steps_for(axis["train_size"]))
            cells[cell.id] = cell
        return cells

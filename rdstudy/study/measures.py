"""What a measure declares: its columns of the table and its settings in a study file.

Reading a table or a study needs the declarations and no torch; `rdstudy.evaluation.measure.Measure` adds the
computation. `registry.MEASURES` names the measures; nothing else lists them.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import GenericAlias
from typing import ClassVar

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from rdstudy.study.registry import MEASURES
from rdstudy.study.renamed_keys import Record
from rdstudy.study.scalars import Strict
from rdstudy.study.schedule import When, steps_within


@dataclass(frozen=True, slots=True)
class MeasuredColumn:
    """A column of measured values; null where the measure was not asked for.

    Attributes:
        name: ends in `_nats` or `_se` for values in nats and their standard errors.
        type: int, float, str or list[float].
        unit: of a value.
        meaning: the definition, in one line.
        label: how `rdstudy show` calls the value; empty: it is not shown.
        exact: whether the value follows from settings and sizes alone, without rounding or draws.
        added: whether it came after the first release to a measure of that release, so that earlier rows lack it.
    """

    name: str
    type: type | GenericAlias
    unit: str
    meaning: str
    label: str = ""
    exact: bool = False
    added: bool = False


MAX_COUNT = 10_000_000
"""The largest number of draws, examples or steps of a measure."""


class MeasureSpec(Strict):
    """The declaration of a measure. Its fields are its settings: the section of `evaluation` that has its name.

    A measure without fields has no section and is computed at every measured step.

    Attributes:
        columns: of the table, in their order.
        effort: names of the columns that tell how well it was estimated, the most important first. Of several
            estimates of one cell, an analysis takes that of the most effort.
        stream: the purpose that names its random draws, and the key of its settings in the evaluation's identity;
            empty: its name.
        added: whether it came after the first release. Its settings then enter the evaluation's identity only where
            they differ from their defaults, and rows of older versions have null in its columns.
    """

    columns: ClassVar[tuple[MeasuredColumn, ...]]
    effort: ClassVar[tuple[str, ...]] = ()
    stream: ClassVar[str] = ""
    added: ClassVar[bool] = True

    @field_validator("*", mode="after")
    @classmethod
    def _bounded(cls, value: object) -> object:
        """Refuse numbers of draws, examples or steps that no computer gets through."""
        if isinstance(value, int) and value > MAX_COUNT:
            raise PydanticCustomError("too_large", f"input should be less than or equal to {MAX_COUNT:,}")
        return value

    def is_due(self, step: int, final: int) -> bool:
        """Whether it is asked for at a step of a cell of `final` training steps."""
        return True

    def own_steps(self, final: int) -> set[int]:
        """Steps at which a cell of `final` training steps is measured for its sake."""
        return set()

    @property
    def is_off(self) -> bool:
        """Whether it is never asked for."""
        return False

    @property
    def identity(self) -> Record:
        """What of its settings determines its values, as JSON has it."""
        return self.model_dump(mode="json")

    def cost(self, n: int, decoder_flop: float, pixels: int) -> float:
        """Floating-point operations of a matrix product that takes as long, beyond one forward pass of all examples.

        Args:
            n: examples of the population.
            decoder_flop: floating-point operations of decoding one draw.
            pixels: numbers per image.
        """
        return 0.0


class Scheduled(MeasureSpec):
    """A measure that is costly, so that the study says at which steps it is asked for."""

    at: When = Field("final", description="Steps: never, final, all, a list or {log_spaced: N}.")

    def is_due(self, step: int, final: int) -> bool:
        """Whether it is asked for at a step of a cell of `final` training steps."""
        if isinstance(self.at, str):
            return self.at == "all" or (self.at == "final" and step == final)
        return step in steps_within(self.at, final)

    def own_steps(self, final: int) -> set[int]:
        """The listed steps that a cell of `final` training steps passes."""
        return set() if isinstance(self.at, str) else steps_within(self.at, final)

    @property
    def is_off(self) -> bool:
        """Whether it is never asked for."""
        return self.at == "never"


@cache
def measure_classes() -> Mapping[str, type[MeasureSpec]]:
    """Every registered measure's class by name, in the order of their columns. Imports neither torch nor Ray.

    Raises:
        TypeError: a registered object is not a class derived from `MeasureSpec`, or two measures share a column.
    """
    found: dict[str, type[MeasureSpec]] = {}
    owners: dict[str, str] = {}
    for name, path in MEASURES.items():
        module, _, attribute = path.partition(":")
        measure = getattr(importlib.import_module(module), attribute)
        if not (isinstance(measure, type) and issubclass(measure, MeasureSpec)):
            raise TypeError(f"measure {name}: {path} is not a class derived from Measure")
        for column in measure.columns:
            if owners.setdefault(column.name, name) != name:
                raise TypeError(f"measure {name}: {owners[column.name]} has a column {column.name} too")
        found[name] = measure
    return found


def measured_columns() -> tuple[MeasuredColumn, ...]:
    """The columns of all measures, in the table's order."""
    return tuple(column for measure in measure_classes().values() for column in measure.columns)

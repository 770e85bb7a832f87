"""What a measure must offer to be computed. Imports no torch, so that tables and studies are read without it."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, TypeAlias

from rdstudy.study.measures import MeasureSpec

if TYPE_CHECKING:
    import numpy as np

    from rdstudy.evaluation.population import EncodedPopulation

FLOP_PER_PIXEL = 180.0
"""Cost of one pixel of one draw: the operations of a matrix product that takes equally long (measured)."""

Value: TypeAlias = float | int | str | list[float] | None
"""Of a column in one row; None: it cannot be estimated here."""


class Measure(MeasureSpec):
    """A measure of a model on a population: what it declares, and how it is computed."""

    @abstractmethod
    def compute(self, population: EncodedPopulation, rng: np.random.Generator) -> dict[str, Value]:
        """The value of every column of the measure.

        Args:
            population: the examples with their posteriors, rates and distortions, the model, and its training set.
            rng: source of all draws; depends on the cell's stream, the measure, the step and the population.
        """

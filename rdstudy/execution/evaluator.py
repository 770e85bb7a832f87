"""Measures the models of a pack on their training, test and validation examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from jaxtyping import UInt8
from torch import Tensor

from rdstudy.evaluation.evaluate import Values, measure
from rdstudy.execution.inputs import Populations, measured_populations
from rdstudy.execution.rows import measured_row
from rdstudy.models.vae import VAE
from rdstudy.storage.schema import DIVERGED, Measurement
from rdstudy.study import Cell, Study


class Evaluator:
    """Measures models as the study's `evaluation` section says, and makes their rows."""

    def __init__(
        self, study: Study, images: UInt8[Tensor, "examples pixels"], provenance: Callable[[], Mapping[str, object]]
    ) -> None:
        """
        Args:
            study: says what is measured at which step.
            images: the whole data set, on the device of the models.
            provenance: called after each measurement; gives the columns that say how and where the row was made.
        """
        self.study, self.images, self.provenance = study, images, provenance

    def rows(self, model: VAE, cell: Cell, populations: Populations, step: int) -> list[Measurement]:
        """The rows of one model at one step, one for each population.

        Args:
            model: the cell's model after `step` training steps.
            cell: whose model it is.
            populations: indices of the cell's examples.
            step: training steps taken.
        """
        found = measure(
            model,
            self.images,
            populations,
            self.study.evaluation,
            beta=cell.beta,
            stream_id=cell.stream_id,
            step=step,
            final=cell.steps,
        )
        return [self._row(cell, step, population, values) for population, values in found.items()]

    def diverged_rows(self, cell: Cell, message: str, step: int) -> list[Measurement]:
        """The rows of a model whose weights are not finite, so that nothing can be measured."""
        values = Values({}, DIVERGED, message)
        return [self._row(cell, step, population, values) for population in measured_populations(cell)]

    def _row(self, cell: Cell, step: int, population: str, values: Values) -> Measurement:
        provenance = self.provenance()
        return measured_row(self.study, cell, step=step, population=population, values=values, provenance=provenance)

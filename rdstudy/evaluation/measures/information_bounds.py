"""Bounds of the mutual information and the marginal KL for the distribution that the examples come from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from rdstudy.evaluation.measure import Measure, Value
from rdstudy.study.measures import MeasuredColumn, Scheduled
from rdstudy.study.scalars import PositiveInt
from rdstudy.study.schedule import Examples, examples_of

if TYPE_CHECKING:
    import numpy as np

    from rdstudy.evaluation.estimate import Estimate
    from rdstudy.evaluation.population import EncodedPopulation

FLOP_PER_PAIR = 200.0
"""Cost of one pair of a draw and a code: the operations of a matrix product that takes equally long (measured)."""
FLOP_PER_EXAMPLE = 6e6
"""Cost of fitting the densities, for each example drawn from (measured with 10 latents and 32 components)."""


class InformationBounds(Scheduled, Measure):
    """Bounds of I and of KL(q(z) || p(z)) by one draw of z of each example, and a density fitted to the marginal q(z).

    Each population stands for itself: the density is fitted to one half of its codes and judged on the other half, and
    the halves change places. The lower bound of I has the expectation of `mi_nats`; its draws are those of the upper
    bound, so that the two can be compared, and its error is that of a statement about the distribution.
    """

    examples: Examples = Field(
        8192, description="Examples per population to draw from, a random choice, the same for every cell; or all."
    )
    components: PositiveInt = Field(32, description="Gaussians in a fitted mixture, at most.")

    effort: ClassVar[tuple[str, ...]] = ("mi_bounds_examples", "mi_bounds_components")
    columns: ClassVar[tuple[MeasuredColumn, ...]] = (
        MeasuredColumn(
            "mi_lower_nats",
            float,
            "nats",
            "lower bound in expectation of I for the distribution of the examples: E[log q(z|x) - log q(z)], q(z) the "
            "aggregate posterior over this row's population; at most log n_examples",
            label="information, at least",
        ),
        MeasuredColumn("mi_lower_se", float, "nats", "standard error of the lower bound over examples and draws"),
        MeasuredColumn(
            "mi_upper_nats",
            float,
            "nats",
            "upper bound in expectation of I for that distribution: E[log q(z|x) - log r(z)], r a density fitted to "
            "half of the codes and judged on the other half, or p where none is closer",
            label="information, at most",
        ),
        MeasuredColumn("mi_upper_se", float, "nats", "standard error of the upper bound over examples and draws"),
        MeasuredColumn(
            "marginal_kl_lower_nats",
            float,
            "nats",
            "lower bound in expectation of KL(q(z) || p(z)) for that distribution: R - mi_upper_nats",
            label="marginal KL, at least",
        ),
        MeasuredColumn("marginal_kl_lower_se", float, "nats", "standard error of this bound over examples and draws"),
        MeasuredColumn(
            "marginal_kl_upper_nats",
            float,
            "nats",
            "upper bound in expectation of KL(q(z) || p(z)) for that distribution: R - mi_lower_nats",
            label="marginal KL, at most",
        ),
        MeasuredColumn("marginal_kl_upper_se", float, "nats", "standard error of this bound over examples and draws"),
        MeasuredColumn(
            "mi_bounds_examples", int, "examples", "examples from which z was drawn for the bounds", exact=True
        ),
        MeasuredColumn(
            "mi_bounds_components", int, "components", "Gaussians that a mixture in r could have", exact=True
        ),
    )

    def compute(self, population: EncodedPopulation, rng: np.random.Generator) -> dict[str, Value]:
        """The bounds from the first `examples` of the population; the errors are null for a single example."""
        from rdstudy.evaluation.information_bounds import information_bounds

        m = examples_of(self.examples, len(population))
        found = information_bounds(
            *population.posterior,
            population.rate,
            population.model.log_prior,
            generator=rng,
            examples=m,
            components=self.components,
        )
        return {
            **_columns("mi_lower", found.mi_lower),
            **_columns("mi_upper", found.mi_upper),
            **_columns("marginal_kl_lower", found.marginal_kl_lower),
            **_columns("marginal_kl_upper", found.marginal_kl_upper),
            "mi_bounds_examples": m,
            "mi_bounds_components": self.components,
        }

    def cost(self, n: int, decoder_flop: float, pixels: int) -> float:
        """All pairs of a draw and a code, and the fits."""
        m = examples_of(self.examples, n)
        return FLOP_PER_PAIR * m * n + FLOP_PER_EXAMPLE * m * self.components / 32


def _columns(name: str, found: Estimate) -> dict[str, Value]:
    error = found.standard_error
    return {f"{name}_nats": found.value, f"{name}_se": None if math.isnan(error) else error}

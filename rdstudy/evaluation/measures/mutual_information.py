"""Mutual information and marginal KL, which share their draws, and active units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from rdstudy.evaluation.measure import Measure, Value
from rdstudy.study.measures import MeasuredColumn, Scheduled
from rdstudy.study.scalars import LARGEST, PositiveInt
from rdstudy.study.schedule import examples_of

if TYPE_CHECKING:
    import numpy as np

    from rdstudy.evaluation.population import EncodedPopulation

FLOP_PER_PAIR = 150.0
"""Cost of one pair of a draw and an example: the operations of a matrix product that takes equally long (measured)."""


class MutualInformation(Scheduled, Measure):
    """Mutual information, marginal KL and active units, each population its own q(z): N^2 pairs a draw."""

    draws: PositiveInt = Field(1, description="Draws of z per example; the standard error falls with their root.")
    examples: Literal["all"] | Annotated[int, Field(ge=2, le=LARGEST)] = Field(
        "all", description="Population of q(z): all examples, or a random m of them, which lowers I's ceiling to log m."
    )

    added: ClassVar[bool] = False
    stream: ClassVar[str] = "information"
    effort: ClassVar[tuple[str, ...]] = ("mi_examples", "mi_draws")
    columns: ClassVar[tuple[MeasuredColumn, ...]] = (
        MeasuredColumn(
            "mi_nats",
            float,
            "nats",
            "I = E[log q(z|x) - log q(z)], q(z) the aggregate posterior over this row's own population: unbiased for "
            "these N codes; for the distribution they come from a lower bound, at most log N",
            label="mutual information",
        ),
        MeasuredColumn("mi_se", float, "nats", "standard error of I over draws, these N codes held fixed"),
        MeasuredColumn(
            "mi_ceiling_nats",
            float,
            "nats",
            "log of the number of examples in q(z): I of these codes cannot exceed it, I of their distribution can",
            exact=True,
        ),
        MeasuredColumn("mi_draws", int, "draws", "draws of z per example in I and the marginal KL", exact=True),
        MeasuredColumn(
            "mi_examples",
            int,
            "examples",
            "examples in q(z): the row's whole population, or a subsample of m, whose ceiling is log m",
            exact=True,
        ),
        MeasuredColumn(
            "marginal_kl_nats",
            float,
            "nats",
            "KL(q(z) || p(z)) = R - I: unbiased for these N codes, and below 0 only by Monte-Carlo error; for the "
            "distribution they come from an upper bound, and R - log N wherever I is at its ceiling",
            label="marginal KL",
        ),
        MeasuredColumn(
            "marginal_kl_se", float, "nats", "standard error of the marginal KL over draws, these N codes held fixed"
        ),
        MeasuredColumn(
            "active_units",
            int,
            "dimensions",
            "latent dimensions with Var_x[mean_d(x)] > 0.01",
            label="active units",
        ),
    )

    def compute(self, population: EncodedPopulation, rng: np.random.Generator) -> dict[str, Value]:
        """The estimates over the first `examples` of the population; the active units over all."""
        from rdstudy.evaluation.gaussian import active_units
        from rdstudy.evaluation.mutual_information import decompose_rate
        from rdstudy.models.objective import Posterior

        model, (mean, log_std) = population.model, population.posterior
        m = examples_of(self.examples, len(population))
        closed = model.rate_in_closed_form
        encoded = Posterior(mean[:m].double(), log_std[:m].double())
        split = decompose_rate(
            mean[:m],
            log_std[:m],
            generator=rng,
            draws_per_example=self.draws,
            rates=model.rate(encoded, encoded.mean) if closed else None,
            log_prior=None if closed else model.log_prior,
        )
        return {
            "mi_nats": split.mutual_information.value,
            "mi_se": split.mutual_information.standard_error,
            "mi_ceiling_nats": split.ceiling,
            "mi_draws": self.draws,
            "mi_examples": m,
            "marginal_kl_nats": split.marginal_kl.value,
            "marginal_kl_se": split.marginal_kl.standard_error,
            "active_units": active_units(mean),
        }

    def cost(self, n: int, decoder_flop: float, pixels: int) -> float:
        """All pairs of a draw and an example."""
        m = examples_of(self.examples, n)
        return FLOP_PER_PAIR * m * m * self.draws

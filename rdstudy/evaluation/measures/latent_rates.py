"""The rate of each latent dimension."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rdstudy.evaluation.measure import Measure, Value
from rdstudy.study.measures import MeasuredColumn

if TYPE_CHECKING:
    import numpy as np

    from rdstudy.evaluation.population import EncodedPopulation


class LatentRates(Measure):
    """How the rate is divided among the latent dimensions; a dimension near 0 nats is not used (posterior collapse).

    Without draws. The number of dimensions above 0.01 nats is a count of active units that, unlike the variance of the
    means (Burda et al. 2016), does not depend on the scale of the latent.
    """

    columns: ClassVar[tuple[MeasuredColumn, ...]] = (
        MeasuredColumn(
            "latent_rates_nats",
            list[float],
            "nats",
            "R_d = E_x KL(q(z_d|x) || p(z_d)) of each latent dimension d, which sum to R; null for a prior of which R "
            "is no such sum in closed form (`mixture`), and in tables made before this column",
            label="rate by dimension",
        ),
    )

    def compute(self, population: EncodedPopulation, rng: np.random.Generator) -> dict[str, Value]:
        """Means over the examples, in float64; null where the prior has no `latent_rates`."""
        mean, log_std = population.posterior
        rates = population.model.latent_rates(
            population.posterior._replace(mean=mean.double(), log_std=log_std.double())
        )
        return {"latent_rates_nats": None if rates is None else rates.mean(0).tolist()}

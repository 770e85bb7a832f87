"""Rate, distortion and ELBO: means over all examples of the population, every example once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from rdstudy.evaluation.measure import Measure, Value
from rdstudy.study.measures import MeasuredColumn

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float
    from torch import Tensor

    from rdstudy.evaluation.population import EncodedPopulation


class RateDistortion(Measure):
    """Rate, distortion and ELBO; their draws are those of the encoding."""

    added: ClassVar[bool] = False
    effort: ClassVar[tuple[str, ...]] = ("n_examples",)
    columns: ClassVar[tuple[MeasuredColumn, ...]] = (
        MeasuredColumn(
            "distortion_nats",
            float,
            "nats",
            "D = E_x E_q(z|x)[-log p(x|z)], one draw of z per example",
            label="distortion",
        ),
        MeasuredColumn("distortion_se", float, "nats", "standard error of D over examples and draws"),
        MeasuredColumn(
            "rate_nats",
            float,
            "nats",
            "R = E_x KL(q(z|x) || p(z)), in closed form, or for a prior without one by the draws of D",
            label="rate",
        ),
        MeasuredColumn("rate_se", float, "nats", "standard error of R over examples, and draws where there are any"),
        MeasuredColumn("elbo_nats", float, "nats", "-(D + R), whatever beta was trained with", label="ELBO"),
        MeasuredColumn("elbo_se", float, "nats", "standard error of the ELBO over examples and draws"),
    )

    def compute(self, population: EncodedPopulation, rng: np.random.Generator) -> dict[str, Value]:
        """Means and their standard errors; null for the errors of a single example."""
        return {
            **_mean("rate", population.rate),
            **_mean("distortion", population.distortion),
            **_mean("elbo", -(population.distortion + population.rate)),
        }


def _mean(name: str, values: Float[Tensor, " examples"]) -> dict[str, Value]:
    error = (values.std() / math.sqrt(len(values))).item() if len(values) > 1 else None
    return {f"{name}_nats": values.mean().item(), f"{name}_se": error}

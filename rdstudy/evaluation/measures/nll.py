"""The negative log-likelihood by importance weighting."""

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

    from rdstudy.evaluation.population import EncodedPopulation

FLOP_PER_PIXEL = 180.0
"""Cost of one pixel of one draw: the operations of a matrix product that takes equally long (measured)."""


class NLL(Scheduled, Measure):
    """NLL by importance weighting: draws x examples passes through the decoder."""

    importance_samples: PositiveInt = Field(128, description="Draws of z per example; the bound falls as they grow.")
    examples: Examples = Field(
        1000, description="Examples per population to sample, a random choice, the same for every cell; or all."
    )

    added: ClassVar[bool] = False
    stream: ClassVar[str] = "likelihood"
    effort: ClassVar[tuple[str, ...]] = ("nll_draws", "nll_examples")
    columns: ClassVar[tuple[MeasuredColumn, ...]] = (
        MeasuredColumn(
            "nll_nats",
            float,
            "nats",
            "-log p(x) by importance weighting: an upper bound in expectation, falling with nll_draws",
            label="NLL",
        ),
        MeasuredColumn("nll_se", float, "nats", "standard error of the NLL over examples"),
        MeasuredColumn("nll_draws", int, "draws", "importance samples per example", exact=True),
        MeasuredColumn(
            "nll_examples",
            int,
            "examples",
            "examples that were importance-sampled; carried over to all by the -ELBO",
            exact=True,
        ),
        MeasuredColumn(
            "nll_ess", float, "draws", "effective sample size of the importance weights, mean over examples"
        ),
        MeasuredColumn(
            "nll_unreliable_share",
            float,
            "",
            "share of examples whose importance weights have a Pareto tail index above 0.7 (unreliable)",
        ),
    )

    def compute(self, population: EncodedPopulation, rng: np.random.Generator) -> dict[str, Value]:
        """The estimate of the first `examples` of the population, carried over to all N by the -ELBO.

            NLL = 1/N sum_N -ELBO_n + 1/m sum_m (NLL_n + ELBO_n)
            Var = Var(NLL_n) / N + (1/m - 1/N) Var(NLL_n + ELBO_n)

        (The difference estimator of two-phase sampling, Cochran 1977, section 12.9.) It is as unbiased, far less noisy,
        and comparable with the -ELBO, because the examples of the subsample may be harder or easier than all.
        """
        import torch

        from rdstudy.evaluation.importance_sampling import importance_weighted_nll, pooled

        batches = population.batches(examples_of(self.examples, len(population)))
        estimate = pooled(
            [importance_weighted_nll(population.model, x, self.importance_samples, generator=rng) for x in batches]
        )
        negative_elbo = (population.distortion + population.rate).cpu()
        each = torch.tensor(estimate.each, dtype=torch.float64)
        difference = each - negative_elbo[: len(each)]
        m, n = len(each), len(negative_elbo)
        error = math.sqrt(each.var() / n + (1 / m - 1 / n) * difference.var()) if m > 1 else None
        return {
            "nll_nats": (negative_elbo.mean() + difference.mean()).item(),
            "nll_se": error,
            "nll_draws": estimate.draws,
            "nll_examples": estimate.count,
            "nll_ess": estimate.effective_sample_size,
            "nll_unreliable_share": estimate.unreliable_share,
        }

    def cost(self, n: int, decoder_flop: float, pixels: int) -> float:
        """The decoder and the likelihood of every draw."""
        return (decoder_flop + FLOP_PER_PIXEL * pixels) * (examples_of(self.examples, n) * self.importance_samples)

"""The negative log-likelihood by importance sampling."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from rdstudy.evaluation.measure import FLOP_PER_PIXEL, Measure, Value
from rdstudy.study.measures import MeasuredColumn, Scheduled
from rdstudy.study.renamed_keys import Record
from rdstudy.study.scalars import PositiveInt
from rdstudy.study.schedule import Examples, examples_of

if TYPE_CHECKING:
    import numpy as np

    from rdstudy.evaluation.population import EncodedPopulation

PASSES_OF_FIT = 640.0
"""Passes through the decoder per example that take as long as the fit of an adaptive proposal (measured)."""


class NLL(Scheduled, Measure):
    """NLL by importance sampling: draws x examples passes through the decoder."""

    importance_samples: PositiveInt = Field(
        512,
        description="Draws of z per example. Weights are called reliable up to a Pareto tail index of "
        "min(1 - 1 / log10(draws), 0.7): 0.45 at 64 draws, 0.63 at 512.",
    )
    examples: Examples = Field(
        64, description="Examples per population to sample, a random choice, the same for every cell; or all."
    )
    proposal: Literal["adaptive", "encoder"] = Field(
        "adaptive",
        description="Where z is drawn from: `adaptive`, fitted to each example's posterior; `encoder`, as published "
        "importance-weighted values are, which at beta < 1 are tens of nats too high.",
    )

    added: ClassVar[bool] = False
    stream: ClassVar[str] = "likelihood"
    effort: ClassVar[tuple[str, ...]] = ("nll_components", "nll_draws", "nll_examples")
    columns: ClassVar[tuple[MeasuredColumn, ...]] = (
        MeasuredColumn(
            "nll_nats",
            float,
            "nats",
            "-log p(x) by importance sampling: an upper bound in expectation; too high by about half of "
            "1 / nll_ess - 1 / nll_draws where the weights are reliable",
            label="NLL",
        ),
        MeasuredColumn("nll_se", float, "nats", "standard error of the NLL over examples"),
        MeasuredColumn("nll_draws", int, "draws", "importance samples per example", exact=True),
        MeasuredColumn(
            "nll_examples",
            int,
            "examples",
            "examples that were importance-sampled; carried over to all by their D and R (by the -ELBO where "
            "nll_components is null)",
            exact=True,
        ),
        MeasuredColumn(
            "nll_components",
            int,
            "",
            "components of the proposal that was fitted to each example, the prior among them; null: the encoder's "
            "posterior was the proposal, and at beta < 1 the NLL is tens of nats too high",
            exact=True,
            added=True,
        ),
        MeasuredColumn(
            "nll_ess",
            float,
            "draws",
            "effective sample size of the importance weights, harmonic mean over examples (arithmetic, which hides the "
            "examples that matter, where nll_components is null)",
        ),
        MeasuredColumn(
            "nll_unreliable_share",
            float,
            "",
            "share of examples whose importance weights have a Pareto tail index above "
            "min(1 - 1 / log10(nll_draws), 0.7) (unreliable)",
        ),
    )

    @property
    def identity(self) -> Record:
        """The settings; an encoder's proposal has the identity of the versions that knew no other."""
        settings = super().identity
        return settings if self.proposal == "adaptive" else {k: v for k, v in settings.items() if k != "proposal"}

    def compute(self, population: EncodedPopulation, rng: np.random.Generator) -> dict[str, Value]:
        """The estimate of the first `examples` of the population, carried over to all N.

        By regression on D_n and R_n (`regressed_mean`): far less noisy than the mean of m, and comparable with the
        other values of the row, because the examples of the subsample may be harder or easier than all. At small beta
        D + R is mostly the encoder's miss, and the slopes are small. With the encoder's proposal they are 1.
        """
        from rdstudy.evaluation.adaptive_proposal import STARTS
        from rdstudy.evaluation.estimate import regressed_mean
        from rdstudy.evaluation.importance_sampling import importance_weighted_nll

        batches = population.batches(examples_of(self.examples, len(population)))
        estimate = importance_weighted_nll(
            population.model, batches, self.importance_samples, generator=rng, proposal=self.proposal
        )
        adaptive = self.proposal == "adaptive"
        terms = (population.distortion, population.rate)
        value, error = regressed_mean(estimate.each, terms, fitted=adaptive)
        effective = estimate.effective_sample_size if adaptive else sum(estimate.each_effective) / estimate.count
        return {
            "nll_nats": value,
            "nll_se": error,
            "nll_draws": estimate.draws,
            "nll_examples": estimate.count,
            "nll_components": len(STARTS) + 1 if adaptive else None,
            "nll_ess": effective,
            "nll_unreliable_share": estimate.unreliable_share,
        }

    def cost(self, n: int, decoder_flop: float, pixels: int) -> float:
        """The decoder and the likelihood of every draw, and of the fit."""
        passes = self.importance_samples + (PASSES_OF_FIT if self.proposal == "adaptive" else 0.0)
        return (decoder_flop + FLOP_PER_PIXEL * pixels) * (examples_of(self.examples, n) * passes)

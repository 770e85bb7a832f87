"""The negative log-likelihood and the rate-distortion curve of a decoder by annealed importance sampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from rdstudy.evaluation.measure import FLOP_PER_PIXEL, Measure, Value
from rdstudy.study.measures import MeasuredColumn, Scheduled
from rdstudy.study.scalars import PositiveInt
from rdstudy.study.schedule import Examples, When, examples_of

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float
    from torch import Tensor

    from rdstudy.evaluation.population import EncodedPopulation

PASSES_PER_GRADIENT = 1.25
"""Passes through decoder and likelihood that take as long as a leapfrog step (measured at 3,072 pixels, 10 latents)."""
ADAPTING_STEPS, PASSES_PER_SHAPE = 25, 60.0
"""Of the adapting run: steps, and passes that take as long as the second derivatives of each."""
POINTS = 33
"""Of the curve in the table."""


class AIS(Scheduled, Measure):
    """NLL and rate-distortion curve by annealed importance sampling with Hamiltonian Monte Carlo, without an encoder.

    The reference for the NLL, because the encoder's error does not enter. It is measured for the first examples of
    those of the NLL, and carried over to all by their D and R as the NLL is.
    """

    at: When = Field("never", description="Steps: never, final, all, a list or {log_spaced: N}.")
    examples: Examples = Field(
        32, description="Examples per population to sample, a random choice, the same for every cell; or all."
    )
    chains: PositiveInt = Field(16, ge=4, description="Chains per example; the bound falls as they grow.")
    steps: PositiveInt = Field(500, description="Temperatures from prior to posterior; the bound falls as they grow.")
    leapfrog_steps: PositiveInt = Field(2, description="Leapfrog steps of the transition at each temperature.")
    to_beta: bool = Field(
        False, description="Whether the curve goes on from t = 1 to 1 / beta, at which training aims; costs up to 4x."
    )

    effort: ClassVar[tuple[str, ...]] = ("ais_examples", "ais_steps", "ais_chains")
    columns: ClassVar[tuple[MeasuredColumn, ...]] = (
        MeasuredColumn(
            "ais_nll_nats",
            float,
            "nats",
            "-log p(x) by annealed importance sampling, without the encoder: an upper bound in expectation, falling "
            "with ais_steps and ais_chains",
            label="NLL by AIS",
        ),
        MeasuredColumn("ais_nll_se", float, "nats", "standard error of it over examples and draws"),
        MeasuredColumn(
            "ais_examples",
            int,
            "examples",
            "examples that were annealed; from 20 on carried over to all by D and R",
            exact=True,
        ),
        MeasuredColumn("ais_chains", int, "chains", "chains per example", exact=True),
        MeasuredColumn("ais_steps", int, "steps", "temperatures from prior to posterior", exact=True),
        MeasuredColumn(
            "ais_effective_chains",
            float,
            "chains",
            "effective sample size of the chains' weights, harmonic mean over examples",
        ),
        MeasuredColumn(
            "ais_acceptance", float, "", "mean probability that a transition of the chains is accepted; 0.8 is aimed at"
        ),
        MeasuredColumn(
            "ais_curve_t",
            list[float],
            "",
            "weights t of log p(x|z) at the points of the decoder's rate-distortion curve: 0 is the prior, 1 the "
            "posterior, 1 / beta what training aims at",
        ),
        MeasuredColumn(
            "ais_curve_rate_nats",
            list[float],
            "nats",
            "R(t) = -log Z_t - t D(t) of p(z) p(x|z)^t, carried over like ais_nll_nats: an upper bound in "
            "expectation, given D(t), and a loose one at large t: D + R / t is closer",
        ),
        MeasuredColumn("ais_curve_rate_se", list[float], "nats", "standard errors of R(t) over examples and draws"),
        MeasuredColumn(
            "ais_curve_distortion_nats",
            list[float],
            "nats",
            "D(t) = E_t[-log p(x|z)] of the same, carried over likewise; no encoder of this decoder has less D + R / t",
        ),
        MeasuredColumn(
            "ais_curve_distortion_se", list[float], "nats", "standard errors of D(t) over examples and draws"
        ),
    )

    def compute(self, population: EncodedPopulation, rng: np.random.Generator) -> dict[str, Value]:
        """The estimate of the first `examples` of the population, carried over to all N.

        By regression on D_n and R_n (`regressed_mean`), the NLL, D(t) and R(t) alike: at t = 1 they add up to the NLL.
        Slopes of 1 are far off at small beta, where D_n and R_n are mostly the encoder's miss.
        """
        import torch

        from rdstudy.evaluation.ais import annealed_importance_sampling
        from rdstudy.evaluation.estimate import regressed_mean

        images = torch.cat(list(population.batches(examples_of(self.examples, len(population)))))
        found = annealed_importance_sampling(
            population.model,
            images,
            generator=rng,
            chains=self.chains,
            steps=self.steps,
            leapfrog_steps=self.leapfrog_steps,
            largest=max(1.0, 1 / population.beta) if self.to_beta else 1.0,
        )
        terms = (population.distortion, population.rate)
        nll, nll_error = regressed_mean(found.each, terms)
        curve = found.curve.thinned(POINTS)
        rates, rate_errors = _carried_over(curve.rates, terms)
        distortions, distortion_errors = _carried_over(curve.distortions, terms)
        return {
            "ais_nll_nats": nll,
            "ais_nll_se": nll_error,
            "ais_examples": len(images),
            "ais_chains": self.chains,
            "ais_steps": self.steps,
            "ais_effective_chains": found.effective_sample_size,
            "ais_acceptance": found.acceptance,
            "ais_curve_t": curve.t.tolist(),
            "ais_curve_rate_nats": rates,
            "ais_curve_rate_se": rate_errors,
            "ais_curve_distortion_nats": distortions,
            "ais_curve_distortion_se": distortion_errors,
        }

    def cost(self, n: int, decoder_flop: float, pixels: int) -> float:
        """The gradients of all chains up to t = 1, and the adapting run."""
        gradients = self.chains * self.leapfrog_steps * (self.steps + ADAPTING_STEPS)
        passes = PASSES_PER_GRADIENT * gradients + ADAPTING_STEPS * PASSES_PER_SHAPE
        return (decoder_flop + FLOP_PER_PIXEL * pixels) * examples_of(self.examples, n) * passes


def _carried_over(
    values: Float[Tensor, "temperatures some"], terms: Sequence[Float[Tensor, " all"]]
) -> tuple[list[float], list[float] | None]:
    """Means over all examples at each temperature, by regression on what is known of all; and their errors."""
    from rdstudy.evaluation.estimate import regressed_mean

    found = [regressed_mean(each, terms) for each in values.tolist()]
    return [mean for mean, _ in found], [error for _, error in found if error is not None] or None

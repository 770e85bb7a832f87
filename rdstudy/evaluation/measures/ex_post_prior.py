"""What a prior gains that is fitted to the codes of the trained model, encoder and decoder kept as they are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from rdstudy.evaluation.measure import FLOP_PER_PIXEL, Measure, Value
from rdstudy.evaluation.measures.nll import PASSES_OF_FIT
from rdstudy.study.measures import MeasuredColumn, Scheduled
from rdstudy.study.registry import canonical, json_schema
from rdstudy.study.scalars import PositiveInt
from rdstudy.study.schedule import Examples, When, examples_of

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float
    from torch import Tensor

    from rdstudy.evaluation.ex_post import FittedPrior
    from rdstudy.evaluation.population import EncodedPopulation

FLOP_PER_STEP = 5e7
"""A third of the cost of a step of the search, which is made once for up to three populations: the operations of a
matrix product that takes equally long (2 to 6 ms a step were measured with 10 latents, by the prior)."""


def _learned(value: str) -> str:
    if value.strip() == "standard_normal":
        raise PydanticCustomError("no_parameters", "standard_normal has no parameters, so there is nothing to fit")
    return canonical("prior", value)


class ExPostPrior(Scheduled, Measure):
    """R, -ELBO and NLL with a prior that is fitted to the training codes after training, judged on every population.

    D and the mutual information are those of the model, exactly: what R falls by, -ELBO and the marginal KL fall by
    too. So the gain says how far the standard normal, or whatever the model was trained with, was from the codes.
    """

    at: When = Field("never", description="Steps: never, final, all, a list or {log_spaced: N}.")
    prior: Annotated[str, AfterValidator(_learned), WithJsonSchema(json_schema("prior"))] = Field(
        "flow(4)", description="What is fitted to the codes, spelt as in grid.prior."
    )
    steps: PositiveInt = Field(1000, description="Steps of the search.")
    importance_samples: PositiveInt = Field(512, description="Draws of z per example for the NLL.")
    nll_examples: Examples = Field(
        64, description="Examples per population for the NLL, the same for every cell; or all."
    )

    effort: ClassVar[tuple[str, ...]] = ("ex_post_steps", "ex_post_nll_examples")
    columns: ClassVar[tuple[MeasuredColumn, ...]] = (
        MeasuredColumn(
            "ex_post_prior",
            str,
            "",
            "prior that was fitted to the codes of the training set, after training; all other values of the row are "
            "those of the model's own prior",
            exact=True,
        ),
        MeasuredColumn(
            "ex_post_rate_nats",
            float,
            "nats",
            "R with the fitted prior; D does not change, so -ELBO is distortion_nats + ex_post_rate_nats",
            label="rate, prior fitted ex post",
        ),
        MeasuredColumn("ex_post_rate_se", float, "nats", "standard error of this rate over examples and draws"),
        MeasuredColumn(
            "ex_post_gain_nats",
            float,
            "nats",
            "what the fitted prior gains: rate_nats - ex_post_rate_nats, by which -ELBO and the marginal KL fall",
            label="gain of the prior",
        ),
        MeasuredColumn("ex_post_gain_se", float, "nats", "standard error of the gain over examples and draws, paired"),
        MeasuredColumn(
            "ex_post_worst_nats",
            float,
            "nats",
            "largest rise of the rate of a single example: a density fitted to the training codes may be very small "
            "at others",
        ),
        MeasuredColumn(
            "ex_post_nll_nats",
            float,
            "nats",
            "-log p(x) with the fitted prior by importance sampling, carried over to all examples by D and R: an upper "
            "bound in expectation",
            label="NLL, prior fitted ex post",
        ),
        MeasuredColumn("ex_post_nll_se", float, "nats", "standard error of this NLL over examples"),
        MeasuredColumn(
            "ex_post_nll_unreliable_share", float, "", "share of its examples whose importance weights are unreliable"
        ),
        MeasuredColumn("ex_post_nll_examples", int, "examples", "examples that were importance-sampled", exact=True),
        MeasuredColumn(
            "ex_post_change_nats",
            float,
            "nats",
            "fall of the rate of the training codes in the second half of the search; small where it has converged",
        ),
        MeasuredColumn("ex_post_steps", int, "steps", "steps of the search", exact=True),
    )

    def compute(self, population: EncodedPopulation, rng: np.random.Generator) -> dict[str, Value]:
        """The prior of the training codes, judged on this population's."""
        from rdstudy.evaluation.estimate import regressed_mean
        from rdstudy.evaluation.ex_post import WithPrior
        from rdstudy.evaluation.importance_sampling import importance_weighted_nll

        fitted = self._fitted(population.training)
        gain = _gain(population, fitted, rng)
        rate, n = population.rate - gain, len(population)
        batches = population.batches(examples_of(self.nll_examples, n))
        model = WithPrior(population.model, fitted)
        nll = importance_weighted_nll(model, batches, self.importance_samples, generator=rng)
        value, error = regressed_mean(nll.each, (population.distortion, rate))
        return {
            "ex_post_prior": self.prior,
            "ex_post_rate_nats": rate.mean().item(),
            "ex_post_rate_se": _error(rate),
            "ex_post_gain_nats": gain.mean().item(),
            "ex_post_gain_se": _error(gain),
            "ex_post_worst_nats": -gain.min().item(),
            "ex_post_nll_nats": value,
            "ex_post_nll_se": error,
            "ex_post_nll_unreliable_share": nll.unreliable_share,
            "ex_post_nll_examples": nll.count,
            "ex_post_change_nats": fitted.change,
            "ex_post_steps": self.steps,
        }

    def _fitted(self, training: EncodedPopulation) -> FittedPrior:
        """The prior of these codes, fitted once for all populations of a model."""
        from rdstudy.evaluation.ex_post import fit_prior
        from rdstudy.study.seeding import generator

        def made() -> FittedPrior:
            rng = generator("ex post", self.prior)
            return fit_prior(self.prior, training.posterior, rng, steps=self.steps, model=training.model)

        return training.once(("ex post", self.prior, self.steps), made)

    def cost(self, n: int, decoder_flop: float, pixels: int) -> float:
        """The search, and the NLL."""
        passes = (self.importance_samples + PASSES_OF_FIT) * examples_of(self.nll_examples, n)
        return (decoder_flop + FLOP_PER_PIXEL * pixels) * passes + FLOP_PER_STEP * self.steps


def _gain(population: EncodedPopulation, fitted: FittedPrior, rng: np.random.Generator) -> Float[Tensor, " examples"]:
    """What the rate of each example falls by: in closed form, or else at one draw of z that both priors see."""
    import torch

    model, posterior = population.model, population.posterior
    noise = torch.from_numpy(rng.standard_normal(tuple(posterior.mean.shape))).to(posterior.mean.device)
    z = torch.addcmul(posterior.mean.double(), posterior.log_std.double().exp(), noise)
    if model.rate_in_closed_form and fitted.prior.closed_form:
        return population.rate - fitted.rate(posterior, z)
    return fitted.log_density(z) - model.log_prior(z)


def _error(terms: Float[Tensor, " examples"]) -> float | None:
    """Standard error of the mean; null for a single example."""
    return (terms.std() / math.sqrt(len(terms))).item() if len(terms) > 1 else None

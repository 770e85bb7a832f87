"""The posterior refitted for each example: what of the distortion is the encoder's, and what the decoder's."""

from __future__ import annotations

import math
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

PASSES_OF_NEWTON, PASSES_PER_STEP, PASSES_OF_CHOICE = 430.0, 8.0, 96.0
"""Passes through the decoder per example that take equally long (measured at 3,072 pixels and 10 latents)."""


class Refit(Scheduled, Measure):
    """Per-example refit of q(z|x) at the cell's own beta, with the decoder frozen (the inference gap).

    D* and R* are carried over to the whole population by D and R, which are measured for all:
    D* = 1/N sum_N D_n + 1/m sum_m (D*_n - D_n), both by the same draws, and R* alike. So D + beta R - (D* + beta R*)
    is the inference gap exactly, and its difference between test and training set is the encoder's part of the
    generalization gap of D + beta R; that of D* + beta R* is the decoder's.
    """

    at: When = Field("never", description="Steps: never, final, all, a list or {log_spaced: N}.")
    steps: PositiveInt = Field(50, description="Steps of Adam after the Newton steps, and as many smaller ones.")
    examples: Examples = Field(
        256, description="Examples per population to refit, a random choice, the same for every cell; or all."
    )

    effort: ClassVar[tuple[str, ...]] = ("refit_examples", "refit_steps")
    columns: ClassVar[tuple[MeasuredColumn, ...]] = (
        MeasuredColumn(
            "refit_distortion_nats",
            float,
            "nats",
            "D* = E_x E_q*[-log p(x|z)], q* the Gaussian of least D + beta R for each x, at the beta of training",
            label="refitted distortion",
        ),
        MeasuredColumn("refit_distortion_se", float, "nats", "standard error of D* over examples and draws"),
        MeasuredColumn(
            "refit_rate_nats", float, "nats", "R* = E_x KL(q* || p(z)) of the same q*", label="refitted rate"
        ),
        MeasuredColumn("refit_rate_se", float, "nats", "standard error of R* over examples, and any draws"),
        MeasuredColumn(
            "inference_gap_nats",
            float,
            "nats",
            "D + beta R - (D* + beta R*), the encoder's part: a lower bound of it, as the search for q* may not end at "
            "the least",
            label="inference gap",
        ),
        MeasuredColumn("inference_gap_se", float, "nats", "standard error of the inference gap over examples"),
        MeasuredColumn(
            "refit_change_nats",
            float,
            "nats",
            "fall of D* + beta R* in the second half of the search: converged where below inference_gap_se",
        ),
        MeasuredColumn("refit_examples", int, "examples", "examples that were refitted", exact=True),
        MeasuredColumn("refit_steps", int, "steps", "steps of each half of the search", exact=True),
    )

    def compute(self, population: EncodedPopulation, rng: np.random.Generator) -> dict[str, Value]:
        """The refit of the first `examples` of the population, carried over to all N."""
        import torch

        from rdstudy.evaluation.estimate import two_phase_error
        from rdstudy.evaluation.refit import refit

        batches = population.batches(examples_of(self.examples, len(population)))
        found = [refit(population.model, x, population.beta, self.steps, rng) for x in batches]

        def joined(which: str, term: str) -> Float[Tensor, " examples"]:
            return torch.cat([getattr(getattr(each, which), term) for each in found])

        d, r = (joined("refitted", term) for term in ("distortion", "rate"))
        d_fall, r_fall = joined("amortised", "distortion") - d, joined("amortised", "rate") - r
        gap = d_fall + population.beta * r_fall
        change = (joined("halfway", "distortion") - d) + population.beta * (joined("halfway", "rate") - r)
        n, m = len(population), len(d)
        return {
            "refit_distortion_nats": (population.distortion.mean() - d_fall.mean()).item(),
            "refit_distortion_se": two_phase_error(d, d_fall, n),
            "refit_rate_nats": (population.rate.mean() - r_fall.mean()).item(),
            "refit_rate_se": two_phase_error(r, r_fall, n),
            "inference_gap_nats": gap.mean().item(),
            "inference_gap_se": (gap.std() / math.sqrt(m)).item() if m > 1 else None,
            "refit_change_nats": change.mean().item(),
            "refit_examples": m,
            "refit_steps": self.steps,
        }

    def cost(self, n: int, decoder_flop: float, pixels: int) -> float:
        """The decoder, the likelihood and their derivatives in every step, and the draws that choose and measure."""
        passes = PASSES_OF_NEWTON + self.steps * PASSES_PER_STEP + PASSES_OF_CHOICE
        return (decoder_flop + FLOP_PER_PIXEL * pixels) * examples_of(self.examples, n) * passes

"""Bidirectional Monte Carlo (BDMC): how far annealed importance sampling is from log p(x), for one model and settings.

On images simulated from the model an exact draw of the posterior is known: the z that made the image. Chains from it
down to the prior bound log p(x) from above in expectation, chains from the prior up bound it from below; the truth is
between (Grosse, Ghahramani & Adams 2015; of decoders, Wu, Burda, Salakhutdinov & Grosse 2017). Both gaps close as the
steps grow. For real images the lower bound alone is known, and the gap is that of images of the model's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rdstudy.evaluation import hmc
from rdstudy.evaluation.ais import CHAINS, LEAPFROG_STEPS, STEPS, anneal, anneal_back, prepared
from rdstudy.evaluation.hmc import Draws


@runtime_checkable
class Model(hmc.Model, Protocol):
    """One that images can be simulated from."""

    def sample_images(
        self, rng: np.random.Generator, output: Float[Tensor, "rows outputs"]
    ) -> Float[Tensor, "rows pixels"]:
        """Draws from p(x|z), for what `decode` gave."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds of -log p(x) of simulated images, in nats; float64.

    Attributes:
        upper: by chains from the prior, of each image; an upper bound in expectation.
        lower: by chains from the posterior; a lower bound in expectation.
        images: that were simulated.
        chains: per image and direction.
        steps: of each chain.
        leapfrog_steps: of each step's transition.
    """

    upper: Float[Tensor, " examples"]
    lower: Float[Tensor, " examples"]
    images: Float[Tensor, "examples pixels"]
    chains: int
    steps: int
    leapfrog_steps: int

    @property
    def gap(self) -> float:
        """Mean of upper - lower over images: an upper bound in expectation of the error of either."""
        return (self.upper - self.lower).mean().item()

    @property
    def gap_error(self) -> float:
        """Standard error of the gap over images and chains; nan for one image."""
        return (self.upper - self.lower).std().item() / math.sqrt(len(self.upper))


def bidirectional_monte_carlo(
    model: Model,
    like: Float[Tensor, "examples pixels"],
    *,
    generator: np.random.Generator,
    chains: int = CHAINS,
    steps: int = STEPS,
    leapfrog_steps: int = LEAPFROG_STEPS,
) -> Bounds:
    """Bound -log p(x) from both sides for images simulated from the model.

    The adaptation sees the images and not the z that made them, so that both bounds hold.

    Args:
        model: its decoder, likelihood and prior; parameters are kept as they are.
        like: as many images of its type and device as are to be simulated; only their shape is used.
        generator: source of all draws.
        chains: per image and direction, at least 4.
        steps: from the prior to the posterior, and back.
        leapfrog_steps: of each step's transition.

    Returns:
        Both bounds of every image.

    Raises:
        ValueError: no images, or a number below its least.
    """
    with torch.no_grad():
        z = model.sample_prior(generator, len(like)).to(like)
        images = model.sample_images(generator, model.decode(z)).to(like)
    target, annealing = prepared(model, images, generator, chains, steps, leapfrog_steps, 1.0)
    up = anneal(target, annealing, chains, Draws.of(generator, len(images))).log_weights
    down = anneal_back(target, annealing, z, chains, Draws.of(generator, len(images)))
    count = math.log(chains)
    return Bounds(count - up.logsumexp(1), (-down).logsumexp(1) - count, images, chains, steps, leapfrog_steps)

"""A proposal for importance sampling that is fitted to p(z|x) of each image, whatever the encoder gives.

    q(z) = (1 - e) sum_j a_j t(z; mean_j, covariance_j) + e p(z)

The components begin at Laplace's approximations of p(z|x), found with the decoder frozen from two starts. Population
Monte Carlo fits them (M-PMC: Cappe et al. 2008): in each round z is drawn from q, weighted by p(x|z) p(z) / q(z), and
the components take the weighted shares, means and covariances of all draws so far, which are weighted by the mixture of
all proposals so far (Cornuet et al. 2012). An encoder trained at beta < 1 is the wrong proposal: it is about
p(z) p(x|z)^(1/beta), too narrow, and misses by many of its widths.

The draws that fit a proposal must not be used for an estimate with it, which would be biased downwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rdstudy.evaluation import curvature
from rdstudy.evaluation.laplace import find_mode

STARTS = 1.0, 0.5
"""Parts of the encoder's mean from which the modes are searched, one component each."""
NEWTON_STEPS = 3
"""Towards each mode; more gain nothing once the components have been fitted (measured)."""
ROUNDS, DRAWS_PER_ROUND = 4, 100
"""Of the fit. On Tetrominoes at beta 0.1 the unreliable share falls from 5 to 1% from 3 to 4 rounds."""
PRIOR_SHARE = 0.03
"""e, the prior's share of the draws: no weight exceeds p(x|z) / e."""
DEGREES_OF_FREEDOM = 6.0
"""Of the t distributions. Heavier tails than the posterior's bound the weights."""
WIDENING = 1.2
"""Factor of the fitted standard deviations, for the same reason."""
SHRINKAGE = 4.0
"""Draws per latent dimension that Laplace's covariance counts as, beside the weighted ones."""
LEAST_EFFECTIVE = 2.0
"""Effective draws per latent dimension that a fit needs: weights are raised to the power below 1 that gives them."""
LEAST_SHARE = 0.02
"""Added to each component's share, so that none is lost."""


@runtime_checkable
class Model(curvature.Model, Protocol):
    """Decoder, likelihood and prior of a VAE, all in nats."""

    def sample_prior(self, rng: np.random.Generator, n: int) -> Float[Tensor, "n latent"]:
        """Draws from p(z)."""


LogJoint = Callable[[Float[Tensor, "examples draws latent"]], Float[Tensor, "examples draws"]]
"""log p(x|z) + log p(z) of each image's draws, float64."""


@dataclass(frozen=True)
class Mixture:
    """The proposal of each image: t distributions and the prior. All float64.

    Attributes:
        model: gives the prior.
        share: of each component, [examples, components]; they sum to 1.
        mean: [examples, components, latent].
        covariance: before widening, [examples, components, latent, latent].
    """

    model: Model
    share: Float[Tensor, "examples components"]
    mean: Float[Tensor, "examples components latent"]
    covariance: Float[Tensor, "examples components latent latent"]

    @cached_property
    def _axes(self) -> tuple[Tensor, Tensor]:
        """Standard deviations along the principal axes, and these axes as columns."""
        variance, axes = torch.linalg.eigh(self.covariance)
        return WIDENING * variance.maximum(1e-12 * variance[..., -1:]).sqrt(), axes

    def sample(self, rng: np.random.Generator, draws: int) -> Float[Tensor, "examples draws latent"]:
        """Independent images; of one image, draws stratified over the components by systematic sampling."""
        examples, components, latent = self.mean.shape
        std, axes = self._axes
        place = torch.from_numpy(rng.random((examples, 1))).to(std) + torch.arange(draws).to(std)
        ends = (1 - PRIOR_SHARE) * self.share.cumsum(1)
        ends[:, -1] = 1 - PRIOR_SHARE
        chosen = torch.searchsorted(ends, place / draws, right=True)
        noise = torch.from_numpy(rng.standard_normal((examples, 1, draws, latent))).to(std)
        chi_square = torch.from_numpy(rng.chisquare(DEGREES_OF_FREEDOM, (examples, 1, draws, 1))).to(std)
        noise = noise * (DEGREES_OF_FREEDOM / chi_square).sqrt()
        each = self.mean[:, :, None] + noise @ (axes * std[..., None, :]).mT
        z = each.take_along_dim(chosen.clamp(max=components - 1)[:, None, :, None], 1)[:, 0]
        of_prior = chosen == components
        z[of_prior] = self.model.sample_prior(rng, int(of_prior.sum())).to(z)
        return z

    def log_components(self, z: Float[Tensor, "examples draws latent"]) -> Float[Tensor, "examples components draws"]:
        """log a_j t(z; mean_j, covariance_j) in nats."""
        std, axes = self._axes
        latent, freedom = z.shape[-1], DEGREES_OF_FREEDOM
        score = (z[:, None] - self.mean[:, :, None]) @ (axes / std[..., None, :])
        size = 0.5 * (freedom + latent)
        constant = math.lgamma(size) - math.lgamma(0.5 * freedom) - 0.5 * latent * math.log(freedom * math.pi)
        scale = self.share.log() - std.log().sum(-1) + constant
        return scale[..., None] - size * (score.square().sum(-1) / freedom).log1p()

    def log_density(self, z: Float[Tensor, "examples draws latent"]) -> Float[Tensor, "examples draws"]:
        """log q(z) in nats."""
        fitted = self.log_components(z).logsumexp(1) + math.log1p(-PRIOR_SHARE)
        return torch.logaddexp(fitted, self.model.log_prior(z) + math.log(PRIOR_SHARE))


def fit_mixture(
    model: Model,
    images: Float[Tensor, "examples pixels"],
    encoded: Float[Tensor, "examples latent"],
    log_joint: LogJoint,
    rng: np.random.Generator,
) -> Mixture:
    """The proposal of each image after `ROUNDS` rounds.

    Args:
        model: its decoder, likelihood and prior.
        images: intensities in [0, 1], in the model's type.
        encoded: the posterior means that the encoder gives, from which the modes are searched.
        log_joint: what the proposal is fitted to.
        rng: source of the draws.
    """
    first = mixture = _laplace_mixture(model, images, encoded.nan_to_num())
    proposals: list[Mixture] = []
    z = encoded.new_empty(len(images), 0, encoded.shape[1], dtype=torch.float64)
    values = z.new_empty(len(images), 0)
    proposed = z.new_empty(0, len(images), 0)  # log densities of all draws under every proposal
    for _ in range(ROUNDS):
        fresh = mixture.sample(rng, DRAWS_PER_ROUND)
        proposed = torch.cat([proposed, mixture.log_density(z)[None]])
        proposals.append(mixture)
        of_fresh = torch.stack([each.log_density(fresh) for each in proposals])
        proposed = torch.cat([proposed, of_fresh], dim=-1)
        values = torch.cat([values, log_joint(fresh)], dim=-1)
        z = torch.cat([z, fresh], dim=1)
        log_weights = values - proposed.logsumexp(0)  # as many draws of each proposal
        mixture = _fitted(mixture, first.covariance, z, _flattened(log_weights, LEAST_EFFECTIVE * z.shape[-1]))
    return mixture


def _laplace_mixture(
    model: Model, images: Float[Tensor, "examples pixels"], encoded: Float[Tensor, "examples latent"]
) -> Mixture:
    """A component for each start. Half of the shares is equal, half is the masses of Laplace's approximations."""
    modes = [find_mode(model, images, 1.0, part * encoded, NEWTON_STEPS) for part in STARTS]
    latent, value, curvature = (torch.stack(parts, dim=1).double() for parts in zip(*modes, strict=True))
    precision, axes = torch.linalg.eigh(curvature)
    precision = precision.clamp(min=1e-3)  # no likelihood adds less than nothing, but a prior may curve upwards
    covariance = (axes / precision[..., None, :]) @ axes.mT
    mass = (-value - 0.5 * precision.log().sum(-1)).softmax(1).nan_to_num(1 / len(STARTS))
    return Mixture(model, 0.5 * mass + 0.5 / len(STARTS), latent, covariance)


def _flattened(log_weights: Float[Tensor, "examples draws"], effective: float) -> Float[Tensor, "examples draws"]:
    """Normalised weights to the largest power up to 1 at which so many draws count (Koblents & Miguez 2015)."""
    log_weights = log_weights.nan_to_num(nan=-torch.inf)

    def count(power: Tensor) -> Tensor:
        return 1 / (power * log_weights).softmax(1).square().sum(1, keepdim=True)

    low = torch.zeros_like(log_weights[:, :1])
    high = torch.ones_like(low)
    enough = count(high) >= effective
    for _ in range(12):
        middle = 0.5 * (low + high)
        above = count(middle) >= effective
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return (torch.where(enough, torch.ones_like(low), low) * log_weights).softmax(1)


def _fitted(
    mixture: Mixture,
    prior_covariance: Float[Tensor, "examples components latent latent"],
    z: Float[Tensor, "examples draws latent"],
    weights: Float[Tensor, "examples draws"],
) -> Mixture:
    """The components after one step of expectation and maximisation on weighted draws."""
    each = weights[:, None] * mixture.log_components(z).softmax(1)
    share = each.sum(-1)
    each = each / share[..., None].clamp(min=1e-300)
    effective = 1 / each.square().sum(-1)
    mean = each @ z
    centred = z[:, None] - mean[:, :, None]
    scatter = (centred * each[..., None]).mT @ centred
    trust = (effective / (effective + SHRINKAGE * z.shape[-1]))[..., None, None]
    usable = (share > 0.005) & (effective > 2)  # false where a weight is not finite
    added = torch.where(usable, share, 0.0) + LEAST_SHARE
    return Mixture(
        mixture.model,
        added / added.sum(1, keepdim=True),
        torch.where(usable[..., None], mean, mixture.mean),
        torch.where(usable[..., None, None], trust * scatter + (1 - trust) * prior_covariance, mixture.covariance),
    )

"""Gaussian mixtures fitted to points by expectation-maximisation (Dempster, Laird & Rubin 1977), without draws.

The search begins at one Gaussian, whose fit is exact, and doubles the number of components by halving each along its
longest axis. In float64, in coordinates of mean 0 and standard deviation 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from rdstudy.models.objective import LOG_TWO_PI

Covariance = Literal["full", "diagonal"]

MAX_STEPS = 30
"""Of expectation-maximisation, for each number of components."""
SMALLEST_GAIN = 1e-3
"""The fit ends where a step gains less than this, in nats per point."""
POINTS_PER_COMPONENT = 4
"""Components of fewer points than this times the latent dimension are dropped: their covariances would be noise."""
SMALLEST_VARIANCE = 1e-8
"""Added to every variance, in units of that of all points."""
SMALLEST_SCALE = 1e-12
"""Of a coordinate, relative to 1 + its mean: below it, what varies is rounding."""
HALF = 0.8
"""Distance of the means of a Gaussian's halves from its own, in its standard deviations: about sqrt(2 / pi)."""


@dataclass(frozen=True, slots=True)
class GaussianMixture:
    """r(z) = sum_k w_k N(z; centre + scale m_k, scale S_k scale).

    Attributes:
        centre, scale: of the coordinates in which the components are given.
        log_weight: log w_k.
        mean: m_k.
        factor: lower triangular L_k, with S_k = L_k L_k^T.
    """

    centre: Float[Tensor, " latent"]
    scale: Float[Tensor, " latent"]
    log_weight: Float[Tensor, " components"]
    mean: Float[Tensor, "components latent"]
    factor: Float[Tensor, "components latent latent"]

    def __len__(self) -> int:
        return len(self.log_weight)

    def log_density(self, z: Float[Tensor, "points latent"]) -> Float[Tensor, " points"]:
        """log r(z) in nats, float64."""
        points = (z.double() - self.centre) / self.scale
        score = torch.linalg.solve_triangular(self.factor, (points - self.mean[:, None]).mT, upper=False)
        volume = (self.factor.diagonal(dim1=-2, dim2=-1) * self.scale).log().sum(-1) + 0.5 * LOG_TWO_PI * z.shape[1]
        density: Tensor = ((self.log_weight - volume)[:, None] - 0.5 * score.square().sum(1)).logsumexp(0)
        return density


def fitted_mixtures(z: Float[Tensor, "points latent"], most: int, covariance: Covariance) -> Iterator[GaussianMixture]:
    """Mixtures of 1, 2, 4, ... components, each fit begun where the one before ended; made as they are asked for.

    Components of too few points are dropped; the sequence ends where a fit has not gained any.

    Args:
        z: what they are fitted to, in latent units; at least two points.
        most: components, at most.
        covariance: of each component; diagonal ones have fewer parameters.
    """
    z = z.double()
    centre = z.mean(0)
    scale = torch.maximum(z.std(0, correction=0), SMALLEST_SCALE * (1 + centre.abs()))
    points = _Points((z - centre) / scale, covariance)
    found = points.maximised(z.new_ones(len(z), 1))
    while True:
        yield replace(found, centre=centre, scale=scale)
        if 2 * len(found) > most:
            return
        before, found = len(found), points.fit(_halved(found))
        if len(found) <= before:
            return


class _Points:
    """Points with their products z_i z_j: both steps are then one matrix product each.

    log w_k N(z; m_k, S_k) is linear in [z_i z_j, z, 1], and so are the sums that weights, means and covariances are
    made of. The digits that cancel are few in coordinates of standard deviation 1, as variances are 1e-8 at least.
    """

    def __init__(self, points: Float[Tensor, "points latent"], covariance: Covariance) -> None:
        self.latent = points.shape[1]
        if covariance == "full":
            self.i, self.j = torch.triu_indices(self.latent, self.latent, device=points.device)
        else:
            self.i = self.j = torch.arange(self.latent, device=points.device)
        products = points[:, self.i] * points[:, self.j]
        self.features = torch.cat([products, points, torch.ones_like(points[:, :1])], dim=1)

    def fit(self, found: GaussianMixture) -> GaussianMixture:
        """Expectation-maximisation from a mixture."""
        before = -math.inf
        for _ in range(MAX_STEPS):
            joint = self.features @ self._coefficients(found).mT
            density = joint.logsumexp(1, keepdim=True)
            now = density.mean().item()
            if now - before < SMALLEST_GAIN:
                break
            before = now
            found = self.maximised(joint.sub_(density).exp_())
        return found

    def _coefficients(self, found: GaussianMixture) -> Float[Tensor, "components features"]:
        """Of log w_k N(z; m_k, S_k) in the features."""
        precision = torch.cholesky_inverse(found.factor)
        products = precision[:, self.i, self.j] * torch.where(self.i == self.j, -0.5, -1.0)
        slope = (precision @ found.mean[..., None])[..., 0]
        volume = found.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) + 0.5 * LOG_TWO_PI * self.latent
        constant = found.log_weight - volume - 0.5 * (slope * found.mean).sum(-1)
        return torch.cat([products, slope, constant[:, None]], dim=1)

    def maximised(self, responsibility: Float[Tensor, "points components"]) -> GaussianMixture:
        """The mixture of the largest likelihood, given how far each point belongs to each component."""
        sums = responsibility.mT @ self.features
        kept = sums[:, -1] >= POINTS_PER_COMPONENT * self.latent
        if bool(kept.any()):
            sums = sums[kept]
        mass = sums[:, -1]
        products, mean = (sums[:, :-1] / mass[:, None]).split([len(self.i), self.latent], dim=1)
        spread = SMALLEST_VARIANCE * torch.eye(self.latent, dtype=sums.dtype, device=sums.device).repeat(
            len(mass), 1, 1
        )
        covariance = products - mean[:, self.i] * mean[:, self.j]
        spread[:, self.i, self.j] += covariance
        spread[:, self.j, self.i] = spread[:, self.i, self.j]
        centre, scale = mean.new_zeros(self.latent), mean.new_ones(self.latent)
        return GaussianMixture(centre, scale, (mass / mass.sum()).log(), mean, torch.linalg.cholesky(spread))


def _halved(found: GaussianMixture) -> GaussianMixture:
    """Two components for each, its halves along its longest axis."""
    spread = found.factor @ found.factor.mT
    variance, axes = torch.linalg.eigh(spread)
    longest = axes[..., -1] * variance[:, -1:].sqrt()
    half = torch.linalg.cholesky(spread - HALF**2 * longest[..., None] * longest[:, None])
    return replace(
        found,
        log_weight=(found.log_weight - math.log(2)).repeat(2),
        mean=torch.cat([found.mean - HALF * longest, found.mean + HALF * longest]),
        factor=half.repeat(2, 1, 1),
    )

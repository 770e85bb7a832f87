"""The rate-distortion curve of a decoder without an encoder, from annealed importance sampling.

    D(t) = E_t[-log p(x|z)]        R(t) = KL(p_t(z|x) || p(z)) = -log Z_t - t D(t)        p_t ~ p(z) p(x|z)^t

(Huang, Makhzani, Cao & Grosse 2020.) No posterior of any kind has less D + R / t, so the curve is the limit of every
encoder of this decoder; a beta-VAE aims at its point t = 1 / beta. D is estimated by the chains' weights, and log Z_t
by their mean, which is a lower bound in expectation: D + R / t is an upper bound, and so is R, given D.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Point:
    """One temperature of every image, in nats; float64.

    Attributes:
        rate: -log Z_t - t D(t).
        distortion: D(t).
        rate_variance: of the rate over fresh chains, to first order in the weights' relative spread.
        distortion_variance: of the distortion.
    """

    rate: Float[Tensor, " examples"]
    distortion: Float[Tensor, " examples"]
    rate_variance: Float[Tensor, " examples"]
    distortion_variance: Float[Tensor, " examples"]


def point(
    log_weights: Float[Tensor, "examples chains"], distortion: Float[Tensor, "examples chains"], t: float
) -> Point:
    """Rate and distortion at t from weighted chains.

    Args:
        log_weights: log w, with E[w] = Z_t.
        distortion: of chains that with these weights are draws of p_t.
        t: inverse temperature.
    """
    chains = log_weights.shape[1]
    share = log_weights.softmax(1)
    d = (share * distortion).sum(1)
    off = distortion - d[:, None]
    log_z = log_weights.logsumexp(1) - math.log(chains)

    def variance(influence: Tensor) -> Tensor:
        return influence.square().sum(1) * (chains / (chains - 1))

    return Point(-log_z - t * d, d, variance(share - 1 / chains + share * t * off), variance(share * off))


@dataclass(frozen=True, slots=True)
class Curve:
    """Rate and distortion of every image at each temperature, from the prior upwards, in nats; float64.

    Attributes:
        t: inverse temperature, ascending from 0; 1 / beta of the beta-VAE that aims at the point.
        rates: R(t) of every image.
        distortions: D(t) of every image.
        rate_variances: of the rates over fresh chains.
        distortion_variances: of the distortions over fresh chains.
    """

    t: Float[Tensor, " temperatures"]
    rates: Float[Tensor, "temperatures examples"]
    distortions: Float[Tensor, "temperatures examples"]
    rate_variances: Float[Tensor, "temperatures examples"]
    distortion_variances: Float[Tensor, "temperatures examples"]

    @classmethod
    def of(cls, points: Sequence[Point], temperatures: Float[Tensor, " temperatures"]) -> Curve:
        """The points, one at each temperature."""
        parts = (torch.stack([getattr(each, name) for each in points]).cpu() for name in Point.__slots__)
        return cls(temperatures, *parts)

    @property
    def rate(self) -> Float[Tensor, " temperatures"]:
        """R(t), mean over images; an upper bound in expectation, given D."""
        return self.rates.mean(1)

    @property
    def distortion(self) -> Float[Tensor, " temperatures"]:
        """D(t), mean over images."""
        return self.distortions.mean(1)

    @property
    def rate_error(self) -> Float[Tensor, " temperatures"]:
        """Standard error of the rate over fresh draws with these images."""
        return self.rate_variances.sum(1).sqrt() / self.rates.shape[1]

    @property
    def distortion_error(self) -> Float[Tensor, " temperatures"]:
        """Standard error of the distortion over fresh draws with these images."""
        return self.distortion_variances.sum(1).sqrt() / self.rates.shape[1]

    def thinned(self, points: int) -> Curve:
        """About so many points, among them the first, t = 1 and the last, the others at even numbers of steps."""
        last = len(self.t) - 1
        evenly = {round(last * k / max(1, points - 1)) for k in range(points)}
        kept = torch.tensor(sorted(evenly | {int((self.t == 1).nonzero()[0]), last}))
        return Curve(*(getattr(self, name)[kept] for name in Curve.__slots__))

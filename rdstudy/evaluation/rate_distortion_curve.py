"""The rate-distortion curve of a decoder without an encoder, from annealed importance sampling.

    D(t) = E_t[-log p(x|z)]        R(t) = KL(p_t(z|x) || p(z)) = -log Z_t - t D(t)        p_t ~ p(z) p(x|z)^t

(Huang, Makhzani, Cao & Grosse 2020.) No posterior of any kind has less distortion at this rate, so the curve is the
limit of every encoder of this decoder; a beta-VAE aims at its point t = 1 / beta. D is estimated by the chains'
weights, and log Z_t by their mean, which is a lower bound in expectation: R is an upper bound, given D.
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
    """One temperature of every image; float64.

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


@dataclass(frozen=True, slots=True)
class Curve:
    """Points from the prior upwards, means over images in nats; [temperatures] each, float64.

    Attributes:
        t: inverse temperature, ascending from 0; 1 / beta of the beta-VAE that aims at the point.
        rate: R(t), an upper bound in expectation given D.
        distortion: D(t).
        rate_error: standard error over fresh draws with these images.
        distortion_error: the same of the distortion.
        rate_error_over_examples: standard error over images, the draws' included; nan for one image.
        distortion_error_over_examples: the same of the distortion.
    """

    t: Float[Tensor, " temperatures"]
    rate: Float[Tensor, " temperatures"]
    distortion: Float[Tensor, " temperatures"]
    rate_error: Float[Tensor, " temperatures"]
    distortion_error: Float[Tensor, " temperatures"]
    rate_error_over_examples: Float[Tensor, " temperatures"]
    distortion_error_over_examples: Float[Tensor, " temperatures"]

    def thinned(self, points: int) -> Curve:
        """About so many points, among them the first, t = 1 and the last, the others at even numbers of steps."""
        last = len(self.t) - 1
        kept = {round(last * k / max(1, points - 1)) for k in range(points)} | {int((self.t == 1).nonzero()[0]), last}
        index = torch.tensor(sorted(kept))
        return Curve(*(getattr(self, name)[index] for name in Curve.__slots__))


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


def curve(points: Sequence[Point], temperatures: Float[Tensor, " temperatures"]) -> Curve:
    """Means over images at each temperature."""
    rate, distortion, rate_variance, distortion_variance = (
        torch.stack([getattr(each, name) for each in points]).cpu() for name in Point.__slots__
    )
    n = rate.shape[1]
    return Curve(
        temperatures,
        rate.mean(1),
        distortion.mean(1),
        rate_variance.sum(1).sqrt() / n,
        distortion_variance.sum(1).sqrt() / n,
        *(each.std(1) / math.sqrt(n) if n > 1 else torch.full((len(each),), math.nan) for each in (rate, distortion)),
    )

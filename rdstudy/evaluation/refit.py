"""The best Gaussian posterior of each example, with the decoder frozen: what the encoder misses, and what it does not.

    L_beta(q; x) = E_q[-log p(x|z)] + beta KL(q || p)        q* = argmin over N(mean, diag std^2), for each x by itself

The inference gap L(q(z|x)) - L(q*) (Cremer et al. 2018) is the encoder's share of the Lagrangian, L(q*) that of decoder
and prior. The search begins at Laplace's approximations of p(z) p(x|z)^(1/beta), found from the encoder's mean and
from half of it, and at the encoder's posterior itself; it goes on by Adam (Kingma & Ba 2015) on means and log standard
deviations. At small beta the mode is many of the encoder's stds away from its mean, which Newton steps cover and Adam's
do not. What is kept of each example is decided by other draws than those of the search, and measured by others again:
an optimum is never judged by the draws that found it. A local minimum remains possible, so L(q*) is an upper bound of
the minimum in expectation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rdstudy.evaluation import curvature
from rdstudy.evaluation.laplace import find_mode
from rdstudy.evaluation.population import examples_per_block
from rdstudy.models.objective import Posterior

NEWTON_STEPS = 8
"""Towards the mode, from each of the two starts."""
LEARNING_RATES = 0.15, 0.05
"""Size of Adam's first step in stds, in the first and the second half of its search; falls to 0 by a half cosine."""
DECAYS = 0.9, 0.95
"""Adam's decay rates of the mean gradient and of its square; the second is short, as the run is."""
SELECTING_DRAWS, MEASURING_DRAWS = 8, 16
"""Draws of z per example by which the best posterior is chosen, and by which it is measured; half are mirrored."""


@runtime_checkable
class Model(curvature.Model, Protocol):
    """A VAE; its parameters are never changed. All in nats."""

    @property
    def rate_in_closed_form(self) -> bool:
        """Whether `rate` does not depend on z."""

    def encode(self, images: Float[Tensor, "examples pixels"]) -> Posterior:
        """q(z|x), from which the search begins."""

    def distortion_gradient(
        self, output: Float[Tensor, "rows outputs"], images: Float[Tensor, "rows pixels"], weight: float
    ) -> Float[Tensor, "rows outputs"]:
        """Gradient of weight * the sum of `distortion` by the output, which may be overwritten."""

    def rate(self, posterior: Posterior, z: Float[Tensor, "rows latent"]) -> Float[Tensor, " rows"]:
        """KL(q(z|x) || p(z)), or an estimate of it from z; differentiable."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Distortion and rate of every example under one posterior, in nats; float64."""

    distortion: Float[Tensor, " examples"]
    rate: Float[Tensor, " examples"]

    def lagrangian(self, beta: float) -> Float[Tensor, " examples"]:
        """Distortion + beta * rate."""
        return self.distortion + beta * self.rate


@dataclass(frozen=True, slots=True)
class Refitted:
    """The posteriors found, and what they and the encoder's are worth by the same draws.

    Attributes:
        posterior: q* of every example.
        amortised: distortion and rate under the encoder's posterior.
        refitted: the same under q*.
        halfway: the same under the posterior after the first half of the search, to see whether it had converged.
    """

    posterior: Posterior
    amortised: Terms
    refitted: Terms
    halfway: Terms


def refit(
    model: Model, images: Float[Tensor, "examples pixels"], beta: float, steps: int, generator: np.random.Generator
) -> Refitted:
    """Search the best posterior of each example.

    Args:
        model: its decoder, likelihood and prior are kept as they are.
        images: intensities in [0, 1], on the model's device, in its type.
        beta: weight of the rate, above 0.
        steps: of Adam, and as many more and smaller ones.
        generator: source of all draws, consumed in order of examples in blocks that depend on the sizes alone.

    Raises:
        ValueError: beta or steps not above 0.
    """
    if not beta > 0 or steps < 1:
        raise ValueError(f"refit: beta {beta:g}, {steps} steps: both must be above 0")
    with torch.no_grad():
        blocks = [
            _refit_block(model, block, beta, steps, generator) for block in images.split(examples_per_block(images))
        ]
    return Refitted(
        Posterior(*(torch.cat(parts) for parts in zip(*(block.posterior for block in blocks), strict=True))),
        *(
            Terms(
                torch.cat([getattr(block, name).distortion for block in blocks]),
                torch.cat([getattr(block, name).rate for block in blocks]),
            )
            for name in ("amortised", "refitted", "halfway")
        ),
    )


def _refit_block(
    model: Model, images: Float[Tensor, "examples pixels"], beta: float, steps: int, generator: np.random.Generator
) -> Refitted:
    encoded = Posterior(*model.encode(images))
    starts = [encoded, *(_laplace(model, images, beta, part * encoded.mean) for part in (1.0, 0.5))]
    start = _best(model, images, beta, starts, _noise(generator, SELECTING_DRAWS, encoded.mean))
    halfway = _descend(model, images, beta, start, steps, generator, LEARNING_RATES[0])
    further = _descend(model, images, beta, halfway, steps, generator, LEARNING_RATES[1])
    best = _best(model, images, beta, [start, further], _noise(generator, SELECTING_DRAWS, encoded.mean))
    noise = _noise(generator, MEASURING_DRAWS, encoded.mean)
    return Refitted(best, *(_terms(model, images, each, noise) for each in (encoded, best, halfway)))


def _laplace(
    model: Model, images: Float[Tensor, "examples pixels"], beta: float, start: Float[Tensor, "examples latent"]
) -> Posterior:
    """Laplace's approximation of p(z) p(x|z)^(1/beta), with the diagonal of its precision."""
    mode = find_mode(model, images, beta, start, NEWTON_STEPS)
    precision = mode.curvature.diagonal(dim1=-2, dim2=-1).clamp(min=1.0)
    return Posterior(mode.latent, -0.5 * precision.log())


def _descend(
    model: Model,
    images: Float[Tensor, "examples pixels"],
    beta: float,
    start: Posterior,
    steps: int,
    generator: np.random.Generator,
    learning_rate: float,
) -> Posterior:
    """Adam on L / beta by mean and log std, in units of the current std: every example and dimension by itself."""
    images = images.repeat(2, 1)
    mean, log_std = (part.clone() for part in start)
    average, square = (torch.zeros(2, *mean.shape, dtype=mean.dtype, device=mean.device) for _ in range(2))
    for done in range(steps):
        std = log_std.exp()
        gradient = _gradient(model, images, beta, Posterior(mean, log_std), _noise(generator, 2, mean))
        gradient[0] *= std
        average.lerp_(gradient, 1 - DECAYS[0])
        square.lerp_(gradient.square(), 1 - DECAYS[1])
        size = learning_rate * 0.5 * (1 + math.cos(math.pi * done / steps))
        root = (square / (1 - DECAYS[1] ** (done + 1))).sqrt_().add_(torch.finfo(mean.dtype).tiny)
        move = average / root * (-size / (1 - DECAYS[0] ** (done + 1)))
        mean += move[0] * std
        log_std += move[1]
    return Posterior(mean, log_std)


def _gradient(
    model: Model,
    images: Float[Tensor, "rows pixels"],
    beta: float,
    posterior: Posterior,
    noise: Float[Tensor, "draws examples latent"],
) -> Float[Tensor, "2 examples latent"]:
    """That of the sum over examples of D / beta + R by these draws; the decoder's parameters need none."""
    with torch.enable_grad():
        mean, log_std = (part.detach().requires_grad_() for part in posterior)
        posterior = Posterior(mean, log_std)
        latent = posterior.sample(noise)
        output = model.decode(latent.flatten(0, 1))
        if model.rate_in_closed_form:
            rate = model.rate(posterior, latent[0])
        else:
            rate = torch.stack([model.rate(posterior, draw) for draw in latent]).mean(0)
        above = model.distortion_gradient(output, images, 1 / (beta * len(noise)))
        return torch.stack(torch.autograd.grad([output, rate], [mean, log_std], [above, torch.ones_like(rate)]))


def _noise(generator: np.random.Generator, draws: int, like: Float[Tensor, "examples latent"]) -> Tensor:
    """Standard normal draws [draws, examples, latent], half of them the others' mirror images."""
    half = torch.from_numpy(generator.standard_normal((draws // 2, *like.shape), dtype=np.float32)).to(like)
    return torch.cat([half, -half])


def _terms(
    model: Model,
    images: Float[Tensor, "examples pixels"],
    posterior: Posterior,
    noise: Float[Tensor, "draws examples latent"],
) -> Terms:
    distortion, rate = (torch.zeros(len(images), dtype=torch.float64, device=images.device) for _ in range(2))
    for draw in noise:
        latent = posterior.sample(draw)
        distortion += model.distortion(model.decode(latent), images).double()
        rate += model.rate(posterior, latent).double()
    return Terms(distortion / len(noise), rate / len(noise))


def _best(
    model: Model,
    images: Float[Tensor, "examples pixels"],
    beta: float,
    candidates: Sequence[Posterior],
    noise: Float[Tensor, "draws examples latent"],
) -> Posterior:
    """For each example the posterior of the least Lagrangian by these draws."""
    values = torch.stack([_terms(model, images, each, noise).lagrangian(beta) for each in candidates])
    values = values.nan_to_num(nan=math.inf)
    chosen = values.argmin(0)[None, :, None]
    mean, log_std = (torch.stack(parts) for parts in zip(*candidates, strict=True))
    return Posterior(*(part.take_along_dim(chosen, 0)[0] for part in (mean, log_std)))

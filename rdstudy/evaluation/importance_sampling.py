"""The negative log-likelihood -log p(x) of a trained model, by importance sampling.

    -log p(x) <= E[-log 1/K sum_k w_k],    w = p(x|z) p(z) / q(z),  z_k ~ q

(Burda et al. 2016, eq. 8.) The estimate is an upper bound in expectation that falls with K, for any proposal q that
does not depend on these z_k. The effective sample size and the tail shape of the weights indicate how close it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rdstudy.evaluation import adaptive_proposal
from rdstudy.evaluation.adaptive_proposal import fit_mixture
from rdstudy.evaluation.estimate import Estimate
from rdstudy.evaluation.gaussian import log_posterior
from rdstudy.evaluation.pareto import largest_reliable_shape, pareto_shape, tail_length
from rdstudy.evaluation.population import decoder_rows, examples_per_block
from rdstudy.models.objective import Posterior

ProposalName: TypeAlias = Literal["adaptive", "encoder"]
"""`adaptive`: fitted to each image's p(z|x) (`adaptive_proposal.py`). `encoder`: the encoder's q(z|x)."""

DRAWS_AT_ONCE = {"encoder": 2048, "adaptive": 2**14}
"""Number of draws in memory at a time, on a CPU."""
MORE_ON_DEVICE = 16
"""As many times the draws of an adaptive proposal elsewhere, where few of them would not fill the device."""
TOLERATED_SHARE = 0.05
"""Largest share of images with unreliable weights for which the estimate is called reliable; a convention."""


@runtime_checkable
class Model(adaptive_proposal.Model, Protocol):
    """A VAE, all in nats."""

    def encode(self, images: Float[Tensor, "examples pixels"]) -> Posterior:
        """The posterior q(z|x) of images with intensities in [0, 1]."""


class Proposal(Protocol):
    """What z is drawn from, for each image of a block."""

    def sample(self, rng: np.random.Generator, draws: int) -> Float[Tensor, "examples draws latent"]:
        """Draws for each image, float64."""

    def log_density(self, z: Float[Tensor, "examples draws latent"]) -> Float[Tensor, "examples draws"]:
        """log q(z) in nats, float64."""


@dataclass(frozen=True)
class LikelihoodEstimate(Estimate):
    """Mean -log p(x) of a set of images, an upper bound in expectation, with diagnostics of its quality.

    Value, standard error and count as in `Estimate`: the error over fresh draws with these images, to first
    order in the weights' relative spread (nan for one draw, which shows none); the count is that of images.

    Attributes:
        draws: importance samples per image.
        error_over_examples: standard error as an estimate for the distribution that the images come from, the
            draws' error included; nan for one image.
        effective_sample_size: (sum w)^2 / sum w^2, harmonic mean over images; between 1 and `draws`. Images with few
            effective draws decide it, as they decide the bias: while it is large, about (1 / ESS - 1 / draws) / 2 nats.
        unreliable_share: share of images whose weights have a Pareto shape above min(1 - 1 / log10 draws,
            0.7), or too few draws (below 21) to tell.
        reliable: whether `unreliable_share` is at most 5%. If not, the value is still an upper bound in
            expectation, but may be far above -log p(x), and its standard error is too small.
        each: the estimate of each image, in their order.
        each_error: its standard error over fresh draws.
        each_effective: its effective sample size.
    """

    draws: int
    error_over_examples: float
    effective_sample_size: float
    unreliable_share: float
    reliable: bool
    each: tuple[float, ...] = field(repr=False, compare=False)
    each_error: tuple[float, ...] = field(repr=False, compare=False)
    each_effective: tuple[float, ...] = field(repr=False, compare=False)


def importance_weighted_nll(
    model: Model,
    images: Float[Tensor, "examples pixels"] | Iterable[Tensor],
    draws: int,
    *,
    generator: np.random.Generator,
    proposal: ProposalName = "adaptive",
) -> LikelihoodEstimate:
    """Estimate the mean -log p(x) of images under a model, from `draws` importance samples per image.

        1/N sum_n -log 1/K sum_k p(x_n|z_nk) p(z_nk) / q_n(z_nk),    z_nk ~ q_n

    An upper bound of -log p(x) in expectation, which falls as draws grow. With one draw from the encoder it is a sample
    of -ELBO. Likelihood and prior are the model's own.
    Weights are float64, because they are ratios of densities that may be sharp; the model computes in the
    images' dtype.

    Memory: some 10 MB on a CPU and about 1 GB elsewhere, for any number of draws and images.

    Args:
        model: encodes [examples, pixels] and decodes [examples, latent].
        images: intensities in [0, 1], on the model's device, in the dtype that it computes in; or batches of them.
        draws: importance samples per image, beyond those that the adaptive proposal is fitted with.
        generator: source of the draws, consumed in order of images, in blocks that depend on the sizes alone.
        proposal: where z comes from.

    Returns:
        The estimate with effective sample size and reliability.

    Raises:
        ValueError: no images, or draws below 1.

    References:
        Burda, Grosse & Salakhutdinov 2016, eq. 8. Vehtari et al. 2024 (Pareto shape).
    """
    if draws < 1:
        raise ValueError(f"{draws} draws: at least 1 is needed.")
    batches = [images] if isinstance(images, Tensor) else images
    with torch.no_grad():
        weights = [
            _weigh(model, block, draws, generator, proposal)
            for batch in batches
            for block in batch.split(_images_at_once(batch, draws, proposal))
            if len(block)
        ]
    if not weights:
        raise ValueError("no images: at least 1 is needed.")
    return _summary(weights, draws)


def _images_at_once(images: Float[Tensor, "examples pixels"], draws: int, proposal: ProposalName) -> int:
    at_once = DRAWS_AT_ONCE[proposal] // draws
    if proposal == "adaptive":
        more = 1 if images.device.type == "cpu" else MORE_ON_DEVICE
        at_once = min(more * at_once, examples_per_block(images))
    return max(1, at_once)


class _Encoder:
    """The encoder's posterior as a proposal."""

    def __init__(self, posterior: Posterior) -> None:
        self.mean, self.log_std = (part.double()[:, None] for part in posterior)

    def sample(self, rng: np.random.Generator, draws: int) -> Float[Tensor, "examples draws latent"]:
        noise = torch.from_numpy(rng.standard_normal((len(self.mean), draws, self.mean.shape[-1])))
        return torch.addcmul(self.mean, self.log_std.exp(), noise.to(self.mean.device))

    def log_density(self, z: Float[Tensor, "examples draws latent"]) -> Float[Tensor, "examples draws"]:
        return log_posterior(z, self.mean.expand_as(z), self.log_std.expand_as(z))


def _weigh(
    model: Model,
    images: Float[Tensor, "examples pixels"],
    draws: int,
    generator: np.random.Generator,
    wanted: ProposalName,
) -> _Weights:
    """The importance weights of fresh draws for a block of images."""

    def log_joint(z: Float[Tensor, "examples draws latent"]) -> Float[Tensor, "examples draws"]:
        found: Tensor = _log_likelihood(model, images, z.to(images.dtype)).double() + model.log_prior(z)
        return found

    posterior = model.encode(images)
    proposal: Proposal = _Encoder(posterior)
    if wanted == "adaptive":
        proposal = fit_mixture(model, images, posterior.mean, log_joint, generator)
    weights, at_once = _Weights(draws), DRAWS_AT_ONCE[wanted]
    for first in range(0, draws, at_once):  # several rounds only where the block is a single image
        z = proposal.sample(generator, min(at_once, draws - first))
        weights.add(log_joint(z) - proposal.log_density(z))
    return weights


def _log_likelihood(
    model: Model, images: Float[Tensor, "examples pixels"], latent: Float[Tensor, "examples draws latent"]
) -> Float[Tensor, "examples draws"]:
    """log p(x|z) in nats."""
    examples, draws, _ = latent.shape
    rows = decoder_rows(images)
    example = torch.arange(examples * draws, device=images.device) // draws
    latent = latent.flatten(0, 1)
    found = latent.new_empty(examples * draws)
    for start in range(0, examples * draws, rows):
        block = slice(start, start + rows)
        found[block] = -model.distortion(model.decode(latent[block]), images[example[block]])
    return found.view(examples, draws)


class _Weights:
    """Running sums of importance weights, for draws in any number of rounds."""

    def __init__(self, draws: int) -> None:
        self.draws = draws
        self.largest: Tensor = torch.empty(0)  # tail and threshold, descending: [examples, tail + 1]
        self.log_sum: Tensor = torch.empty(0)
        self.log_sum_of_squares: Tensor = torch.empty(0)

    def add(self, log_weights: Float[Tensor, "examples draws"]) -> None:
        log_sum, log_sum_of_squares = log_weights.logsumexp(-1), (2 * log_weights).logsumexp(-1)
        if len(self.log_sum) > 0:
            log_sum = torch.logaddexp(self.log_sum, log_sum)
            log_sum_of_squares = torch.logaddexp(self.log_sum_of_squares, log_sum_of_squares)
            log_weights = torch.cat([self.largest, log_weights], dim=-1)
        self.log_sum, self.log_sum_of_squares = log_sum, log_sum_of_squares
        self.largest = log_weights.topk(min(tail_length(self.draws) + 1, log_weights.shape[-1])).values

    def nll(self) -> Float[Tensor, " examples"]:
        return math.log(self.draws) - self.log_sum

    def effective_sample_size(self) -> Float[Tensor, " examples"]:
        return (2 * self.log_sum - self.log_sum_of_squares).exp()

    def variance(self) -> Float[Tensor, " examples"]:
        """Variance of the NLL over draws: that of the mean weight, relative to its square."""
        if self.draws == 1:
            return torch.full_like(self.log_sum, math.nan)
        return (self.draws / self.effective_sample_size() - 1).clamp(min=0) / (self.draws - 1)

    def unreliable(self) -> Float[Tensor, " examples"]:
        """1 where the tail is too heavy, or too few draws show it; else 0."""
        return (~(pareto_shape(self.largest) <= largest_reliable_shape(self.draws))).double()


def _summary(weights: Sequence[_Weights], draws: int) -> LikelihoodEstimate:
    nll = torch.cat([each.nll() for each in weights]).cpu()
    variance = torch.cat([each.variance() for each in weights]).cpu()
    effective = torch.cat([each.effective_sample_size() for each in weights]).cpu()
    unreliable = torch.cat([each.unreliable() for each in weights]).mean().item()
    examples = len(nll)
    return LikelihoodEstimate(
        value=nll.mean().item(),
        standard_error=variance.sum().sqrt().item() / examples,
        count=examples,
        draws=draws,
        error_over_examples=nll.std().item() / math.sqrt(examples) if examples > 1 else math.nan,
        effective_sample_size=1 / effective.reciprocal().mean().item(),
        unreliable_share=unreliable,
        reliable=unreliable <= TOLERATED_SHARE,
        each=tuple(nll.tolist()),
        each_error=tuple(variance.sqrt().tolist()),
        each_effective=tuple(effective.tolist()),
    )

"""The negative log-likelihood -log p(x) of a trained model, by importance sampling from its posterior.

    -log p(x) <= E[-log 1/K sum_k w_k],    w = p(x|z) p(z) / q(z|x),  z_k ~ q(z|x)

(Burda et al. 2016, eq. 8.) The estimate is an upper bound in expectation that falls with K. The effective sample
size and the tail shape of the weights indicate how close it is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rdstudy.evaluation.estimate import Estimate
from rdstudy.evaluation.gaussian import log_posterior
from rdstudy.evaluation.pareto import largest_reliable_shape, pareto_shape, tail_length
from rdstudy.models.objective import Posterior

DRAWS_AT_ONCE = 2048
"""Number of draws per model in memory at a time."""
LOGITS_IN_CACHE, LOGITS_ON_DEVICE = 2**18, 2**26
"""Logits per model decoded at a time: on a CPU few enough for its cache, which is 3 times as fast."""
TOLERATED_SHARE = 0.05
"""Largest share of images with unreliable weights for which the estimate is called reliable; a convention."""


@runtime_checkable
class Model(Protocol):
    """A VAE, or a stack of them with a leading axis `models` on everything."""

    def encode(self, images: Float[Tensor, "*examples pixels"]) -> Posterior:
        """The posterior q(z|x) of images with intensities in [0, 1]."""

    def decode(self, latent: Float[Tensor, "*examples latent"]) -> Float[Tensor, "*examples outputs"]:
        """What the likelihood takes."""

    def distortion(
        self, output: Float[Tensor, "*examples outputs"], images: Float[Tensor, "*examples pixels"]
    ) -> Float[Tensor, "*examples"]:
        """-log p(x|z) in nats, for what `decode` gave."""

    def log_prior(self, z: Float[Tensor, "*draws latent"]) -> Float[Tensor, "*draws"]:
        """log p(z) in nats, in the type of z."""


@runtime_checkable
class Joint(Protocol):
    """A proposal, a likelihood and a prior for importance sampling with a stack of models."""

    def propose(self, images: Float[Tensor, "models examples pixels"]) -> Posterior:
        """The proposal q(z|x), [models, examples, latent]."""

    def log_likelihood(
        self,
        images: Float[Tensor, "models examples pixels"],
        latent: Float[Tensor, "models examples draws latent"],
    ) -> Float[Tensor, "models examples draws"]:
        """The log-likelihood log p(x|z) in nats."""

    def log_prior(
        self, latent: Float[Tensor, "models examples draws latent"]
    ) -> Float[Tensor, "models examples draws"]:
        """log p(z) in nats."""


@dataclass(frozen=True)
class LikelihoodEstimate(Estimate):
    """Mean -log p(x) of a set of images, an upper bound in expectation, with diagnostics of its quality.

    Value, standard error and count as in `Estimate`: the error over fresh draws with these images, to first
    order in the weights' relative spread (nan for one draw, which shows none); the count is that of images.

    Attributes:
        draws: importance samples per image.
        error_over_examples: standard error as an estimate for the distribution that the images come from, the
            draws' error included; nan for one image.
        effective_sample_size: (sum w)^2 / sum w^2, mean over images; between 1 and `draws`. While it is
            large, an image's remaining bias is about (1 / ESS - 1 / draws) / 2 nats.
        unreliable_share: share of images whose weights have a Pareto shape above min(1 - 1 / log10 draws,
            0.7), or too few draws (below 21) to tell.
        reliable: whether `unreliable_share` is at most 5%. If not, the value is still an upper bound in
            expectation, but may be far above -log p(x), and its standard error is too small.
        each: the estimate of each image, in their order.
    """

    draws: int
    error_over_examples: float
    effective_sample_size: float
    unreliable_share: float
    reliable: bool
    each: tuple[float, ...] = field(repr=False, compare=False)


def importance_weighted_nll(
    model: Model,
    images: Float[Tensor, "examples pixels"],
    draws: int,
    *,
    generator: np.random.Generator,
    chunk_size: int = DRAWS_AT_ONCE,
) -> LikelihoodEstimate:
    """Estimate the mean -log p(x) of images under one model, from `draws` importance samples per image.

        1/N sum_n -log 1/K sum_k p(x_n|z_nk) p(z_nk) / q(z_nk|x_n),    z_nk ~ q(z|x_n)

    An upper bound of -log p(x) in expectation, which falls as draws grow; with one draw it is a sample of
    -ELBO. Likelihood and prior are the model's own.
    Weights are float64, because they are ratios of densities that may be sharp; the model computes in the
    images' dtype.

    Memory: a few MB on a CPU and about 1 GB elsewhere, for any number of draws and images.

    Args:
        model: encodes [examples, pixels] and decodes [examples, latent].
        images: intensities in [0, 1], on the model's device, in the dtype that the model computes in.
        draws: importance samples per image.
        generator: source of the draws, consumed in order of images, so that they do not depend on `chunk_size`.
        chunk_size: draws in memory at a time; does not change the result beyond rounding.

    Returns:
        The estimate with effective sample size and reliability.

    Raises:
        ValueError: no images, draws or chunk_size below 1.

    References:
        Burda, Grosse & Salakhutdinov 2016, eq. 8. Vehtari et al. 2024 (Pareto shape).
    """
    return _estimate(_One(model), images[None], draws, [generator], chunk_size)[0]


def importance_weighted_nlls(
    stack: Model,
    images: Float[Tensor, "models examples pixels"],
    draws: int,
    *,
    generators: Sequence[np.random.Generator],
    chunk_size: int = DRAWS_AT_ONCE,
) -> list[LikelihoodEstimate]:
    """`importance_weighted_nll` of every model of a stack at once, each from its own generator.

    A model's draws, and up to rounding its result, are those it has alone.

    Args:
        stack: encodes [models, examples, pixels] and decodes [models, examples, latent].
        images: every model's images; `images.expand(models, -1, -1)` gives all models the same images
            without a copy.
        draws: importance samples per image and model.
        generators: one per model.
        chunk_size: draws per model in memory at a time.

    Returns:
        One estimate per model.

    Raises:
        ValueError: as `importance_weighted_nll`, or another number of generators than of models.
    """
    return _estimate(_Stack(stack), images, draws, generators, chunk_size)


def pooled(parts: Sequence[LikelihoodEstimate]) -> LikelihoodEstimate:
    """Combine the estimates of parts of the images into the estimate of all.

    Raises:
        ValueError: no parts, or parts with different numbers of draws.
    """
    if len({part.draws for part in parts}) != 1:
        raise ValueError(f"parts must have one number of draws; found {sorted({part.draws for part in parts})}.")
    each = np.array([value for part in parts for value in part.each])
    count = np.array([part.count for part in parts])

    def mean(values: list[float]) -> float:
        return float(count @ np.array(values)) / len(each)

    unreliable = mean([part.unreliable_share for part in parts])
    return LikelihoodEstimate(
        value=float(each.mean()),
        standard_error=math.sqrt(sum((part.count * part.standard_error) ** 2 for part in parts)) / len(each),
        count=len(each),
        draws=parts[0].draws,
        error_over_examples=float(each.std(ddof=1)) / math.sqrt(len(each)) if len(each) > 1 else math.nan,
        effective_sample_size=mean([part.effective_sample_size for part in parts]),
        unreliable_share=unreliable,
        reliable=unreliable <= TOLERATED_SHARE,
        each=tuple(each.tolist()),
    )


class _Stack:
    """A stack of VAEs as a `Joint`."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def propose(self, images: Float[Tensor, "models examples pixels"]) -> Posterior:
        return self.model.encode(images)

    def log_likelihood(
        self,
        images: Float[Tensor, "models examples pixels"],
        latent: Float[Tensor, "models examples draws latent"],
    ) -> Float[Tensor, "models examples draws"]:
        models, examples, draws, _ = latent.shape
        at_once = LOGITS_IN_CACHE if images.device.type == "cpu" else LOGITS_ON_DEVICE
        rows = max(1, at_once // images.shape[-1])
        example = torch.arange(examples * draws, device=images.device) // draws
        latent = latent.flatten(1, 2)
        found = latent.new_empty(models, examples * draws)
        for start in range(0, examples * draws, rows):
            block = slice(start, start + rows)
            logits = self.decode(latent[:, block])
            found[:, block] = -self.model.distortion(logits, images[:, example[block]])
        return found.view(models, examples, draws)

    def decode(self, latent: Float[Tensor, "models examples latent"]) -> Float[Tensor, "models examples pixels"]:
        return self.model.decode(latent)

    def log_prior(
        self, latent: Float[Tensor, "models examples draws latent"]
    ) -> Float[Tensor, "models examples draws"]:
        return self.model.log_prior(latent)


class _One(_Stack):
    """One VAE as a stack of one."""

    def propose(self, images: Float[Tensor, "models examples pixels"]) -> Posterior:
        mean, log_std = self.model.encode(images[0])
        return Posterior(mean[None], log_std[None])

    def decode(self, latent: Float[Tensor, "models examples latent"]) -> Float[Tensor, "models examples pixels"]:
        return self.model.decode(latent[0])[None]

    def log_prior(
        self, latent: Float[Tensor, "models examples draws latent"]
    ) -> Float[Tensor, "models examples draws"]:
        return self.model.log_prior(latent[0])[None]


@torch.no_grad()
def _estimate(
    joint: Joint,
    images: Float[Tensor, "models examples pixels"],
    draws: int,
    generators: Sequence[np.random.Generator],
    chunk_size: int,
) -> list[LikelihoodEstimate]:
    models, examples = images.shape[:2]
    if min(models, examples, draws, chunk_size) < 1:
        raise ValueError(
            f"{examples} images of {models} models, {draws} draws, chunks of {chunk_size}: all must be at least 1."
        )
    if len(generators) != models:
        raise ValueError(f"{len(generators)} generators for {models} models; give each model its own.")
    at_once = max(1, chunk_size // draws)
    parts = []
    for start in range(0, examples, at_once):
        chunk = images[:, start : start + at_once]
        proposal = joint.propose(chunk)
        weights = _Weights(draws)
        for first in range(0, draws, chunk_size):  # several rounds only where the chunk is a single image
            count = min(chunk_size, draws - first)
            weights.add(_log_weights(joint, chunk, proposal, count, generators))
        parts.append(weights)
    nll = torch.cat([part.nll() for part in parts], dim=1).cpu()
    variance = torch.cat([part.variance() for part in parts], dim=1).cpu()
    effective = torch.cat([part.effective_sample_size() for part in parts], dim=1).cpu()
    shape = torch.cat([pareto_shape(part.largest) for part in parts], dim=1).cpu()
    unreliable = (~(shape <= largest_reliable_shape(draws))).double().mean(1).tolist()
    return [
        LikelihoodEstimate(
            value=nll[k].mean().item(),
            standard_error=variance[k].sum().sqrt().item() / examples,
            count=examples,
            draws=draws,
            error_over_examples=nll[k].std().item() / math.sqrt(examples) if examples > 1 else math.nan,
            effective_sample_size=effective[k].mean().item(),
            unreliable_share=unreliable[k],
            reliable=unreliable[k] <= TOLERATED_SHARE,
            each=tuple(nll[k].tolist()),
        )
        for k in range(models)
    ]


def _log_weights(
    joint: Joint,
    images: Float[Tensor, "models examples pixels"],
    proposal: Posterior,
    draws: int,
    generators: Sequence[np.random.Generator],
) -> Float[Tensor, "models examples draws"]:
    """The log weights log p(x|z) p(z) / q(z|x) of fresh draws, float64."""
    mean, log_std = proposal.mean.double()[:, :, None], proposal.log_std.double()[:, :, None]
    shape = (mean.shape[1], draws, mean.shape[-1])
    noise = torch.from_numpy(np.stack([generator.standard_normal(shape) for generator in generators]))
    latent = torch.addcmul(mean, log_std.exp(), noise.to(mean.device))
    likelihood = joint.log_likelihood(images, latent.to(images.dtype)).double()
    proposed = log_posterior(latent, mean.expand_as(latent), log_std.expand_as(latent))
    return likelihood + joint.log_prior(latent) - proposed


class _Weights:
    """Running sums of importance weights, for draws in any number of rounds."""

    def __init__(self, draws: int) -> None:
        self.draws = draws
        self.largest: Tensor = torch.empty(0)  # tail and threshold, descending: [models, examples, tail + 1]
        self.log_sum: Tensor = torch.empty(0)
        self.log_sum_of_squares: Tensor = torch.empty(0)

    def add(self, log_weights: Float[Tensor, "models examples draws"]) -> None:
        log_sum, log_sum_of_squares = log_weights.logsumexp(-1), (2 * log_weights).logsumexp(-1)
        if len(self.log_sum) > 0:
            log_sum = torch.logaddexp(self.log_sum, log_sum)
            log_sum_of_squares = torch.logaddexp(self.log_sum_of_squares, log_sum_of_squares)
            log_weights = torch.cat([self.largest, log_weights], dim=-1)
        self.log_sum, self.log_sum_of_squares = log_sum, log_sum_of_squares
        self.largest = log_weights.topk(min(tail_length(self.draws) + 1, log_weights.shape[-1])).values

    def nll(self) -> Float[Tensor, "models examples"]:
        return math.log(self.draws) - self.log_sum

    def effective_sample_size(self) -> Float[Tensor, "models examples"]:
        return (2 * self.log_sum - self.log_sum_of_squares).exp()

    def variance(self) -> Float[Tensor, "models examples"]:
        """Variance of the NLL over draws: that of the mean weight, relative to its square."""
        if self.draws == 1:
            return torch.full_like(self.log_sum, math.nan)
        return (self.draws / self.effective_sample_size() - 1).clamp(min=0) / (self.draws - 1)

"""Mutual information of image and latent, and the marginal KL. Nats per example.

    rate = I_q(x; z) + KL(q(z) || p(z))    (Hoffman & Johnson 2016)

The functions read encodings and return estimates, without gradients.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from rdstudy.evaluation.aggregate_posterior import AggregatePosterior
from rdstudy.evaluation.estimate import Estimate
from rdstudy.evaluation.gaussian import log_posterior
from rdstudy.models.objective import Posterior
from rdstudy.models.priors.standard_normal import StandardNormal

DRAWS_AT_ONCE = 2**17
"""Number of draws in memory at a time: about 105 MB with 10 latents."""
DRAWN_TWICE = 2048
"""Examples drawn a second time to estimate the variance within examples, if there is one draw per example.
The standard error then has a relative error of about 2%, more where few examples dominate the variance."""


LogDensity = Callable[[Float[Tensor, "draws latent"]], Float[Tensor, " draws"]]


@dataclass(frozen=True)
class RateDecomposition:
    """The rate of a population and its two parts: rate = mutual_information + marginal_kl, up to rounding.

    Attributes:
        rate: R = E_x KL(q(z|x) || p(z)), in closed form over the whole population; or where the prior's log density
            is given, by the draws of the mutual information.
        mutual_information: I_q(x; z), never above `ceiling`.
        marginal_kl: KL(q(z) || p(z)) = R - I; below 0 only by its error, which is that of I where R has a closed form.
        ceiling: log of the population's size, the largest I there can be.
    """

    rate: Estimate
    mutual_information: Estimate
    marginal_kl: Estimate
    ceiling: float


def decompose_rate(
    mean: Float[Tensor, "examples latent"],
    log_std: Float[Tensor, "examples latent"],
    *,
    generator: np.random.Generator,
    draws_per_example: int = 1,
    examples: int | None = None,
    chunk_size: int | None = None,
    rates: Float[Tensor, " examples"] | None = None,
    log_prior: LogDensity | None = None,
) -> RateDecomposition:
    """Split the rate of a population into mutual information and marginal KL, from shared draws.

        I = E_n E_q(z|x_n)[log q(z|x_n) - log q(z)],    KL(q(z) || p(z)) = R - I,    q(z) = 1/N sum_n q(z|x_n)

    z is drawn from the posteriors (posterior means would bias I upwards), q(z) is exact over all N examples, and R
    is the closed form. Every term, and so I, is at most log N, because q(z) >= q(z|x_n) / N. I is exact where all
    posteriors coincide (every term is 0) and where they are disjoint (every term is log N).

    *Direction.* I is unbiased for these N encodings, with x uniform over them. For the distribution that the
    examples come from, I is a lower bound in expectation (Poole et al. 2019: the tractable bound with a known
    conditional), and the marginal KL an upper bound. The standard error does not include this bias.

    *Standard error.* Over fresh draws of z with the encodings fixed. Given the encodings, the terms are
    independent. The error comes from the variance within examples; the variance of all terms also has the
    differences between examples and would be too large. With one draw per example, the variance comes from a
    second draw of up to 2,048 random examples, which is used for nothing else.

    *Subsamples.* `examples=m` draws only from m random examples but keeps q(z) over all N. It estimates the same I,
    with ceiling log N, at m / N of the cost; the error includes the choice of examples. Passing the encodings of
    m examples estimates I of that smaller population, with ceiling log m.

    Args:
        mean: posterior means of the population, in latent units.
        log_std: logarithms of the posterior standard deviations.
        generator: source of the draws, consumed in order of examples, so that they do not depend on `chunk_size`.
        draws_per_example: draws of z from each posterior.
        examples: number of examples whose posteriors are drawn from; default all.
        chunk_size: pairs (z, example) evaluated at once, as in `log_aggregate_posterior`.
        rates: KL(q(z|x) || p(z)) of every example in closed form, in nats; default: under N(0, I).
        log_prior: log p(z) of float64 draws, for a prior whose rate has no closed form: the rate is then the mean of
            log q(z|x) - log p(z), the marginal KL that of log q(z) - log p(z). Default: the closed form is used.

    Returns:
        The three estimates in nats and the ceiling. `count` is the number of draws; of the rate, of examples.

    Raises:
        ValueError: draws_per_example below 1, examples outside 2 to N, or encodings that
            `log_aggregate_posterior` refuses.

    References:
        Hoffman & Johnson 2016 (the split). Cochran 1977, chapter 10 (the error of sampling in two stages).

    >>> import numpy, torch
    >>> mean = torch.tensor([[-30.0], [30.0]])  # a rate of 30^2 / 2, of which log 2 identifies the example
    >>> split = decompose_rate(mean, torch.zeros(2, 1), generator=numpy.random.default_rng(0))
    >>> split.rate.value, round(split.mutual_information.value, 4), round(split.marginal_kl.value, 4)
    (450.0, 0.6931, 449.3069)
    """
    population = AggregatePosterior(mean, log_std, chunk_size=chunk_size)
    total = population.examples
    chosen = total if examples is None else examples
    if draws_per_example < 1:
        raise ValueError(f"draws_per_example is {draws_per_example}; it must be at least 1.")
    if not min(2, total) <= chosen <= total:
        raise ValueError(f"examples is {chosen}; draws can come from {min(2, total)} to {total} examples.")
    mean, log_std = mean.detach().double(), log_std.detach().double()
    index = _choice(total, chosen, generator)
    drawn = _draws(population, mean, log_std, index, draws_per_example, generator, log_prior)
    second, again = drawn, np.arange(0)
    if draws_per_example == 1:
        again = _choice(chosen, min(chosen, DRAWN_TWICE), generator)
        second = _draws(population, mean, log_std, index[again], 1, generator, log_prior)

    def estimate(terms: Float[Tensor, "examples draws"], once_more: Float[Tensor, "again draws"]) -> Estimate:
        if draws_per_example > 1:
            within = terms.var(1).mean().item()
        else:
            within = 0.5 * (once_more - terms[torch.from_numpy(again)]).square().mean().item()
        variance = chosen / total * within / draws_per_example
        if chosen < total:
            variance += (1 - chosen / total) * terms.mean(1).var().item()
        return Estimate(terms.mean().item(), math.sqrt(variance / chosen), terms.numel())

    information = estimate(drawn.own - drawn.aggregate, second.own - second.aggregate)
    if log_prior is None:
        rates = StandardNormal().rate(Posterior(mean, log_std)) if rates is None else rates.double()
        closed = rates.mean().item()
        rate = Estimate(closed, 0.0, total)
        marginal = Estimate(closed - information.value, information.standard_error, information.count)
    else:
        rate = estimate(drawn.own - drawn.prior, second.own - second.prior)
        marginal = estimate(drawn.aggregate - drawn.prior, second.aggregate - second.prior)
    return RateDecomposition(rate, information, marginal, math.log(total))


def mutual_information(
    mean: Float[Tensor, "examples latent"],
    log_std: Float[Tensor, "examples latent"],
    *,
    generator: np.random.Generator,
    draws_per_example: int = 1,
    examples: int | None = None,
    chunk_size: int | None = None,
) -> Estimate:
    """Estimate I_q(x; z) of a population in nats, at most log N. Args, Returns and Raises as in `decompose_rate`.

    >>> import math, numpy, torch
    >>> mean = 100.0 * torch.arange(8)[:, None]  # eight disjoint posteriors
    >>> found = mutual_information(mean, torch.zeros(8, 1), generator=numpy.random.default_rng(0))
    >>> round(found.value, 6), round(math.log(8), 6)
    (2.079442, 2.079442)
    """
    return decompose_rate(
        mean,
        log_std,
        generator=generator,
        draws_per_example=draws_per_example,
        examples=examples,
        chunk_size=chunk_size,
    ).mutual_information


def marginal_kl(
    mean: Float[Tensor, "examples latent"],
    log_std: Float[Tensor, "examples latent"],
    *,
    generator: np.random.Generator,
    draws_per_example: int = 1,
    examples: int | None = None,
    chunk_size: int | None = None,
) -> Estimate:
    """Estimate KL(q(z) || p(z)) of a population in nats. Args, Returns and Raises as in `decompose_rate`."""
    return decompose_rate(
        mean,
        log_std,
        generator=generator,
        draws_per_example=draws_per_example,
        examples=examples,
        chunk_size=chunk_size,
    ).marginal_kl


class _Draws(NamedTuple):
    """Log densities of each draw, on the CPU: of its own code, of the aggregate posterior and of the prior."""

    own: Float[Tensor, "examples draws"]
    aggregate: Float[Tensor, "examples draws"]
    prior: Float[Tensor, "examples draws"]


def _draws(
    population: AggregatePosterior,
    mean: Float[Tensor, "population latent"],
    log_std: Float[Tensor, "population latent"],
    index: Int[np.ndarray, " examples"],
    draws: int,
    generator: np.random.Generator,
    log_prior: LogDensity | None,
) -> _Draws:
    """Draws from these posteriors, in order of examples. Without a prior its densities are 0."""
    own, aggregate, prior = torch.zeros(3, len(index) * draws, dtype=torch.float64)
    for part in _slices(len(own), DRAWS_AT_ONCE):
        example = torch.from_numpy(index[np.arange(part.start, part.stop) // draws]).to(mean.device)
        noise = torch.from_numpy(generator.standard_normal((len(example), mean.shape[1]))).to(mean.device)
        own_mean, own_log_std = mean[example], log_std[example]
        z = torch.addcmul(own_mean, own_log_std.exp(), noise)
        # From z, not from the noise: if std is near the rounding of the mean, z is not exactly mean + std * noise.
        own[part] = log_posterior(z, own_mean, own_log_std).cpu()
        aggregate[part] = population.log_density(z, drawn_from=example).cpu()
        if log_prior is not None:
            prior[part] = log_prior(z).cpu()
    return _Draws(*(each.view(len(index), draws) for each in (own, aggregate, prior)))


def _choice(total: int, chosen: int, generator: np.random.Generator) -> Int[np.ndarray, " chosen"]:
    """Indices of `chosen` of `total` examples: a random choice, or all in order without a draw."""
    return np.arange(total) if chosen == total else generator.choice(total, chosen, replace=False)


def _slices(length: int, size: int) -> Iterator[slice]:
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))

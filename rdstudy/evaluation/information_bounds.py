"""Bounds of the mutual information and the marginal KL for the distribution that the examples come from.

    I = E_x KL(q(z|x) || q(z)),    q(z) = E_x q(z|x)    over the distribution of x, not over N examples

    I_lower = E[log q(z|x) - log q_N(z)]    q_N(z) = 1/N sum_n q(z|x_n), x among the x_n: at most log N
    I_upper = E[log q(z|x) - log r(z)]      = I + KL(q(z) || r(z)), for any density r that does not depend on this x
    KL_upper = R - I_lower,    KL_lower = R - I_upper = E[log r(z) - log p(z)]

The noise of log q(z|x) - log p(z) around its expectation, the rate of x, is a control variate of the terms of I_upper:
where r = p they become the rates.

I_lower is the multi-sample bound with a known conditional, I_upper the variational bound of a marginal (Poole et al.
2019; Barber & Agakov 2003). No lower bound by N examples can say more than about log N (McAllester & Stratos 2020), but
an r close to q(z) shows how large I cannot be, and so that the marginal KL is not small.

r is fitted to draws from one half of the examples and judged on the other half, and the halves change places: each row
of the table is about its own population, and no code is judged by a density that has seen it. It is a weighted sum of
the prior, of Gaussian mixtures and of the codes of its half, (1/M) sum_m q(z|x_m). The weights have the largest
likelihood (stacking; Smyth & Wolpert 1999) on a fifth of that half, which the densities were not fitted to. The prior
always has a weight of 1% or more, so that at no z is log r(z) more than 4.7 nats below log p(z).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rdstudy.evaluation.aggregate_posterior import AggregatePosterior
from rdstudy.evaluation.estimate import Estimate, two_phase_error
from rdstudy.evaluation.gaussian import log_posterior
from rdstudy.evaluation.gaussian_mixture import POINTS_PER_COMPONENT, Covariance, fitted_mixtures
from rdstudy.evaluation.mutual_information import LogDensity

COMPONENTS, EXAMPLES = 32, 8192
"""Components of a mixture at most, and examples drawn from at most, if nothing else is said."""
COVARIANCES: tuple[Covariance, ...] = ("full", "diagonal")
CHECKED = 5
"""Of this many examples of a half one is kept for the weights of the densities."""
LEAST_PRIOR = 0.01
"""Least weight of the prior in r: what it costs is this many nats, at most."""
LEAST_REGRESSED = 100
"""Draws from which on the multiple of the control variate is estimated; its bias is of the order of 1 / draws."""
MAX_STEPS, SMALLEST_CHANGE = 500, 1e-6
"""Of the search for the weights: steps, and the largest change of a weight at which it ends."""


@dataclass(frozen=True)
class InformationBounds:
    """Bounds in nats per example; each in expectation, with the standard error over examples and draws.

    Attributes:
        mi_lower: at most `ceiling`.
        mi_upper: at most R, up to its error and what the fit lost.
        marginal_kl_lower: R - mi_upper, R over all examples.
        marginal_kl_upper: R - mi_lower.
        ceiling: log of the number of examples in q_N.
        prior_weight: weight of the prior in r, mean over the halves; 1: no fitted density was closer.
    """

    mi_lower: Estimate
    mi_upper: Estimate
    marginal_kl_lower: Estimate
    marginal_kl_upper: Estimate
    ceiling: float
    prior_weight: float


def information_bounds(
    mean: Float[Tensor, "examples latent"],
    log_std: Float[Tensor, "examples latent"],
    rate: Float[Tensor, " examples"],
    log_prior: LogDensity,
    *,
    generator: np.random.Generator,
    examples: int = EXAMPLES,
    components: int = COMPONENTS,
) -> InformationBounds:
    """Bound mutual information and marginal KL, from one draw of each of the first examples.

    Args:
        mean: posterior means of the population, in latent units; in random order.
        log_std: logarithms of the posterior standard deviations.
        rate: KL(q(z|x) || p(z)) of every example, or an unbiased estimate of it, in nats.
        log_prior: log p(z) of float64 draws.
        generator: source of the draws, consumed in order of examples.
        examples: how many are drawn from; q_N and the codes in r are those of all.
        components: of a mixture, at most.

    Returns:
        The bounds. The errors are NaN where a single example is drawn from.

    Raises:
        ValueError: encodings that `log_aggregate_posterior` refuses.

    >>> import numpy, torch
    >>> from rdstudy.models.priors.standard_normal import StandardNormal
    >>> collapsed, prior = torch.zeros(1000, 2), StandardNormal().log_density  # every code is the prior
    >>> found = information_bounds(
    ...     collapsed, collapsed, torch.zeros(1000), prior, generator=numpy.random.default_rng(0)
    ... )
    >>> abs(found.mi_lower.value) < 1e-9, abs(found.mi_upper.value) < 0.02
    (True, True)
    """
    total = len(mean)
    mean, log_std, rate = mean.detach().double(), log_std.detach().double(), rate.detach().double()
    drawn = min(examples, total)
    noise = torch.from_numpy(generator.standard_normal((drawn, mean.shape[1]))).to(mean.device)
    z = mean[:drawn] + log_std[:drawn].exp() * noise
    own, prior = log_posterior(z, mean[:drawn], log_std[:drawn]), log_prior(z)
    halves = [_Half(mean[k::2], log_std[k::2], z[k::2]) for k in (0, 1)]
    aggregate, marginal = torch.empty_like(own), torch.empty_like(own)
    weights = []
    for k, half in enumerate(halves):
        other = halves[1 - k]
        within, across = half.own_density(), other.density(half.z)
        share = len(half.mean) / total
        aggregate[k::2] = torch.logaddexp(within + _log(share), across + _log(1 - share))
        marginal[k::2], weight = other.marginal(half.z, across, log_prior, components)
        weights.append(weight)
    least, most = own - aggregate, own - marginal
    most = _less_noisy(most, rate[:drawn] - (own - prior))
    return InformationBounds(
        mi_lower=_mean(least),
        mi_upper=_mean(most),
        marginal_kl_lower=_rest(rate, most),
        marginal_kl_upper=_rest(rate, least),
        ceiling=math.log(total),
        prior_weight=sum(weights) / len(weights),
    )


class _Half:
    """Codes of half of a population, and a draw from each of the first: what a density is fitted to."""

    def __init__(
        self,
        mean: Float[Tensor, "codes latent"],
        log_std: Float[Tensor, "codes latent"],
        z: Float[Tensor, "draws latent"],
    ) -> None:
        self.mean, self.log_std, self.z = mean, log_std, z
        self.codes = AggregatePosterior(mean, log_std) if len(mean) else None

    def own_density(self) -> Float[Tensor, " draws"]:
        """log of the mean of this half's posteriors at its own draws."""
        if self.codes is None:
            return self.z.new_empty(0)
        return self.codes.log_density(self.z, drawn_from=torch.arange(len(self.z), device=self.z.device))

    def density(self, z: Float[Tensor, "draws latent"]) -> Float[Tensor, " draws"]:
        """The same at other draws."""
        return z.new_full((len(z),), -math.inf) if self.codes is None else self.codes.log_density(z)

    def marginal(
        self,
        z: Float[Tensor, "draws latent"],
        codes: Float[Tensor, " draws"],
        log_prior: LogDensity,
        components: int,
    ) -> tuple[Float[Tensor, " draws"], float]:
        """log r(z) at draws of the other half, and the weight of the prior in r.

        Args:
            z: the draws.
            codes: `density` at them.
            log_prior: of the prior.
            components: of a mixture, at most.
        """
        checked = torch.zeros(len(self.mean), dtype=torch.bool, device=z.device)
        checked[: len(self.z) : CHECKED] = True
        check = self.z[checked[: len(self.z)]]
        if len(check) == 0 or bool(checked.all()):
            return log_prior(z), 1.0
        rest = AggregatePosterior(self.mean[~checked], self.log_std[~checked])
        there = [log_prior(check), rest.log_density(check)]
        here = [log_prior(z), codes]
        for fitted in _mixtures(self.z[~checked[: len(self.z)]], check, components):
            there.append(fitted(check))
            here.append(fitted(z))
        weight = _stacked(torch.stack(there))
        return (torch.stack(here) + weight.log()[:, None]).logsumexp(0), weight[0].item()


def _mixtures(
    z: Float[Tensor, "draws latent"], check: Float[Tensor, "checked latent"], components: int
) -> list[Callable[[Tensor], Tensor]]:
    """Densities fitted to draws: of each kind of covariance, all until more components are worse at the others."""
    if len(z) < POINTS_PER_COMPONENT * z.shape[1]:
        return []
    found: list[Callable[[Tensor], Tensor]] = []
    for covariance in COVARIANCES:
        best = -math.inf
        for mixture in fitted_mixtures(z, components, covariance):
            score = mixture.log_density(check).mean().item()
            if score <= best:
                break
            best = score
            found.append(mixture.log_density)
    return found


def _stacked(log_density: Float[Tensor, "densities points"]) -> Float[Tensor, " densities"]:
    """Weights of the sum of densities that makes these points the most likely, by expectation-maximisation.

    The first density counts as if it had explained 1% of the points, and one, by itself.
    """
    densities, points = log_density.shape
    relative = (log_density - log_density.amax(0)).exp()
    weight = relative.new_full((densities,), 1 / densities)
    pseudo = torch.zeros_like(weight)
    pseudo[0] = 1 + points * LEAST_PRIOR / (1 - LEAST_PRIOR)
    for _ in range(MAX_STEPS):
        joint = relative * weight[:, None]
        new = (joint / joint.sum(0)).sum(1) + pseudo
        new /= new.sum()
        change = (new - weight).abs().max().item()
        weight = new
        if change < SMALLEST_CHANGE:
            break
    return weight


def _less_noisy(terms: Float[Tensor, " drawn"], control: Float[Tensor, " drawn"]) -> Float[Tensor, " drawn"]:
    """The terms and a multiple of what has an expectation of 0: the one of least variance, or 1 where terms are few."""
    away = control - control.mean()
    variance = away.square().sum()
    if len(terms) < LEAST_REGRESSED or not variance > 0:
        return terms + control
    return terms - (away * terms).sum() / variance * control


def _log(share: float) -> float:
    return math.log(share) if share > 0 else -math.inf


def _mean(terms: Float[Tensor, " drawn"]) -> Estimate:
    return _estimate(terms.mean().item(), terms, terms, len(terms))


def _rest(rate: Float[Tensor, " examples"], part: Float[Tensor, " drawn"]) -> Estimate:
    """The rate of all examples less this part of it, which only some were drawn for."""
    return _estimate((rate.mean() - part.mean()).item(), rate[: len(part)] - part, part, len(rate))


def _estimate(value: float, terms: Float[Tensor, " drawn"], part: Float[Tensor, " drawn"], n: int) -> Estimate:
    error = two_phase_error(terms, part, n)
    return Estimate(value, math.nan if error is None else error, len(terms))

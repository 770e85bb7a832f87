"""Why reporting needs all pairs: what estimators found in public code say where the answer is known.

The surrogates are for training, where a minibatch is all there is. They are written from their formulas, and
live here only.
"""

import math

import numpy as np
import pytest
import torch

from rdstudy.evaluation.aggregate_posterior import log_aggregate_posterior
from rdstudy.evaluation.gaussian import log_posterior
from rdstudy.evaluation.mutual_information import mutual_information

EXAMPLES, BATCH, LATENT = 1000, 50, 2


def log_weights(kind, examples, batch):
    """Logs of what a surrogate multiplies the densities q(z_i|x_j) of a batch by: [draws i, examples j]."""
    if kind == "all pairs of the batch":
        return torch.full((batch, batch), -math.log(batch), dtype=torch.float64)
    if kind == "forgotten pairs":  # the sum over a batch of 1, divided by the batch
        return torch.full((batch, batch), -math.inf, dtype=torch.float64).fill_diagonal_(-math.log(batch))
    if kind == "MWS":  # Chen et al. 2018
        return torch.full((batch, batch), -math.log(examples * batch), dtype=torch.float64)
    weights = torch.full((batch, batch), 1 / (batch - 1), dtype=torch.float64)
    if kind == "MSS":  # Chen et al. 2018: own code 1/N, one other the remainder, the rest 1/(B - 1)
        rest = (examples - batch + 1) / (examples * (batch - 1))
        weights.fill_diagonal_(1 / examples)
        weights[torch.arange(batch), (torch.arange(batch) + 1) % batch] = rest
    else:  # as widely copied: a stride of B instead of B + 1 writes two columns instead of two diagonals
        weights[:, 0] = 1 / examples
        weights[:, 1] = (examples - batch + 1) / (examples * (batch - 1))
    return weights.log()


def surrogate(kind, mean, log_std, rng):
    """The surrogate's mutual information, averaged over the population's batches."""
    found = []
    for index in torch.from_numpy(rng.permutation(len(mean))).split(BATCH):
        m, s = mean[index], log_std[index]
        z = m + s.exp() * torch.from_numpy(rng.standard_normal(m.shape))
        pairs = log_posterior(z[:, None].expand(-1, BATCH, -1), m.expand(BATCH, -1, -1), s.expand(BATCH, -1, -1))
        aggregate = (pairs + log_weights(kind, len(mean), BATCH)).logsumexp(1)
        found.append((pairs.diagonal() - aggregate).mean().item())
    return float(np.mean(found))


def population(kind):
    """Codes that say everything, nothing, or a known amount between."""
    if kind == "separated":
        return 1e3 * torch.arange(EXAMPLES, dtype=torch.float64)[:, None].expand(-1, LATENT), torch.zeros(
            EXAMPLES, LATENT
        )
    if kind == "collapsed":
        return torch.zeros(EXAMPLES, LATENT), torch.zeros(EXAMPLES, LATENT)
    mean = torch.from_numpy(np.random.default_rng(0).standard_normal((EXAMPLES, LATENT)))
    return mean, torch.full((EXAMPLES, LATENT), math.log(0.2))


SEPARATED = {
    "all pairs of the batch": math.log(BATCH),  # its ceiling, not log N
    "forgotten pairs": math.log(BATCH),
    "MWS": math.log(EXAMPLES * BATCH),  # above log N
    "MSS": math.log(EXAMPLES),
    "MSS as copied": math.log(BATCH - 1),  # but for two codes a batch
}
COLLAPSED = {
    "all pairs of the batch": 0.0,
    "forgotten pairs": math.log(BATCH),  # full collapse looks informative
    "MWS": math.log(EXAMPLES),  # full collapse looks like full information
    "MSS": 0.0,
    "MSS as copied": 0.0,
}


@pytest.mark.parametrize("kind", SEPARATED)
def test_on_separated_codes_ours_is_log_n_and_a_surrogate_its_own_constant(kind):
    mean, log_std = population("separated")
    rng = np.random.default_rng(1)
    assert mutual_information(mean, log_std, generator=rng).value == pytest.approx(math.log(EXAMPLES), abs=1e-9)
    found = surrogate(kind, mean, log_std.double(), rng)
    assert found == pytest.approx(SEPARATED[kind], abs=0.2 if kind == "MSS as copied" else 1e-9)


@pytest.mark.parametrize("kind", COLLAPSED)
def test_on_collapsed_codes_ours_is_zero_and_a_surrogate_its_own_constant(kind):
    mean, log_std = population("collapsed")
    rng = np.random.default_rng(1)
    assert mutual_information(mean, log_std, generator=rng).value == pytest.approx(0, abs=1e-9)
    assert surrogate(kind, mean.double(), log_std.double(), rng) == pytest.approx(COLLAPSED[kind], abs=1e-9)


def test_between_the_extremes_only_all_pairs_of_the_population_hit_the_truth():
    mean, log_std = population("between")
    rng = np.random.default_rng(2)
    ours = mutual_information(mean, log_std, generator=rng)
    truth = mutual_information(mean, log_std, generator=rng, draws_per_example=100)
    assert truth.standard_error < 0.005
    error = math.hypot(ours.standard_error, truth.standard_error)
    assert abs(ours.value - truth.value) <= 3 * error
    for kind, bias in {
        "all pairs of the batch": -0.3,
        "forgotten pairs": 0.3,
        "MWS": 3.0,
        "MSS as copied": -0.3,
    }.items():
        found = surrogate(kind, mean, log_std.double(), rng)
        assert (found - truth.value) / bias > 1, (kind, found, truth.value)
    assert surrogate("MSS", mean, log_std.double(), rng) > truth.value + 0.1  # log of an unbiased q(z): too large


def test_means_instead_of_draws_make_the_information_too_large():
    mean, log_std = population("between")
    log_std = log_std.double()
    at_means = log_posterior(mean, mean, log_std) - log_aggregate_posterior(mean, mean, log_std)
    truth = mutual_information(mean, log_std, generator=np.random.default_rng(3), draws_per_example=20)
    assert at_means.mean().item() > truth.value + 0.5

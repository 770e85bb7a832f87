"""Priors fitted to the codes of a trained model: closed forms, and what must not change."""

import numpy as np
import pytest
import torch

from rdstudy.evaluation.ex_post import fit_prior
from rdstudy.evaluation.measures.ex_post_prior import ExPostPrior
from rdstudy.evaluation.population import encode_population
from rdstudy.models.objective import Posterior
from rdstudy.models.priors.standard_normal import StandardNormal
from rdstudy.models.priors.vampprior import VampPrior
from rdstudy.models.shape import ModelShape
from rdstudy.models.stacked import initial_parameters
from rdstudy.models.vae import VAE

LEARNED = ("gaussian", "mixture(1)", "mixture(4)", "flow(2)")


def codes(n: int = 3000, *, shift: float = 0.0, spread: float = 1.0, std: float = 0.5, seed: int = 0) -> Posterior:
    """q(z|x) with means of a Gaussian, so that q(z) is the Gaussian of this shift and variance."""
    noise = torch.from_numpy(np.random.default_rng(seed).standard_normal((n, 2)))
    return Posterior(shift + spread * noise, torch.full((n, 2), float(np.log(std)), dtype=torch.float64))


def clusters(n: int = 3000, seed: int = 0) -> Posterior:
    """Codes of two groups, 6 apart."""
    found = codes(n, std=0.3, spread=0.3, seed=seed)
    group = torch.from_numpy(np.random.default_rng(seed + 1).integers(2, size=n)) * 6.0 - 3.0
    return Posterior(found.mean + group[:, None], found.log_std)


def mean_rate(fitted, posterior: Posterior, seed: int = 9) -> float:
    z = posterior.sample(torch.from_numpy(np.random.default_rng(seed).standard_normal(tuple(posterior.mean.shape))))
    return float(fitted.rate(posterior, z).mean())


def test_the_best_gaussian_has_the_codes_mean_and_variance():
    posterior = codes(shift=2.0, spread=3.0)
    fitted = fit_prior("gaussian", posterior, np.random.default_rng(0), steps=200)
    mean = posterior.mean.mean(0)
    variance = (2 * posterior.log_std).exp().mean(0) + posterior.mean.var(0, correction=0)
    z = torch.randn(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    best = torch.distributions.Normal(mean, variance.sqrt()).log_prob(z).sum(-1)
    assert torch.allclose(fitted.log_density(z), best, atol=1e-9)


@pytest.mark.parametrize("name", LEARNED)
def test_nothing_is_gained_where_the_codes_already_are_the_prior(name):
    """Posteriors N(m, 0.6^2) with m ~ N(0, 0.8^2): q(z) = N(0, I), as of a linear-Gaussian model's exact encoder."""
    train, test = (codes(20_000, spread=0.8, std=0.6, seed=seed) for seed in (1, 2))
    fitted = fit_prior(name, train, np.random.default_rng(0), steps=400)
    gain = StandardNormal().rate(test).mean().item() - mean_rate(fitted, test)
    assert abs(gain) < 0.02


@pytest.mark.parametrize("name", LEARNED)
def test_no_density_brings_the_rate_of_all_codes_below_that_of_their_own_distribution(name):
    """R(p) = I + KL(q(z) || p(z)) is least at p = q(z): here N(0, 3^2 + 0.5^2)."""
    posterior = codes(20_000, spread=3.0)
    fitted = fit_prior(name, posterior, np.random.default_rng(0), steps=400)
    least = 2 * 0.5 * np.log(1 + (3.0 / 0.5) ** 2)
    assert mean_rate(fitted, posterior) > least - 0.05


def test_a_mixture_and_a_flow_find_the_groups_that_a_gaussian_cannot():
    train, test = clusters(), clusters(seed=5)
    rates = {
        name: mean_rate(fit_prior(name, train, np.random.default_rng(0), steps=600), test)
        for name in ("gaussian", "mixture(4)", "flow(4)")
    }
    assert rates["mixture(4)"] < rates["gaussian"] - 1.0
    assert rates["flow(4)"] < rates["gaussian"] - 0.3


def test_a_search_that_ends_worse_than_it_began_is_not_taken():
    posterior = codes(shift=1.0, spread=2.0)
    begun = fit_prior("gaussian", posterior, np.random.default_rng(0), steps=1)
    ended = fit_prior("gaussian", posterior, np.random.default_rng(0), steps=50)
    assert mean_rate(ended, posterior) <= mean_rate(begun, posterior) + 1e-12


def test_a_prior_without_parameters_cannot_be_fitted():
    with pytest.raises(ValueError, match="nothing to fit"):
        fit_prior("standard_normal", codes(), np.random.default_rng(0), steps=1)
    with pytest.raises(ValueError, match="nothing to fit"):
        ExPostPrior(prior="standard_normal")


@pytest.fixture(scope="module")
def encoded(dataset):
    shape = ModelShape(15, 1, 9, 3)
    model = VAE(shape, 1.5 * initial_parameters(shape, "a", torch.float32))
    images, order = torch.from_numpy(dataset.images.copy()), np.random.default_rng(3).permutation(100)
    with torch.no_grad():
        train = encode_population(model, images, order[:60], np.random.default_rng(1), beta=1.0)
        test = encode_population(model, images, order[60:], np.random.default_rng(2), beta=1.0, fitted_on=train)
    return train, test


def test_pseudo_inputs_go_through_the_encoder_which_stays_as_it_is(encoded):
    train, _ = encoded
    before = train.model.row().clone()
    fitted = fit_prior("vampprior(3)", train.posterior, np.random.default_rng(0), steps=60, model=train.model)
    assert torch.equal(train.model.row(), before)
    assert all(parameter.grad is None for parameter in train.model.parameters())
    assert isinstance(fitted.prior, VampPrior)
    z = 2 * torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        posterior = train.model.encode(fitted.prior.inputs(fitted.values)[0].float())
    mean, std = posterior.mean.double(), posterior.log_std.double().exp()
    each = torch.distributions.Normal(mean, std).log_prob(z[:, None]).sum(-1)
    assert torch.allclose(fitted.log_density(z), each.logsumexp(1) - np.log(3), atol=1e-5)


def test_the_prior_is_that_of_the_training_codes_for_every_population(encoded):
    train, test = encoded
    asked = ExPostPrior(at="final", prior="gaussian", steps=20, importance_samples=16)
    with torch.no_grad():
        found = asked.compute(test, np.random.default_rng(0))
        own = fit_prior("gaussian", train.posterior, np.random.default_rng(0), steps=20)
        rate = mean_rate(own, Posterior(*(part.double() for part in test.posterior)))
    assert found["ex_post_rate_nats"] == pytest.approx(rate, abs=1e-6)
    assert found["ex_post_gain_nats"] == pytest.approx(test.rate.mean().item() - rate, abs=1e-6)


def test_the_nll_is_that_of_the_fitted_prior(encoded):
    """By quadrature over three latent dimensions, on a grid that covers both priors."""
    train, test = encoded
    asked = ExPostPrior(at="final", prior="gaussian", steps=20, importance_samples=256, nll_examples="all")
    with torch.no_grad():
        found = asked.compute(test, np.random.default_rng(0))
        fitted = fit_prior("gaussian", train.posterior, np.random.default_rng(0), steps=20)
        axes = [fitted.centre[d] + fitted.scale[d] * torch.linspace(-6, 6, 41, dtype=torch.float64) for d in range(3)]
        z = torch.cartesian_prod(*axes)
        cell = torch.stack([axis[1] - axis[0] for axis in axes]).log().sum()
        output, prior = test.model.decode(z.float()), fitted.log_density(z) + cell
        exact = [
            -(prior - test.model.distortion(output, x.expand(len(z), -1)).double()).logsumexp(0).item()
            for x in next(test.batches(len(test)))
        ]
    assert found["ex_post_nll_nats"] == pytest.approx(np.mean(exact), abs=0.02)

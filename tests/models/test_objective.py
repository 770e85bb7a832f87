import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import distributions
from torch.distributions import Normal, kl_divergence

from rdstudy.models.likelihoods.bernoulli import Bernoulli
from rdstudy.models.objective import Posterior, lagrangian
from rdstudy.models.priors.standard_normal import StandardNormal

distortion, rate = Bernoulli().distortion, StandardNormal().rate


def random(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_rate_is_the_mean_of_the_log_ratio_of_posterior_and_prior():
    posterior = Posterior(random(5, 3), random(5, 3, seed=1, scale=0.7))
    draws = 40_000
    z = posterior.sample(random(draws, 5, 3, seed=2))
    log_ratio = (Normal(posterior.mean, posterior.log_std.exp()).log_prob(z) - Normal(0.0, 1.0).log_prob(z)).sum(-1)
    error = log_ratio.std(0) / math.sqrt(draws)
    deviations = (log_ratio.mean(0) - rate(posterior)) / error
    assert deviations.abs().max() < 4  # standard errors, of 5 examples


def test_rate_is_pytorchs_kl_divergence():
    posterior = Posterior(random(4, 7, 3, scale=3), random(4, 7, 3, seed=1))
    reference = kl_divergence(Normal(posterior.mean, posterior.log_std.exp()), Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(rate(posterior), reference)


numbers = st.floats(-20, 20)


@settings(deadline=None)
@given(mean=numbers, log_std=numbers)
def test_rate_is_nothing_exactly_at_the_prior_and_more_elsewhere(mean, log_std):
    nats = rate(Posterior(torch.tensor([mean], dtype=torch.float64), torch.tensor([log_std], dtype=torch.float64)))
    assert nats >= -1e-15  # rounding
    if abs(mean) > 1e-6 or abs(log_std) > 1e-6:
        assert nats > 0
    assert rate(Posterior(torch.zeros(3), torch.zeros(3))) == 0


def test_rate_adds_up_over_latent_dimensions():
    posterior = Posterior(random(6, 4), random(6, 4, seed=1))
    single = [rate(Posterior(posterior.mean[:, [d]], posterior.log_std[:, [d]])) for d in range(4)]
    torch.testing.assert_close(rate(posterior), torch.stack(single).sum(0))


def test_draws_have_the_posteriors_mean_and_spread():
    posterior = Posterior(torch.tensor([2.0, -1.0]), torch.tensor([0.5, -2.0]))
    z = posterior.sample(random(40_000, 2).float())
    errors = posterior.log_std.exp() / 200  # sqrt(40,000)
    assert ((z.mean(0) - posterior.mean) / errors).abs().max() < 4
    assert ((z.std(0) - posterior.log_std.exp()) / errors).abs().max() < 4
    assert torch.equal(posterior.sample(torch.zeros(2)), posterior.mean)


def test_without_an_opinion_distortion_is_log_two_per_pixel_whatever_the_image():
    images = torch.rand(9, 15, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(
        distortion(torch.zeros(9, 15, dtype=torch.float64), images),
        torch.full((9,), 15 * math.log(2), dtype=torch.float64),
    )


def test_distortion_of_black_and_white_is_a_negative_log_probability():
    logits, images = random(5, 15), (random(5, 15, seed=1) > 0).double()
    torch.testing.assert_close(
        distortion(logits, images), -distributions.Bernoulli(logits=logits).log_prob(images).sum(-1)
    )


def test_distortion_is_never_below_the_images_entropy_and_reaches_it():
    images = torch.rand(8, 15, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    entropy = distributions.Bernoulli(probs=images).entropy().sum(-1)
    assert (distortion(random(1000, 8, 15, scale=3), images.expand(1000, 8, 15)) > entropy).all()
    torch.testing.assert_close(distortion(images.logit(), images), entropy)


def test_distortion_stays_finite_at_extreme_logits():
    logits = torch.tensor([[1e6, -1e6, 1e6, -1e6]])
    images = torch.tensor([[1.0, 0.0, 0.0, 1.0]])
    assert distortion(logits, images).item() == 2e6  # right twice at no cost, wrong twice


def test_distortion_falls_along_image_minus_probability():
    logits, images = random(3, 15).requires_grad_(), random(3, 15, seed=1).sigmoid()
    distortion(logits, images).sum().backward()
    torch.testing.assert_close(logits.grad, logits.detach().sigmoid() - images)


@pytest.mark.parametrize("beta", [0.0, 0.1, 5.0])
def test_the_lagrangian_is_the_mean_of_distortion_and_weighted_rate(beta):
    d, r = random(7).abs(), random(7, seed=1).abs()
    torch.testing.assert_close(lagrangian(d, r, beta), d.mean() + beta * r.mean())

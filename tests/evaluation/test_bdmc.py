"""Bidirectional Monte Carlo bounds log p(x) of simulated images from both sides."""

import numpy as np
import pytest
import torch

from rdstudy.evaluation.bdmc import bidirectional_monte_carlo
from rdstudy.models.likelihoods.bernoulli import Bernoulli
from rdstudy.models.shape import ModelShape
from rdstudy.models.stacked import initial_parameters
from rdstudy.models.vae import VAE
from tests.evaluation.linear_gaussian import LinearGaussian
from tests.evaluation.test_ais import by_quadrature


def philox(seed=0):
    return np.random.Generator(np.random.Philox(seed))


def error(values):
    return (values.std() / len(values) ** 0.5).item()


@pytest.mark.parametrize(("snr", "steps"), [(1.0, 5), (10.0, 40), (100.0, 60)])
def test_the_truth_is_between_the_bounds_of_a_linear_gaussian_model(snr, steps):
    model = LinearGaussian(snr)
    found = bidirectional_monte_carlo(model, model.images(20), generator=philox(), steps=steps)
    truth = model.nll(found.images)
    above, below = found.upper - truth, truth - found.lower
    assert above.mean() >= -3 * error(above)
    assert below.mean() >= -3 * error(below)
    assert found.gap == pytest.approx((above + below).mean().item())
    assert found.gap > 2 * found.gap_error  # so few steps leave one


def test_both_bounds_come_to_the_truth_as_steps_grow():
    model = LinearGaussian(10.0, latent=4, pixels=5)
    gaps = [
        bidirectional_monte_carlo(model, model.images(20), generator=philox(), steps=steps) for steps in (10, 40, 160)
    ]
    assert gaps[0].gap > 2 * gaps[1].gap > 4 * gaps[2].gap
    assert abs(gaps[2].gap) <= 0.4


def test_the_chains_down_weigh_one_over_the_likelihood_exactly():
    """E[1 / w] = 1 / p(x), with whatever settings."""
    model = LinearGaussian(1.0, latent=3, pixels=4)
    found = bidirectional_monte_carlo(model, model.images(400), generator=philox(), steps=10, chains=4)
    ratio = (found.lower + model.nll(found.images).neg()).exp()
    assert abs(ratio.mean().item() - 1) <= 3 * error(ratio)
    assert error(ratio) < 0.07


def test_a_bernoulli_decoder_of_one_latent_is_bounded_on_images_of_black_and_white():
    shape = ModelShape(15, 1, 9, 1)
    model = VAE(shape, 3.0 * initial_parameters(shape, "a", torch.float32))
    found = bidirectional_monte_carlo(model, torch.empty(60, 15), generator=philox(), steps=30)
    assert set(found.images.unique().tolist()) == {0.0, 1.0}
    truth = by_quadrature(model, found.images)
    above, below = found.upper - truth, truth - found.lower
    assert above.mean() >= -3 * error(above)
    assert below.mean() >= -3 * error(below)
    assert abs(found.gap) <= 0.1


def test_images_drawn_from_a_likelihood_have_its_mean():
    logits = torch.tensor([-2.0, 0.0, 3.0])
    images = Bernoulli().sample(philox(), logits.expand(20_000, 3))
    spread = (logits.sigmoid() * (1 - logits.sigmoid()) / 20_000).sqrt()
    assert ((images.mean(0) - Bernoulli().mean_image(logits)).abs() <= 4 * spread).all()


def test_a_likelihood_without_draws_simulates_nothing(monkeypatch):
    shape = ModelShape(15, 1, 9, 1)
    model = VAE(shape, initial_parameters(shape, "a", torch.float32))
    monkeypatch.setattr(model, "_likelihood", object())
    with pytest.raises(ValueError, match="has no method `sample`"):
        bidirectional_monte_carlo(model, torch.empty(2, 15), generator=philox())

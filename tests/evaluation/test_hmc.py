"""Hamiltonian Monte Carlo leaves its target as it is, whatever the step size and the metric."""

import numpy as np
import pytest
import torch

from rdstudy.evaluation.hmc import Draws, Kernel, Target, transition
from tests.evaluation.linear_gaussian import LinearGaussian


def draws(examples, seed=0):
    return Draws.of(np.random.Generator(np.random.Philox(seed)), examples)


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("size", "accepted"), [(0.3, (0.9, 1.0)), (1.2, (0.1, 0.97)), (30.0, (0.0, 0.2))])
def test_exact_draws_stay_exact_draws(size, accepted, t):
    """Means and covariances of 4,000 chains within 4.5 standard errors, also where few proposals are accepted."""
    model = LinearGaussian(2.0, latent=3, pixels=4)
    x = model.images(2)
    metric = torch.tensor([[1.0, 0.3, 0.0], [0.0, 0.6, 0.0], [0.0, 0.2, 0.4]], dtype=torch.float64)
    kernel = Kernel(torch.full((2,), size, dtype=torch.float64), metric.expand(2, 3, 3))
    target = Target(model, x)
    z = model.sample_posterior(x, 4000, t)
    state = target.state(z)
    source = draws(2)
    for _ in range(4):
        state, probability = transition(target, state, torch.full((2,), t, dtype=torch.float64), kernel, 3, source)
    assert accepted[0] <= probability.mean() <= accepted[1]
    white = (state.z - model.tempered_mean(x, t)[:, None]) @ torch.linalg.cholesky(model.precision(t))
    assert (white.mean(1).abs() <= 4.5 / 4000**0.5).all()
    second = white.mT @ white / 4000
    assert ((second - torch.eye(3, dtype=torch.float64)).abs() <= 4.5 * 2**0.5 / 4000**0.5).all()
    assert probability.mean() < 0.5 or (state.z != z).any(-1).double().mean() > 0.9  # it moves


def test_chains_from_far_away_find_the_posterior():
    model = LinearGaussian(2.0, latent=3, pixels=4)
    x = model.images(2)
    covariance = model.precision(1.0).inverse()
    kernel = Kernel(torch.full((2,), 0.7, dtype=torch.float64), torch.linalg.cholesky(covariance).expand(2, 3, 3))
    target, one, source = Target(model, x), torch.ones(2, dtype=torch.float64), draws(2)
    state = target.state(torch.full((2, 2000, 3), 5.0, dtype=torch.float64))
    for _ in range(40):
        state, _ = transition(target, state, one, kernel, 3, source)
    white = (state.z - model.tempered_mean(x, 1.0)[:, None]) @ torch.linalg.cholesky(model.precision(1.0))
    assert (white.mean(1).abs() <= 4.5 / 2000**0.5).all()
    assert ((white.square().mean(1) - 1).abs() <= 4.5 * 2**0.5 / 2000**0.5).all()


def test_gradients_are_those_of_the_energy():
    model = LinearGaussian(2.0, latent=3, pixels=4)
    x, t = model.images(2), torch.tensor([[0.2], [0.9]], dtype=torch.float64)
    target = Target(model, x)
    z = target.sample_prior(draws(2), 5)
    gradient, h = target.gradient(z, t), 1e-5
    assert torch.equal(gradient, target.state(z).gradient(t))
    for d in range(3):
        step = h * torch.eye(3, dtype=torch.float64)[d]
        slope = (target.state(z + step).energy(t) - target.state(z - step).energy(t)) / (2 * h)
        assert torch.allclose(slope, gradient[..., d], rtol=1e-6, atol=1e-6)


def test_a_proposal_without_energy_is_rejected():
    model = LinearGaussian(2.0, latent=3, pixels=4)
    target = Target(model, model.images(1))
    state = target.state(target.sample_prior(draws(1), 6))
    kernel = Kernel(torch.tensor([1e200], dtype=torch.float64), torch.eye(3, dtype=torch.float64)[None])
    after, probability = transition(target, state, torch.ones(1, dtype=torch.float64), kernel, 2, draws(1, 1))
    assert (probability == 0).all()
    assert torch.equal(after.z, state.z)

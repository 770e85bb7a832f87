"""What every part in the registry must do: a new one is tested by being named there."""

import math

import numpy as np
import pytest
import torch

from rdstudy.models import parts
from rdstudy.models.objective import Posterior, lagrangian
from rdstudy.models.protocols import CODE, EncodedPrior, FactorisedRate
from rdstudy.models.shape import ModelShape
from rdstudy.models.stacked import StackedVAE, initial_parameters
from rdstudy.models.vae import VAE
from rdstudy.storage.paths import storage_path
from rdstudy.storage.weights import load_model, save_model
from rdstudy.study.registry import PARTS

ARGUMENT = "3"
"""Given to parts that take one."""


def values(kind: str) -> list[str]:
    return [f"{name.partition('(')[0]}({ARGUMENT})" if "(" in name else name for name in PARTS[kind]]


SHAPES = [
    *(ModelShape(15, 1, 9, 2, prior=name) for name in values("prior")),
    *(ModelShape(15, 1, 9, 2, likelihood=name) for name in values("likelihood") if name != "bernoulli"),
    *(ModelShape(15, 1, 9, 2, architecture=name) for name in values("architecture") if name != "mlp"),
]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s.prior}-{s.likelihood}-{s.architecture}")
each_prior = pytest.mark.parametrize("name", values("prior"))
each_likelihood = pytest.mark.parametrize("name", values("likelihood"))


def tensor(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(size))


def row_of(shape: ModelShape, cell_id: str, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Initial parameters, shifted so that none is 0."""
    row = initial_parameters(shape, cell_id, dtype)
    rng = np.random.default_rng(len(cell_id))
    row[: shape.n_parameters] += 0.1 * torch.from_numpy(rng.standard_normal(shape.n_parameters)).to(dtype)
    return row


def prior_values(name: str, latent_dim: int) -> dict[str, torch.Tensor]:
    """Of its parameters, and the code of its pseudo-inputs where it has some."""
    prior = parts.prior(name)
    values = {
        parameter.name: 0.5 * tensor(1, *parameter.shape, seed=k)
        for k, parameter in enumerate(prior.parameters(latent_dim))
    }
    if isinstance(prior, EncodedPrior):
        values[CODE] = 0.5 * tensor(1, prior.n_inputs, 2 * latent_dim, seed=9)
    return values


@each_shape
def test_the_gradient_of_a_stack_is_autograds(shape):
    rows = torch.stack([row_of(shape, f"cell {k}") for k in range(2)])
    images, noise = tensor(2, 32, 15).sigmoid(), tensor(2, 32, shape.latent_dim, seed=1)
    betas = torch.tensor([0.3, 2.0], dtype=torch.float64)
    stack = StackedVAE(shape, rows.clone(), batch_size=10)
    stack.lagrangian_gradient(images, noise, betas.view(-1, 1, 1))
    for k in range(2):
        model, x = VAE(shape, rows[k].clone()), images[k, :10]
        posterior = model.encode(x)
        z = posterior.sample(noise[k, :10])
        loss = lagrangian(model.distortion(model.decode(z), x), model.rate(posterior, z), betas[k].item())
        found = torch.autograd.grad(loss, [model.get_parameter(parameter.name) for parameter, _ in shape.places()])
        for (parameter, place), expected in zip(shape.places(), found, strict=True):
            mine = stack.grad[k, place].view(parameter.shape)
            torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-12, msg=parameter.name)


@each_shape
def test_a_model_has_the_same_bits_in_every_pack(shape):
    """On one CPU thread, in packs of 1 to 6, in any order."""
    rows = torch.stack([row_of(shape, f"cell {k}", torch.float32) for k in range(6)])
    images, noise = tensor(6, 32, 15).sigmoid().float(), tensor(6, 32, shape.latent_dim, seed=1).float()
    betas = torch.linspace(0.1, 2, 6).view(-1, 1, 1)

    def gradients(members: list[int]) -> torch.Tensor:
        stack = StackedVAE(shape, rows[members].clone(), batch_size=10)
        stack.lagrangian_gradient(images[members], noise[members], betas[members])
        return stack.grad

    alone = torch.cat([gradients([k]) for k in range(6)])
    rng = np.random.default_rng(0)
    for size in range(2, 7):
        members = rng.permutation(6)[:size].tolist()
        assert torch.equal(gradients(members), alone[members])


@each_prior
def test_the_rate_is_the_mean_of_log_q_less_log_p(name):
    prior, p, n = parts.prior(name), prior_values(name, 2), 40_000
    one = Posterior(tensor(1, 1, 2), 0.4 * tensor(1, 1, 2, seed=5))
    q = Posterior(*(each.expand(1, n, 2) for each in one))
    z, other = q.sample(tensor(1, n, 2, seed=6)), q.sample(tensor(1, n, 2, seed=7))
    terms = q.log_density(z) - prior.log_density(z, p)
    rates = prior.rate(q, other, p)
    error = math.hypot(terms.std().item(), rates.std().item()) / math.sqrt(n)
    assert abs(terms.mean() - rates.mean()) < 4 * error
    if prior.closed_form:
        assert rates.std() < 1e-9


@each_prior
def test_the_rates_of_the_latent_dimensions_sum_to_the_rate(name):
    prior, p, q = parts.prior(name), prior_values(name, 4), Posterior(tensor(1, 50, 4), tensor(1, 50, 4, seed=5))
    if isinstance(prior, FactorisedRate):
        assert prior.closed_form
        rates = prior.latent_rates(q, p)
        torch.testing.assert_close(rates.sum(-1), prior.rate(q, q.mean, p))
        assert rates.shape == q.mean.shape
        assert (rates >= 0).all()


@each_prior
def test_the_density_of_a_prior_integrates_to_one(name):
    prior, p = parts.prior(name), prior_values(name, 1)
    grid = torch.linspace(-30, 30, 20_001, dtype=torch.float64)
    density = prior.log_density(grid.view(1, -1, 1), p).exp()
    assert torch.trapezoid(density[0], grid).item() == pytest.approx(1, abs=1e-9)


@each_prior
def test_draws_from_a_prior_have_its_density(name):
    prior, p, n = parts.prior(name), prior_values(name, 1), 40_000
    draws = prior.sample(np.random.default_rng(3), n, 1, p)[0, :, 0].double()
    grid = torch.linspace(-30, 30, 20_001, dtype=torch.float64)
    density = prior.log_density(grid.view(1, -1, 1), p).exp()[0]
    for end in (-1.0, 0.0, 0.7):
        share = torch.trapezoid(density[grid <= end], grid[grid <= end]).item()
        error = math.sqrt(share * (1 - share) / n)
        assert abs((draws <= end).double().mean().item() - share) < 4 * error + 2e-3  # the grid's step


@each_shape
def test_weights_are_read_back_as_they_were_written(shape, tmp_path):
    model = VAE(shape, row_of(shape, "a", torch.float32))
    save_model(storage_path(tmp_path), "a", model)
    loaded = load_model(tmp_path, "a")
    assert loaded.shape == shape
    assert torch.equal(loaded.row(), model.row())


@each_likelihood
def test_distortion_is_least_where_the_mean_image_is_the_image(name):
    likelihood = parts.likelihood(name)
    images = tensor(4, 6).sigmoid()
    output = tensor(4, 6 * likelihood.outputs_per_pixel, seed=1).requires_grad_()
    optimizer = torch.optim.LBFGS([output], max_iter=200, tolerance_grad=1e-10, tolerance_change=0)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        nats = likelihood.distortion(output, images).sum()
        nats.backward()
        return nats

    optimizer.step(loss)
    torch.testing.assert_close(likelihood.mean_image(output.detach()), images, atol=1e-4, rtol=0)

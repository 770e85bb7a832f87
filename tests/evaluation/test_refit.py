"""The posterior refitted for each example is the best Gaussian, and the inference gap what the encoder lacks of it."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rdstudy.evaluation.measures.refit import Refit
from rdstudy.evaluation.population import encode_population
from rdstudy.evaluation.refit import refit
from rdstudy.models.objective import Posterior
from rdstudy.models.shape import ModelShape
from rdstudy.models.stacked import initial_parameters
from rdstudy.models.vae import VAE
from tests.evaluation.linear_gaussian import PRIOR, LinearGaussian

BETAS = (5.0, 1.0, 0.1, 0.01, 0.001)


def philox(seed=0):
    return np.random.Generator(np.random.Philox(seed))


@pytest.mark.parametrize("snr", [1.0, 10.0, 100.0])
@pytest.mark.parametrize("beta", BETAS)
def test_the_best_posterior_of_a_linear_gaussian_model_is_found(beta, snr):
    model = LinearGaussian(snr, shift=3.0, width=0.5, beta=beta)
    images = model.images(40)
    found = refit(model, images, beta, 50, philox())
    (d, r), (d_best, r_best) = (model.terms(images, each) for each in (found.posterior, model.best(images)))
    excess = ((d + beta * r) - (d_best + beta * r_best)).mean()
    d_start, r_start = model.terms(images, model.encode(images))
    lost = ((d_start + beta * r_start) - (d_best + beta * r_best)).mean()
    assert -1e-9 <= excess <= 0.02 * lost


@pytest.mark.parametrize("beta", BETAS)
def test_distortion_rate_and_gap_are_their_closed_forms_within_three_standard_errors(beta):
    model = LinearGaussian(10.0, shift=3.0, width=0.5, beta=beta)
    images = model.images(200)
    found = refit(model, images, beta, 50, philox(1))
    for measured, posterior in ((found.refitted, found.posterior), (found.amortised, model.encode(images))):
        for value, truth in zip((measured.distortion, measured.rate), model.terms(images, posterior), strict=True):
            off = value - truth
            assert abs(off.mean()) <= 3 * off.std() / math.sqrt(len(off)) + 1e-9
    gap = found.amortised.lagrangian(beta) - found.refitted.lagrangian(beta)
    d, r = model.terms(images, model.encode(images))
    d_best, r_best = model.terms(images, model.best(images))
    truth = ((d + beta * r) - (d_best + beta * r_best)).mean().item()
    assert gap.mean().item() == pytest.approx(truth, rel=0.05)


@pytest.mark.parametrize("beta", BETAS)
def test_where_the_encoder_is_right_little_is_lost_by_the_search(beta):
    model = LinearGaussian(10.0, beta=beta)
    images = model.images(100)
    found = refit(model, images, beta, 50, philox())
    (d, r), (d_best, r_best) = (model.terms(images, each) for each in (found.posterior, model.best(images)))
    assert ((d + beta * r) - (d_best + beta * r_best)).mean() <= 0.15 * beta


@pytest.fixture(scope="module")
def images(dataset):
    return torch.from_numpy(dataset.images.copy())


def model(prior="standard_normal", latent=3):
    shape = ModelShape(15, 1, 9, latent, prior=prior)
    return VAE(shape, 3.0 * initial_parameters(shape, "a", torch.float32))


@pytest.mark.parametrize("beta", [1.0, 0.05])
def test_one_latent_is_within_a_tenth_of_a_nat_of_rate_of_a_grids_least_by_quadrature(beta, images):
    vae = model(latent=1)
    x = images[:20].float() / 255
    found = refit(vae, x, beta, 50, philox())
    points, masses = np.polynomial.hermite_e.hermegauss(20)
    nodes, weights = torch.from_numpy(points).float(), torch.from_numpy(masses / masses.sum())

    @torch.no_grad()
    def lagrangian(mean, log_std):
        z = (mean[..., None] + log_std.exp()[..., None] * nodes).flatten()[:, None]
        output = vae.decode(z).view(*mean.shape, len(nodes), -1)
        d = vae.distortion(output, x[:, None].expand(*mean.shape, len(nodes), -1)).double() @ weights
        return d + beta * PRIOR.rate(Posterior(mean[..., None], log_std[..., None])).double()

    grid = torch.meshgrid(torch.linspace(-5, 5, 101), torch.linspace(-4, 0.5, 31), indexing="ij")
    mean, log_std = (part.reshape(-1, 1).expand(-1, len(x)) for part in grid)
    least = lagrangian(mean, log_std).min(0).values
    ours = lagrangian(found.posterior.mean[:, 0], found.posterior.log_std[:, 0])
    assert (ours - least).mean() <= 0.1 * beta
    assert (ours - least).max() <= beta


@pytest.mark.parametrize("prior", ["standard_normal", "mixture(3)"])
def test_the_gap_is_not_below_0_and_weights_stay_as_they_are(prior, images):
    vae = model(prior)
    before = vae.row().clone()
    x = images[:50].float() / 255
    found = refit(vae, x, 0.1, 30, philox())
    gap = found.amortised.lagrangian(0.1) - found.refitted.lagrangian(0.1)
    assert gap.mean() > 3 * gap.std() / math.sqrt(50)  # of an untrained encoder
    assert torch.equal(vae.row(), before)
    assert all(parameter.grad is None for parameter in vae.parameters())


def test_columns_add_up_to_the_populations_own_lagrangian(images):
    """D + beta R - (D* + beta R*) is the inference gap, although only some of the examples were refitted."""
    indices = np.arange(90)
    with torch.no_grad():
        population = encode_population(model(), images, indices, philox(), beta=0.3)
        found = SimpleNamespace(**Refit(at="final", steps=20, examples=25).compute(population, philox(1)))
    whole = (population.distortion + 0.3 * population.rate).mean().item()
    refitted = found.refit_distortion_nats + 0.3 * found.refit_rate_nats
    assert whole - refitted == pytest.approx(found.inference_gap_nats, rel=1e-9)
    assert found.refit_examples == 25


def test_a_beta_of_nothing_is_refused(images):
    with pytest.raises(ValueError, match="must be above 0"):
        refit(model(), images[:5].float() / 255, 0.0, 5, philox())

"""Annealed importance sampling gives log p(x) and the rate-distortion curve of a decoder, without an encoder."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rdstudy.evaluation import ais as ais_module
from rdstudy.evaluation import hmc
from rdstudy.evaluation import population as population_module
from rdstudy.evaluation.ais import anneal, annealed_importance_sampling, prepared
from rdstudy.evaluation.hmc import Draws
from rdstudy.evaluation.measures.ais import AIS
from rdstudy.evaluation.measures.nll import NLL
from rdstudy.evaluation.population import encode_population
from rdstudy.models.shape import ModelShape
from rdstudy.models.stacked import initial_parameters
from rdstudy.models.vae import VAE
from tests.evaluation.linear_gaussian import LinearGaussian


def philox(seed=0):
    return np.random.Generator(np.random.Philox(seed))


@pytest.fixture(scope="module")
def images(dataset):
    return torch.from_numpy(dataset.images.copy())


def vae(prior="standard_normal", latent=3):
    shape = ModelShape(15, 1, 9, latent, prior=prior)
    return VAE(shape, 3.0 * initial_parameters(shape, "a", torch.float32))


def by_quadrature(model, x):
    """-log p(x) of every image under a model of one latent."""
    z = torch.linspace(-9, 9, 4001)[:, None]
    with torch.no_grad():
        d = torch.stack([model.distortion(model.decode(z), image.expand(len(z), -1)) for image in x]).double()
        return -torch.trapezoid((model.log_prior(z.double()) - d).exp(), z[:, 0].double(), dim=1).log()


@pytest.mark.parametrize(("snr", "steps", "excess"), [(1.0, 60, 0.1), (10.0, 150, 1.0), (100.0, 250, 3.0)])
def test_a_linear_gaussian_model_has_its_closed_form_likelihood(snr, steps, excess):
    """Above it by little, the bias, and below it by no more than errors."""
    model = LinearGaussian(snr)
    x = model.images(12)
    found = annealed_importance_sampling(model, x, generator=philox(), steps=steps)
    off = found.value - model.nll(x).mean().item()
    assert -3 * found.standard_error <= off <= excess
    assert found.count == 12
    assert 1 <= found.effective_sample_size <= found.chains
    assert found.acceptance == pytest.approx(0.8, abs=0.1)


def test_the_mean_of_the_weights_is_the_likelihood_itself_however_few_the_steps():
    model = LinearGaussian(1.0, latent=4, pixels=5)
    x = model.images(20)
    target, annealing = prepared(model, x, philox(1), 16, 8, 2, 1.0)
    run = anneal(target, annealing, 200, Draws.of(philox(2), len(x)))
    ratio = (run.log_weights + model.nll(x)[:, None]).exp()
    each = ratio.mean(1)
    error = (ratio.var(1) / 200).sum().sqrt().item() / len(x)
    assert error < 0.05
    assert abs(each.mean().item() - 1) <= 3 * error


def test_one_chain_is_further_above_the_truth_than_the_mean_of_many_and_steps_close_the_gap():
    model = LinearGaussian(10.0, latent=4, pixels=5)
    x = model.images(15)
    truth = model.nll(x).mean().item()
    gaps = []
    for steps in (15, 60, 240):
        target, annealing = prepared(model, x, philox(1), 16, steps, 2, 1.0)
        run = anneal(target, annealing, 16, Draws.of(philox(2), len(x)))
        gaps.append(-run.log_weights.mean().item() - truth)
        assert math.log(16) - run.log_weights.logsumexp(1).mean().item() - truth < gaps[-1]
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2] > 0


@pytest.mark.parametrize("prior", ["standard_normal", "mixture(3)"])
def test_one_latent_of_a_bernoulli_decoder_agrees_with_quadrature(prior, images):
    model, x = vae(prior, latent=1), images[:20].float() / 255
    found = annealed_importance_sampling(model, x, generator=philox(), steps=100)
    off = torch.tensor(found.each) - by_quadrature(model, x)
    assert found.standard_error < 0.05
    assert abs(off.mean().item()) <= 3 * found.standard_error
    assert (off.abs() <= 5 * torch.tensor(found.each_error) + 0.02).all()


def test_the_error_is_the_spread_of_repetitions():
    model = LinearGaussian(3.0, latent=4, pixels=5)
    x = model.images(3)
    target, annealing = prepared(model, x, philox(1), 16, 40, 2, 1.0)
    run = anneal(target, annealing, 16 * 60, Draws.of(philox(2), len(x)))
    weights = run.log_weights.view(3, 60, 16)
    nll = math.log(16) - weights.logsumexp(2)
    effective = (2 * weights.logsumexp(2) - (2 * weights).logsumexp(2)).exp()
    errors = ((16 / effective - 1) / 15).sqrt()
    assert errors.square().mean().sqrt().item() == pytest.approx(nll.std(1).square().mean().sqrt().item(), rel=0.25)


@pytest.mark.parametrize("largest", [1.0, 30.0])
def test_the_curve_of_a_linear_gaussian_decoder_is_its_closed_form(largest):
    model = LinearGaussian(3.0, latent=4, pixels=5)
    x = model.images(20)
    found = annealed_importance_sampling(model, x, generator=philox(1), steps=150, chains=32, largest=largest)
    curve = found.curve.thinned(12)
    assert curve.t[0] == 0
    assert curve.t[-1] == largest
    assert (curve.t == 1).sum() == 1
    assert (curve.t.diff() > 0).all()
    assert curve.rate[0] == 0
    truth = [model.curve(x, float(t)) for t in curve.t]
    d, r = (torch.stack([each[i].mean() for each in truth]) for i in range(2))
    assert ((curve.distortion - d).abs() <= 4 * curve.distortion_error + 1e-9).all()
    assert ((curve.rate - r).abs() <= 4 * curve.rate_error + 0.05).all()
    one = int((curve.t == 1).nonzero()[0])
    assert (curve.distortion + curve.rate)[one].item() == pytest.approx(found.value, abs=1e-9)


def test_the_curve_falls_in_distortion_and_rises_in_rate(images):
    found = annealed_importance_sampling(vae(), images[:30].float() / 255, generator=philox(), steps=80, chains=32)
    curve = found.curve.thinned(8)
    assert (curve.distortion.diff() < 3 * curve.distortion_error[1:]).all()
    assert (curve.rate.diff() > -3 * curve.rate_error[1:]).all()


def test_a_block_of_the_decoder_changes_nothing(monkeypatch):
    model = LinearGaussian(3.0, latent=4, pixels=5)
    x = model.images(6)
    whole = annealed_importance_sampling(model, x, generator=philox(), steps=20)
    monkeypatch.setattr(population_module, "OUTPUTS_IN_CACHE", 5 * 7)
    parts = annealed_importance_sampling(model, x, generator=philox(), steps=20)
    assert parts.each == pytest.approx(whole.each, rel=1e-9)
    assert parts.curve.rate == pytest.approx(whole.curve.rate, abs=1e-7)


def test_an_images_draws_do_not_depend_on_how_many_there_are():
    few, many = (Draws.of(philox(), n).normal(3, 2) for n in (2, 5))
    assert torch.equal(few, many[:2])
    assert not torch.equal(many[0], many[1])


def test_temperatures_step_sizes_and_metrics_stay_as_adapted_while_chains_are_weighed(monkeypatch):
    model = LinearGaussian(3.0, latent=4, pixels=5)
    x = model.images(4)
    target, annealing = prepared(model, x, philox(), 8, 15, 2, 1.0)
    used: list[list[tuple[torch.Tensor, ...]]] = []

    def spy(target, state, t, kernel, leapfrog_steps, draws):
        used[-1].append((t, *kernel))
        return hmc.transition(target, state, t, kernel, leapfrog_steps, draws)

    monkeypatch.setattr(ais_module, "transition", spy)
    found = []
    for seed in (1, 2):
        used.append([])
        found.append(anneal(target, annealing, 8, Draws.of(philox(seed), 4)).log_weights)
    assert not torch.equal(*found)
    assert len(used[0]) == 15
    for first, second in zip(*used, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_decoder_that_ignores_its_latent_has_its_distortion_as_nll():
    model = LinearGaussian(0.0)
    x = model.images(3)
    found = annealed_importance_sampling(model, x, generator=philox(), steps=5, largest=10.0)
    assert found.value == pytest.approx(model.nll(x).mean().item(), rel=1e-9)
    assert found.effective_sample_size == pytest.approx(16)


def test_weights_stay_as_they_are_and_no_graph_is_kept(images):
    model = vae()
    before = model.row().clone()
    annealed_importance_sampling(model, images[:3].float() / 255, generator=philox(), steps=5)
    assert torch.equal(model.row(), before)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("settings", [{"chains": 3}, {"steps": 0}, {"leapfrog_steps": 0}, {"largest": 0.5}])
def test_impossible_requests_are_refused(settings):
    model = LinearGaussian(1.0)
    with pytest.raises(ValueError, match="must be at least 1, chains 4"):
        annealed_importance_sampling(model, model.images(2), generator=philox(), **settings)


def test_the_measure_carries_a_subsample_over_to_all_and_is_below_importance_sampling(images):
    indices = np.arange(100)
    with torch.no_grad():
        population = encode_population(vae(), images, indices, philox(), beta=0.3)
        few, many = (
            SimpleNamespace(
                **AIS(at="final", examples=n, chains=8, steps=20, to_beta=True).compute(population, philox(1))
            )
            for n in (20, "all")
        )
        sampled = SimpleNamespace(**NLL(examples="all", importance_samples=256).compute(population, philox(2)))
    negative_elbo = (population.distortion + population.rate).mean().item()
    assert few.ais_examples == 20
    assert many.ais_examples == 100
    assert many.ais_nll_se < few.ais_nll_se
    assert abs(few.ais_nll_nats - many.ais_nll_nats) <= 4 * few.ais_nll_se
    assert many.ais_nll_nats < negative_elbo
    assert many.ais_nll_nats <= sampled.nll_nats + 0.2
    assert many.ais_curve_t[-1] == pytest.approx(1 / 0.3)
    for found in (few, many):
        one = found.ais_curve_t.index(1.0)
        total = found.ais_curve_distortion_nats[one] + found.ais_curve_rate_nats[one]
        assert total == pytest.approx(found.ais_nll_nats, abs=1e-6)

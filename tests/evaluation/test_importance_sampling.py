import math

import numpy as np
import pytest
import torch
from torch import nn

from rdstudy.evaluation import importance_sampling as likelihood_module
from rdstudy.evaluation.gaussian import log_posterior
from rdstudy.evaluation.importance_sampling import importance_weighted_nll, importance_weighted_nlls
from rdstudy.evaluation.pareto import pareto_shape, tail_length
from rdstudy.models.likelihoods.bernoulli import Bernoulli
from rdstudy.models.objective import Posterior
from rdstudy.models.priors.standard_normal import StandardNormal

distortion, log_prior = Bernoulli().distortion, StandardNormal().log_density


def philox(seed=0):
    return np.random.Generator(np.random.Philox(seed))


class LinearGaussian:
    """x = z W + noise, whose log p(x) and posterior are known; proposes `width` times the posterior's stds."""

    def __init__(self, latent=2, pixels=3, noise=0.7, width=1.0):
        rng = np.random.default_rng(5)
        self.weight = torch.from_numpy(rng.standard_normal((latent, pixels)))
        self.noise, self.width = noise, width
        precision = torch.eye(latent, dtype=torch.float64) + self.weight @ self.weight.T / noise**2
        self.covariance = precision.inverse()

    def images(self, examples):
        rng = np.random.default_rng(6)
        z = torch.from_numpy(rng.standard_normal((examples, len(self.weight))))
        return z @ self.weight + self.noise * torch.from_numpy(rng.standard_normal((examples, self.weight.shape[1])))

    def nll(self, images):
        covariance = self.weight.T @ self.weight + self.noise**2 * torch.eye(images.shape[1], dtype=torch.float64)
        zero = torch.zeros(images.shape[1], dtype=torch.float64)
        return -torch.distributions.MultivariateNormal(zero, covariance).log_prob(images).mean().item()

    def propose(self, images):
        mean = images @ self.weight.T @ self.covariance / self.noise**2
        std = self.width * self.covariance.diagonal().sqrt()
        return Posterior(mean, std.log().expand_as(mean))

    def log_likelihood(self, images, latent):
        return torch.distributions.Normal(latent @ self.weight, self.noise).log_prob(images[:, :, None]).sum(-1)

    def log_prior(self, latent):
        return log_prior(latent)

    def estimate(self, images, draws, seed=0, chunk_size=512):
        return likelihood_module._estimate(self, images[None], draws, [philox(seed)], chunk_size)[0]


class VAE(nn.Module):
    """A tiny Bernoulli VAE, or a stack of them: weights have as many leading axes as its images."""

    def __init__(self, *models, pixels=6, latent=2, dtype=torch.float64):
        super().__init__()
        rng = np.random.default_rng(7)

        def weight(*shape):
            return nn.Parameter(torch.from_numpy(rng.standard_normal((*models, *shape))).to(dtype))

        self.latent = latent
        self.into, self.out, self.bias = weight(pixels, 2 * latent), weight(latent, pixels), weight(1, pixels)
        self.decoded = []

    def encode(self, images):
        mean, log_std = (images @ self.into).chunk(2, dim=-1)
        return Posterior(mean, 0.3 * log_std)

    def decode(self, latent):
        self.decoded.append(latent.shape[-2])
        return latent @ self.out + self.bias

    def distortion(self, output, images):
        return distortion(output, images)

    def log_prior(self, z):
        return log_prior(z)

    def alone(self, k):
        model = VAE()
        for name, value in self.named_parameters():
            getattr(model, name).data = value.data[k]
        return model


def intensities(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).random(shape))


@pytest.mark.parametrize("draws", [1, 2, 30, 1000])
def test_the_exact_posterior_as_proposal_gives_log_p_exactly_whatever_the_number_of_draws(draws):
    model = LinearGaussian(latent=1)
    images = model.images(7)
    found = model.estimate(images, draws)
    assert found.value == pytest.approx(model.nll(images), abs=1e-12)
    assert found.effective_sample_size == pytest.approx(draws)
    assert math.isnan(found.standard_error) if draws == 1 else found.standard_error < 1e-6
    assert found.reliable == (draws > 20)  # fewer draws do not tell


def test_a_linear_gaussian_model_has_its_closed_form_likelihood_within_the_standard_error():
    model = LinearGaussian(width=1.5)
    images = model.images(40)
    found = model.estimate(images, 4000, chunk_size=30_000)
    assert found.reliable
    assert found.standard_error < 0.01
    bias = 0.5 / found.effective_sample_size
    assert abs(found.value - model.nll(images)) <= 3 * found.standard_error + bias


def test_the_95_percent_interval_covers_the_truth_of_200_repetitions_90_to_99_percent_of_the_time():
    model = LinearGaussian(width=1.3)
    images = model.images(10)
    truth = model.nll(images)
    found = [model.estimate(images, 300, seed, chunk_size=3000) for seed in range(200)]
    covered = sum(abs(one.value - truth) <= 1.96 * one.standard_error for one in found)
    assert 180 <= covered <= 198
    spread = float(np.std([one.value for one in found]))
    assert np.mean([one.standard_error for one in found]) == pytest.approx(spread, rel=0.2)  # 200 give it to 5%


def test_the_bound_is_above_the_truth_in_expectation_and_falls_with_the_draws():
    model = LinearGaussian(width=2.0)
    images = model.images(2000)  # as good as repetitions: each image has its own draws
    truth = model.nll(images)
    gaps = [model.estimate(images, draws, chunk_size=2**16).value - truth for draws in (1, 4, 16, 64)]
    error = 0.05 / math.sqrt(2000)  # of the last, whose relative spread of weights is below 0.05 nats
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2] > 8 * gaps[3]
    assert gaps[3] > -3 * error


def test_one_draw_is_a_sample_of_the_elbo():
    model, images = VAE(), intensities(5, 6)
    with torch.no_grad():
        posterior = model.encode(images)
        z = posterior.sample(torch.from_numpy(philox(3).standard_normal((5, 2))))
        terms = log_prior(z) - log_posterior(z, *posterior) - distortion(model.decode(z), images)
    found = importance_weighted_nll(model, images, 1, generator=philox(3))
    assert found.value == pytest.approx(-terms.mean().item(), rel=1e-12)
    assert found.error_over_examples == pytest.approx(terms.std().item() / math.sqrt(5), rel=1e-12)
    assert found.effective_sample_size == 1
    assert not found.reliable


def test_a_bernoulli_model_of_one_latent_agrees_with_quadrature():
    model, images = VAE(latent=1), intensities(20, 6)
    z = torch.linspace(-9, 9, 4001, dtype=torch.float64)[:, None]
    with torch.no_grad():
        logits = model.decode(z)[None].expand(20, -1, -1)
        joint = log_prior(z) - distortion(logits, images[:, None].expand_as(logits))
    truth = -torch.trapezoid(joint.exp(), z[:, 0], dim=1).log().mean().item()
    found = importance_weighted_nll(model, images, 20_000, generator=philox())
    assert found.standard_error < 0.01
    assert abs(found.value - truth) <= 3 * found.standard_error + 0.5 / found.effective_sample_size


@pytest.mark.parametrize("chunk_size", [1, 3, 10, 64, 10_000])
@pytest.mark.parametrize("draws", [1, 10, 37])
def test_exactly_the_draws_asked_for_are_decoded_in_chunks_that_change_nothing(draws, chunk_size):
    model, images = VAE(), intensities(9, 6)
    expected = importance_weighted_nll(model, images, draws, generator=philox(2))
    model.decoded.clear()
    found = importance_weighted_nll(model, images, draws, generator=philox(2), chunk_size=chunk_size)
    assert sum(model.decoded) == 9 * draws
    assert max(model.decoded) <= chunk_size
    assert found.draws == draws
    assert found.count == 9
    for name in (
        "value",
        "standard_error",
        "error_over_examples",
        "effective_sample_size",
        "unreliable_share",
    ):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-10, nan_ok=True)


@pytest.mark.parametrize("chunk_size", [5, 2048])
def test_a_model_in_a_stack_has_the_likelihood_it_has_alone(chunk_size):
    stack, images = VAE(3), intensities(3, 8, 6)
    found = importance_weighted_nlls(stack, images, 25, generators=[philox(k) for k in range(3)], chunk_size=chunk_size)
    assert len(found) == 3
    for k in range(3):
        alone = importance_weighted_nll(stack.alone(k), images[k], 25, generator=philox(k))
        assert found[k].value == pytest.approx(alone.value, rel=1e-12)
        assert found[k].standard_error == pytest.approx(alone.standard_error, rel=1e-9)
        assert found[k].unreliable_share == alone.unreliable_share


def test_all_models_of_a_stack_may_see_the_same_images():
    stack, images = VAE(2), intensities(4, 6)
    found = importance_weighted_nlls(stack, images.expand(2, -1, -1), 5, generators=[philox(0), philox(1)])
    alone = importance_weighted_nll(stack.alone(1), images, 5, generator=philox(1))
    assert found[1].value == pytest.approx(alone.value, rel=1e-12)


def test_float32_models_agree_with_float64_to_rounding():
    model, images = VAE(), intensities(6, 6)
    expected = importance_weighted_nll(model, images, 50, generator=philox())
    found = importance_weighted_nll(VAE(dtype=torch.float32), images.float(), 50, generator=philox())
    assert found.value == pytest.approx(expected.value, rel=1e-5)


def test_no_graph_is_kept():
    model = VAE()
    importance_weighted_nll(model, intensities(2, 6), 3, generator=philox())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_proposal_much_narrower_than_the_posterior_is_called_unreliable():
    narrow, wide = LinearGaussian(width=0.3), LinearGaussian(width=1.5)
    images = wide.images(60)
    found = narrow.estimate(images, 500)
    assert found.unreliable_share > 0.5
    assert not found.reliable
    assert found.value > narrow.nll(images) + 3 * found.standard_error  # and it is: its error is too small
    assert wide.estimate(images, 500).reliable


@pytest.mark.parametrize("shape", [0.1, 0.5, 0.9, 1.5])
def test_the_tail_shape_of_pareto_weights_is_found(shape):
    draws, repetitions = 20_000, 100
    uniform = torch.from_numpy(philox(1).random((repetitions, draws)))
    largest = (-shape * uniform.log()).topk(tail_length(draws) + 1).values  # w = u^-shape
    found = pareto_shape(largest)
    # shrunk towards 0.5 by 10 of 10 + 425; the spread of one is about (1 + shape) / sqrt(425)
    expected = (425 * shape + 10 * 0.5) / 435
    assert found.mean().item() == pytest.approx(expected, abs=4 * found.std().item() / 10 + 0.005)
    assert found.std().item() == pytest.approx((1 + shape) / math.sqrt(425), rel=0.35)


def test_bounded_weights_have_a_negative_tail_shape_and_equal_weights_none():
    uniform = torch.from_numpy(philox(1).random((1, 20_000)))
    assert pareto_shape(uniform.log().topk(425).values).item() < 0
    assert pareto_shape(torch.zeros(1, 425, dtype=torch.float64)).item() == -math.inf
    assert pareto_shape(torch.zeros(1, 4, dtype=torch.float64)).item() == math.inf  # too few to tell


@pytest.mark.parametrize(
    ("images", "draws", "generators", "message"),
    [
        (intensities(2, 0, 6), 3, 2, "0 images of 2 models"),
        (intensities(2, 4, 6), 0, 2, "0 draws"),
        (intensities(2, 4, 6), 3, 1, "1 generators for 2 models"),
    ],
)
def test_impossible_requests_are_refused(images, draws, generators, message):
    with pytest.raises(ValueError, match=message):
        importance_weighted_nlls(VAE(2), images, draws, generators=[philox()] * generators)

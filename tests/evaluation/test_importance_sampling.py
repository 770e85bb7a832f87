"""-log p(x) by importance sampling is its closed form, and says of itself where it is not."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from rdstudy.evaluation.gaussian import log_posterior
from rdstudy.evaluation.importance_sampling import importance_weighted_nll
from rdstudy.evaluation.pareto import largest_reliable_shape, pareto_shape, tail_length
from rdstudy.models.likelihoods.bernoulli import Bernoulli
from rdstudy.models.objective import Posterior
from rdstudy.models.priors.standard_normal import StandardNormal

BETAS = (5.0, 1.0, 0.1, 0.01, 0.001)
distortion, log_prior = Bernoulli().distortion, StandardNormal().log_density


def philox(seed=0):
    return np.random.Generator(np.random.Philox(seed))


def encoder_nll(model, images, draws, seed=0):
    return importance_weighted_nll(model, images, draws, generator=philox(seed), proposal="encoder")


def adaptive_nll(model, images, draws, seed=0):
    return importance_weighted_nll(model, images, draws, generator=philox(seed))


def sample_prior(latent, rng, n):
    return torch.from_numpy(rng.standard_normal((n, latent)))


class LinearGaussian:
    """x = z W + noise, of which log p(x) is known; its encoder is the best for `beta`, and as wide as asked for."""

    def __init__(self, latent=2, pixels=3, snr=1.4, beta=1.0, width=1.0, miss=0.0):
        rng = np.random.default_rng(5)
        self.weight = torch.from_numpy(snr * rng.standard_normal((latent, pixels)) / math.sqrt(pixels))
        self.beta, self.width, self.miss = beta, width, miss

    def images(self, examples):
        rng = np.random.default_rng(6)
        z, noise = (torch.from_numpy(rng.standard_normal((examples, n))) for n in self.weight.shape)
        return z @ self.weight + noise

    def nll(self, images):
        covariance = self.weight.T @ self.weight + torch.eye(images.shape[1], dtype=torch.float64)
        zero = torch.zeros(images.shape[1], dtype=torch.float64)
        return -torch.distributions.MultivariateNormal(zero, covariance).log_prob(images).mean().item()

    def encode(self, images):
        """The Gaussian of least D + beta R, moved by `miss` of its own stds."""
        precision = self.weight @ self.weight.T / self.beta + torch.eye(len(self.weight), dtype=torch.float64)
        mean = torch.linalg.solve(precision, (images @ self.weight.T / self.beta).T).T
        std = precision.diagonal().rsqrt()
        return Posterior(mean + self.miss * std, (self.width * std).log().expand_as(mean))

    def decode(self, latent):
        return latent @ self.weight

    def distortion(self, output, images):
        return 0.5 * ((images - output).square() + math.log(2 * math.pi)).sum(-1)

    def log_prior(self, latent):
        return log_prior(latent)

    def sample_prior(self, rng, n):
        return sample_prior(len(self.weight), rng, n)


class VAE(nn.Module):
    """A tiny Bernoulli VAE, whose encoder is that of training at `beta`: too narrow below 1, and off by 2 stds."""

    def __init__(self, *, pixels=6, latent=2, dtype=torch.float64, beta=1.0):
        super().__init__()
        rng = np.random.default_rng(7)

        def weight(*shape):
            return nn.Parameter(torch.from_numpy(rng.standard_normal(shape)).to(dtype))

        self.latent, self.beta = latent, beta
        self.into, self.out, self.bias = weight(pixels, 2 * latent), weight(latent, pixels), weight(1, pixels)

    def encode(self, images):
        mean, log_std = (images @ self.into).chunk(2, dim=-1)
        return Posterior(mean, 0.3 * log_std + 0.5 * math.log(self.beta))

    def decode(self, latent):
        return latent @ self.out + self.bias

    def distortion(self, output, images):
        return distortion(output, images)

    def log_prior(self, z):
        return log_prior(z)

    def sample_prior(self, rng, n):
        return sample_prior(self.latent, rng, n)


def intensities(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).random(shape))


def by_quadrature(model, images):
    z = torch.linspace(-9, 9, 4001, dtype=torch.float64)[:, None]
    with torch.no_grad():
        logits = model.decode(z)[None].expand(len(images), -1, -1)
        joint = log_prior(z) - distortion(logits, images[:, None].expand_as(logits))
    return -torch.trapezoid(joint.exp(), z[:, 0], dim=1).log().mean().item()


@pytest.mark.parametrize("draws", [1, 2, 30, 1000])
def test_the_exact_posterior_as_proposal_gives_log_p_exactly_whatever_the_number_of_draws(draws):
    model = LinearGaussian(latent=1)
    images = model.images(7)
    found = encoder_nll(model, images, draws)
    assert found.value == pytest.approx(model.nll(images), abs=1e-12)
    assert found.effective_sample_size == pytest.approx(draws)
    assert math.isnan(found.standard_error) if draws == 1 else found.standard_error < 1e-6
    assert found.reliable == (draws > 20)  # fewer draws do not tell


@pytest.mark.parametrize("snr", [1.0, 10.0, 100.0])
@pytest.mark.parametrize("beta", BETAS)
def test_the_nll_of_a_linear_gaussian_model_is_its_closed_form_whatever_the_encoders_beta(beta, snr):
    model = LinearGaussian(latent=10, pixels=12, snr=snr, beta=beta)
    images = model.images(500)
    found = adaptive_nll(model, images, 64)
    bias = 0.5 * (1 / found.effective_sample_size - 1 / 64)
    assert found.standard_error < 0.01
    assert abs(found.value - bias - model.nll(images)) <= 3 * found.standard_error


@pytest.mark.parametrize("snr", [10.0, 100.0])
def test_draws_from_an_encoder_of_small_beta_miss_the_closed_form_and_say_so(snr):
    model = LinearGaussian(latent=10, pixels=12, snr=snr, beta=0.01)
    images = model.images(100)
    found = encoder_nll(model, images, 512)
    assert found.value - model.nll(images) > max(0.5, 30 * found.standard_error)
    assert found.unreliable_share > 0.5


@pytest.mark.parametrize("miss", [0.0, 30.0])
def test_an_encoder_that_misses_by_many_widths_changes_nothing(miss):
    model = LinearGaussian(latent=10, pixels=12, snr=10.0, beta=0.001, miss=miss)
    images = model.images(50)
    found = adaptive_nll(model, images, 512)
    assert found.reliable
    assert abs(found.value - model.nll(images)) <= 3 * found.standard_error + 0.01


def covered(estimate, model, repetitions, draws=128):
    """How many 95% intervals, each of 5 images, hold the truth by quadrature; and the errors' calibration."""
    images = intensities(5, 6)
    found = estimate(model, images.repeat(repetitions, 1), draws)
    value = np.reshape(found.each, (repetitions, 5)).mean(1)
    error = np.sqrt(np.square(np.reshape(found.each_error, (repetitions, 5))).sum(1)) / 5
    return int(sum(abs(value - by_quadrature(model, images)) <= 1.96 * error)), error.mean() / value.std()


@pytest.mark.parametrize("beta", BETAS)
def test_the_95_percent_interval_covers_the_truth_of_200_repetitions_90_to_99_percent_of_the_time(beta):
    inside, calibration = covered(adaptive_nll, VAE(latent=1, beta=beta), 200)
    assert 180 <= inside <= 198
    assert calibration == pytest.approx(1, rel=0.2)  # 200 repetitions give it to 5%


@pytest.mark.parametrize("beta", [0.01, 0.001])
def test_the_interval_of_draws_from_an_encoder_of_small_beta_does_not(beta):
    inside, _ = covered(encoder_nll, VAE(latent=1, beta=beta), 200)
    assert inside < 100


@pytest.mark.parametrize("estimate", [encoder_nll, adaptive_nll])
def test_the_bound_is_above_the_truth_in_expectation_and_falls_with_the_draws(estimate):
    model = LinearGaussian(width=2.0)
    images = model.images(1000)  # as good as repetitions: each image has its own draws
    truth = model.nll(images)
    gaps = [estimate(model, images, draws).value - truth for draws in (1, 4, 16)]
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2]
    assert gaps[2] > -0.005


def test_one_draw_of_the_encoder_is_a_sample_of_the_elbo():
    model, images = VAE(), intensities(5, 6)
    with torch.no_grad():
        posterior = model.encode(images)
        z = posterior.sample(torch.from_numpy(philox(3).standard_normal((5, 2))))
        terms = log_prior(z) - log_posterior(z, *posterior) - distortion(model.decode(z), images)
    found = encoder_nll(model, images, 1, 3)
    assert found.value == pytest.approx(-terms.mean().item(), rel=1e-12)
    assert found.error_over_examples == pytest.approx(terms.std().item() / math.sqrt(5), rel=1e-12)
    assert found.effective_sample_size == 1
    assert not found.reliable


@pytest.mark.parametrize("estimate", [encoder_nll, adaptive_nll])
def test_many_draws_for_one_image_take_several_rounds_and_agree_with_quadrature(estimate):
    model, images = VAE(latent=1), intensities(2, 6)
    found = estimate(model, images, 40_000)
    assert found.standard_error < 0.01
    assert abs(found.value - by_quadrature(model, images)) <= 3 * found.standard_error + 1e-3


def test_batches_give_the_estimate_of_all_their_images():
    model, images = VAE(), intensities(9, 6)
    found = encoder_nll(model, images.split(4), 50)
    whole = encoder_nll(model, images, 50)
    assert found.count == 9
    assert found.value == pytest.approx(whole.value, rel=1e-12)
    assert found.standard_error == pytest.approx(whole.standard_error, rel=1e-9)


@pytest.mark.parametrize("estimate", [encoder_nll, adaptive_nll])
def test_float32_models_agree_with_float64_to_rounding(estimate):
    model, images = VAE(), intensities(6, 6)
    expected = estimate(model, images, 50)
    found = estimate(VAE(dtype=torch.float32), images.float(), 50)
    assert found.value == pytest.approx(expected.value, rel=1e-5)


def test_no_graph_is_kept():
    model = VAE()
    adaptive_nll(model, intensities(2, 6), 3)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_model_whose_outputs_overflow_gives_a_value_that_is_not_finite_and_no_error():
    model = VAE(dtype=torch.float32)
    model.out.data *= math.inf
    assert not math.isfinite(adaptive_nll(model, intensities(3, 6).float(), 30).value)


def test_a_proposal_much_narrower_than_the_posterior_is_called_unreliable():
    narrow, wide = LinearGaussian(width=0.3), LinearGaussian(width=1.5)
    images = wide.images(60)
    found = encoder_nll(narrow, images, 500)
    assert found.unreliable_share > 0.5
    assert not found.reliable
    assert found.value > narrow.nll(images) + 3 * found.standard_error  # and it is: its error is too small
    assert encoder_nll(wide, images, 500).reliable


def test_the_effective_sample_size_is_decided_by_the_images_that_have_few():
    model = LinearGaussian(latent=10, pixels=12, snr=10.0, beta=0.3)
    found = encoder_nll(model, model.images(40), 200)
    sizes = np.array(found.each_effective)
    assert found.effective_sample_size == pytest.approx(1 / np.mean(1 / sizes))
    assert sizes.min() < found.effective_sample_size < 0.8 * sizes.mean()


def test_the_tail_shape_that_is_reliable_depends_on_the_draws():
    assert largest_reliable_shape(64) == pytest.approx(0.446, abs=1e-3)
    assert largest_reliable_shape(512) == pytest.approx(0.631, abs=1e-3)
    assert largest_reliable_shape(10_000) == 0.7


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


@pytest.mark.parametrize(("examples", "draws", "message"), [(0, 3, "no images"), (4, 0, "0 draws")])
def test_impossible_requests_are_refused(examples, draws, message):
    with pytest.raises(ValueError, match=message):
        adaptive_nll(VAE(), intensities(examples, 6), draws)

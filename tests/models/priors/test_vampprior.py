import math

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from rdstudy.evaluation.mutual_information import decompose_rate
from rdstudy.models.autograd import AutogradNetwork
from rdstudy.models.objective import Posterior
from rdstudy.models.priors.vampprior import START, VampPrior
from rdstudy.models.shape import ModelShape
from rdstudy.models.stacked import StackedVAE, _views, initial_parameters
from rdstudy.models.vae import VAE
from rdstudy.storage.paths import storage_path
from rdstudy.storage.table import load_measurements


def shape_of(pseudo_inputs: int, *, pixels: int = 15, depth: int = 1) -> ModelShape:
    return ModelShape(pixels, depth, 9, 3, prior=f"vampprior({pseudo_inputs})")


def row_of(shape: ModelShape, cell_id: str = "a", dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return 1.5 * initial_parameters(shape, cell_id, dtype)


def images_of(n: int, pixels: int = 15) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((n, pixels)))


def noise_of(*size: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).standard_normal(size))


def with_pseudo_inputs(images: torch.Tensor) -> VAE:
    """A model with large weights whose pseudo-inputs are these images."""
    shape = shape_of(len(images), pixels=images.shape[1])
    model = VAE(shape, 2 * row_of(shape))
    with torch.no_grad():
        model.get_parameter("prior.inputs").copy_(images.logit() - START)
    return model


def lagrangian_by_formula(model: VAE, images: torch.Tensor, noise: torch.Tensor, beta: float) -> torch.Tensor:
    """D + beta R with p(z) = 1/K sum_k q(z|u_k), from torch's distributions."""
    inputs = (model.get_parameter("prior.inputs") + START).sigmoid()
    q, of_inputs = (Normal(mean, log_std.exp()) for mean, log_std in (model.encode(images), model.encode(inputs)))
    prior = MixtureSameFamily(Categorical(torch.ones(len(inputs))), Independent(of_inputs, 1))
    z = q.mean + q.stddev * noise
    nats = model.distortion(model.decode(z), images) + beta * (q.log_prob(z).sum(-1) - prior.log_prob(z))
    loss: torch.Tensor = nats.mean()
    return loss


@pytest.mark.parametrize("by_hand", [True, False])
@pytest.mark.parametrize(("depth", "pseudo_inputs"), [(0, 1), (1, 3), (2, 40)])
def test_the_gradient_goes_through_the_encoder_into_the_pseudo_inputs(by_hand, depth, pseudo_inputs):
    shape = shape_of(pseudo_inputs, depth=depth)
    row, images, noise = row_of(shape), images_of(32), noise_of(32, 3)
    stack = StackedVAE(shape, row[None].clone(), batch_size=10)
    assert stack._inputs is not None
    if not by_hand:
        p, grad = (_views(shape, each, shape.network_parameters) for each in (stack.rows, stack.grad))
        stack._network = AutogradNetwork(shape.network, p, grad, torch.float64, inputs=stack._inputs.rows)
    stack.lagrangian_gradient(images[None], noise[None], torch.full((1, 1, 1), 0.7, dtype=torch.float64))
    model = VAE(shape, row.clone())
    lagrangian_by_formula(model, images[:10], noise[:10], 0.7).backward()
    for parameter, place in shape.places():
        mine, expected = stack.grad[0, place].view(parameter.shape), model.get_parameter(parameter.name).grad
        torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-12)
        assert mine.any(), parameter.name


def test_the_gradient_of_rounded_products_is_the_exact_one_but_for_rounding():
    shape = ModelShape(64, 1, 32, 8, prior="vampprior(40)")
    images, noise, beta = images_of(32, 64)[None], noise_of(1, 32, 8), torch.ones(1, 1, 1, dtype=torch.float64)
    exact = StackedVAE(shape, row_of(shape)[None], batch_size=32)
    exact.lagrangian_gradient(images, noise, beta)
    rounded = StackedVAE(shape, row_of(shape)[None].float(), batch_size=32, product_dtype=torch.bfloat16)
    rounded.lagrangian_gradient(images.float(), noise.float(), beta.float())
    for parameter, place in shape.places():
        error = (rounded.grad[0, place].double() - exact.grad[0, place]).norm() / exact.grad[0, place].norm()
        assert 1e-4 < error < 0.03, parameter.name


def test_one_pseudo_input_makes_the_prior_its_gaussian_posterior():
    model, n = with_pseudo_inputs(images_of(1)), 40_000
    of_input, q = model.encode(images_of(1)), model.encode(images_of(2)[1])
    z = noise_of(7, 3)
    expected = Normal(of_input.mean, of_input.log_std.exp())
    torch.testing.assert_close(model.log_prior(z), expected.log_prob(z).sum(-1))
    draws = model.sample_prior(np.random.default_rng(0), n)
    assert ((draws.mean(0) - expected.mean).abs() < 4 * expected.stddev / math.sqrt(n)).all()
    assert ((draws.std(0) / expected.stddev - 1).abs() < 4 / math.sqrt(2 * n)).all()
    kl = kl_divergence(Normal(q.mean, q.log_std.exp()), expected).sum()
    many = Posterior(*(each.expand(n, 3) for each in q))
    rates = model.rate(many, many.sample(noise_of(n, 3)))
    assert abs(rates.mean() - kl) < 4 * rates.std() / math.sqrt(n)


@torch.no_grad()
def test_with_all_training_images_as_pseudo_inputs_the_rate_is_the_mutual_information():
    """p(z) is then q(z), so the marginal KL is 0, and the rate at most log N."""
    images, draws = images_of(50), 200
    model = with_pseudo_inputs(images)
    posterior = model.encode(images)
    many = Posterior(*(each.expand(draws, 50, 3) for each in posterior))
    rates = model.rate(many, many.sample(noise_of(draws, 50, 3)))
    split = decompose_rate(
        *posterior, generator=np.random.default_rng(2), draws_per_example=draws, log_prior=model.log_prior
    )
    error = math.hypot(rates.std().item() / math.sqrt(rates.numel()), split.mutual_information.standard_error)
    assert 0.3 < split.mutual_information.value < 3.5  # log 50 = 3.9
    assert abs(rates.mean() - split.mutual_information.value) < 4 * error
    assert rates.max() <= math.log(50) + 1e-6
    assert abs(split.marginal_kl.value) < 1e-9


def test_pseudo_inputs_begin_as_dark_images_that_differ():
    shape = shape_of(200, pixels=100)
    model = VAE(shape, initial_parameters(shape, "a", torch.float32))
    (images,) = VampPrior(200).inputs({"inputs": model.get_parameter("prior.inputs")[None]})
    assert images.mean().item() == pytest.approx(0.05, abs=0.002)
    assert images.std().item() == pytest.approx(0.01, abs=0.002)


@torch.no_grad()
def test_a_frozen_model_has_the_same_prior_until_its_parameters_change():
    shape = shape_of(3)
    row = row_of(shape)
    model, z = VAE(shape, row), noise_of(5, 3)
    frozen, before = model.frozen(), model.log_prior(z)
    assert torch.equal(frozen.log_prior(z), before)
    row *= 1.1  # as training changes it, in place
    assert torch.equal(frozen.log_prior(z), before)
    assert not torch.allclose(model.log_prior(z), before)
    assert torch.equal(model.frozen().log_prior(z), model.log_prior(z))
    assert model._kept_code is None


@pytest.mark.parametrize("pseudo_inputs", [0, 1.5])
def test_pseudo_inputs_are_a_whole_number_above_zero(pseudo_inputs):
    with pytest.raises(ValueError, match="whole number above 0"):
        VampPrior(pseudo_inputs)


def test_a_study_trains_measures_and_verifies_models_with_pseudo_inputs(command, study_file, tmp_path):
    text = study_file.read_text()
    study_file.write_text(text.replace("  beta: [1, 0.1]\n", "  prior: [vampprior(3)]\n  beta: [1, 0.1]\n"))
    ended = command("run", study_file, "--no-ray", "--results", "out")
    assert ended.code == 0, ended.err
    table = load_measurements(storage_path(tmp_path / "out"))
    final = table[table["is_final"]]
    assert (final["status"] == "ok").all()
    assert final[["rate_nats", "mi_nats", "marginal_kl_nats", "nll_nats"]].notna().all(axis=None)
    assert command("verify", "out", "--cells", "4").code == 0

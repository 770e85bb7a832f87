import math

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from rdstudy.evaluation.mutual_information import decompose_rate
from rdstudy.models.architectures.mlp import MLP
from rdstudy.models.objective import Posterior
from rdstudy.models.priors.vampprior import START, VampPrior
from rdstudy.models.shape import ModelShape
from rdstudy.models.stacked import StackedVAE, initial_parameters
from rdstudy.models.vae import VAE
from rdstudy.study.registry import load_class


def shape_of(pseudo_inputs: int, *, pixels: int = 15, depth: int = 1) -> ModelShape:
    return ModelShape(pixels, depth, 9, 3, prior=f"vampprior({pseudo_inputs})")


def row_of(shape: ModelShape, cell_id: str = "a", dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return 1.5 * initial_parameters(shape, cell_id, dtype)


def images_of(n: int, pixels: int = 15) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((n, pixels)))


def noise_of(*size: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).standard_normal(size))


def with_pseudo_inputs(images: torch.Tensor) -> VAE:
    """A model whose pseudo-inputs are these images."""
    shape = shape_of(len(images), pixels=images.shape[1])
    model = VAE(shape, row_of(shape))
    with torch.no_grad():
        model.get_parameter("prior.inputs").copy_(images.logit() - START)
    return model


def lagrangian_by_formula(model: VAE, images: torch.Tensor, noise: torch.Tensor, beta: float) -> torch.Tensor:
    """D + beta R with p(z) = 1/K sum_k q(z|u_k), from torch's distributions."""
    inputs = (model.get_parameter("prior.inputs") + START).sigmoid()
    q, of_inputs = (Normal(mean, log_std.exp()) for mean, log_std in (model.encode(images), model.encode(inputs)))
    prior = MixtureSameFamily(Categorical(torch.ones(len(inputs))), Independent(of_inputs, 1))
    z = q.mean + q.stddev * noise
    return (model.distortion(model.decode(z), images) + beta * (q.log_prob(z).sum(-1) - prior.log_prob(z))).mean()


class Undifferentiated(MLP):
    """A network that brings no gradient of its own."""

    by_hand = None  # type: ignore[assignment]


@pytest.mark.parametrize("network", [MLP, Undifferentiated])
@pytest.mark.parametrize(("depth", "pseudo_inputs"), [(0, 1), (1, 3), (2, 40)])
def test_the_gradient_goes_through_the_encoder_into_the_pseudo_inputs(monkeypatch, network, depth, pseudo_inputs):
    monkeypatch.setattr("rdstudy.models.parts.load_class", lambda kind, name: _class(kind, name, network))
    shape = shape_of(pseudo_inputs, depth=depth)
    row, images, noise = row_of(shape), images_of(32), noise_of(32, 3)
    stack = StackedVAE(shape, row[None].clone(), batch_size=10)
    stack.lagrangian_gradient(images[None], noise[None], torch.full((1, 1, 1), 0.7, dtype=torch.float64))
    model = VAE(shape, row.clone())
    lagrangian_by_formula(model, images[:10], noise[:10], 0.7).backward()
    for parameter, place in shape.places():
        expected = model.get_parameter(parameter.name).grad
        assert expected is not None
        torch.testing.assert_close(stack.grad[0, place].view(parameter.shape), expected, rtol=1e-9, atol=1e-12)
    assert model.get_parameter("prior.inputs").grad.abs().min() > 0


def _class(kind: str, name: str, network: type) -> tuple[type, tuple[int | float, ...]]:
    return (network, ()) if kind == "architecture" else load_class(kind, name)

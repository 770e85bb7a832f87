"""K VAEs of one shape as one stack, trained at once.

All parameters lie in one tensor `rows` [models, row], a model to a row, so that the optimizer is one fused pass, a
model is a slice, and a checkpoint is a few tensors. Parts of the model are given views of it.

The gradient of the objective D + beta * R is put together from those of its parts:

    d output = dD/d output,    d mean = dz + beta * dR/d mean,    d log_std = dz * std * noise + beta * dR/d log_std

Each part's is written by hand where it offers one, tested against autograd, and autograd's where it does not. The
pseudo-inputs of a prior, where it has some, are more rows of the encoder's batch, which are not decoded: of their code
only the rate has a gradient. Nothing here mixes two models; on one CPU thread even the rounding of a model is the same
in every stack.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from rdstudy.models import autograd, parts
from rdstudy.models.objective import Posterior
from rdstudy.models.protocols import (
    CODE,
    EncodedPrior,
    HandWrittenDistortion,
    HandWrittenNetwork,
    HandWrittenRate,
    Network,
    Parameter,
    Values,
)
from rdstudy.models.pseudo_inputs import PseudoInputs
from rdstudy.models.shape import ModelShape
from rdstudy.models.vae import VAE
from rdstudy.study.seeding import generator

ROW_MULTIPLE = 32
"""Batches are padded to a multiple of this many rows, of weight 0 (32 = two AVX-512 vectors of float32)."""


def initial_parameters(shape: ModelShape, stream_id: str, dtype: torch.dtype) -> Float[Tensor, " row"]:
    """A cell's initial parameters, each uniform in [-bound, bound]."""
    rng = generator(stream_id, "initialisation")
    row = torch.zeros(shape.row, dtype=dtype)
    for parameter, place in shape.places():
        uniform = torch.from_numpy(rng.random(place.stop - place.start, dtype="float32")).to(dtype)
        row[place] = (2 * uniform - 1) * parameter.bound
    return row


class StackedVAE:
    """Parameters, gradients and work space of K models of one shape."""

    def __init__(
        self,
        shape: ModelShape,
        rows: Float[Tensor, "models row"],
        *,
        batch_size: int,
        product_dtype: torch.dtype | None = None,
    ) -> None:
        """
        Args:
            shape: sizes and parts of every model.
            rows: all parameters, a model to a row; owned by the stack from now on.
            batch_size: examples per model and step.
            product_dtype: type of the matrix products if other than the parameters' (bfloat16).
        """
        self.shape = shape
        self.rows = rows
        self.grad = torch.zeros_like(rows)
        self.batch_size = batch_size
        self.n_rows = _padded(batch_size)
        self.product_dtype = product_dtype or rows.dtype
        self._on_cuda = rows.device.type == "cuda"
        self._prior, self._likelihood = parts.prior(shape.prior), parts.likelihood(shape.likelihood)
        self._inputs = self._make_inputs()
        self._network = self._make_network()
        self._prior_values = _views(shape, rows, shape.prior_parameters, prefix="prior.")
        self._prior_grad = _views(shape, self.grad, shape.prior_parameters, prefix="prior.")
        weight = torch.zeros(self.n_rows, 1, dtype=rows.dtype, device=rows.device)
        weight[:batch_size] = 1 / batch_size
        self._row_weight = weight

    def __len__(self) -> int:
        return self.rows.shape[0]

    def model(self, k: int) -> VAE:
        """Model k as a plain module whose parameters are views of the stack's row."""
        return VAE(self.shape, self.rows[k])

    def lagrangian_gradient(
        self,
        images: Float[Tensor, "models rows pixels"],
        noise: Float[Tensor, "models rows latent"],
        beta: Float[Tensor, "models 1 1"],
    ) -> None:
        """Write d(D + beta * R)/d(parameters) of every model, averaged over the batch, into `grad`.

        Args:
            images: intensities in [0, 1]; rows beyond `batch_size` are padding and count nothing.
            noise: standard normal draws for z = mean + std * noise.
            beta: every model's weight of the rate.
        """
        network, dtype = self._network, self.rows.dtype
        network.begin()
        inputs = self._inputs
        batch = images.to(self.product_dtype) if inputs is None else inputs.behind(images)
        code = network.encode(batch).to(dtype)
        posterior = Posterior(*code[:, : self.n_rows].chunk(2, dim=-1))
        std = posterior.log_std.exp()
        latent = torch.addcmul(posterior.mean, std, noise)
        delta = self._output_gradient(latent.to(self.product_dtype), images)
        latent_grad = network.decoder_gradient(delta.to(self.product_dtype)).to(dtype)
        weight = beta * self._row_weight
        log_std_grad = (latent_grad * std).mul_(noise)
        if isinstance(self._prior, HandWrittenRate):
            gradients = self._prior.add_rate_gradient(posterior, std, weight, latent_grad, log_std_grad)
        else:
            values, grad = self._prior_values, self._prior_grad
            if inputs is not None:
                values, grad = {**values, CODE: inputs.code(code)}, {**grad, CODE: inputs.code_grad}
            gradients = autograd.add_rate_gradient(
                self._prior, posterior, noise, weight, values, grad, latent_grad, log_std_grad
            )
        delta = torch.cat(gradients, dim=-1)
        if inputs is None:
            network.encoder_gradient(delta.to(self.product_dtype))
        else:
            delta = torch.cat([delta, inputs.delta], dim=1)
            inputs.backward(network.encoder_gradient(delta.to(self.product_dtype)))
        network.finish()

    def _output_gradient(
        self, latent: Float[Tensor, "models rows latent"], images: Float[Tensor, "models rows pixels"]
    ) -> Float[Tensor, "models rows outputs"]:
        """Gradient of the mean distortion by the decoder's output."""
        network, likelihood, dtype = self._network, self._likelihood, self.rows.dtype
        if not isinstance(likelihood, HandWrittenDistortion):
            return autograd.distortion_gradient(likelihood, network.decode(latent).to(dtype), images, self._row_weight)
        if self._on_cuda and network.last_bias is not None:
            output = network.decode(latent, bias=False).to(dtype)
            return likelihood.fused_distortion_gradient(output, network.last_bias.to(dtype), images, self.batch_size)
        return likelihood.distortion_gradient(network.decode(latent).to(dtype), images, self._row_weight)

    def _make_inputs(self) -> PseudoInputs | None:
        if not isinstance(self._prior, EncodedPrior):
            return None
        shape, rows = self.shape, _padded(self._prior.n_inputs)
        p, grad = (_views(shape, each, shape.input_parameters, prefix="prior.") for each in (self.rows, self.grad))
        batch = self.rows.new_zeros(len(self), self.n_rows + rows, shape.pixels, dtype=self.product_dtype)
        delta = self.rows.new_zeros(len(self), rows, 2 * shape.latent_dim)
        return PseudoInputs(self._prior, p, grad, batch, delta)

    def _make_network(self) -> Network:
        architecture, inputs = self.shape.network, 0 if self._inputs is None else self._inputs.rows
        p, grad = (_views(self.shape, each, self.shape.network_parameters) for each in (self.rows, self.grad))
        if isinstance(architecture, HandWrittenNetwork):
            return architecture.by_hand(p, grad, self.n_rows, self.product_dtype, inputs=inputs)
        return autograd.AutogradNetwork(architecture, p, grad, self.product_dtype, inputs=inputs)


def _padded(rows: int) -> int:
    return math.ceil(rows / ROW_MULTIPLE) * ROW_MULTIPLE


def _views(
    shape: ModelShape, rows: Float[Tensor, "models row"], wanted: tuple[Parameter, ...], *, prefix: str = ""
) -> Values:
    """Those parameters as views [models, *shape] of the rows, by their names without the prefix."""
    return {
        parameter.name.removeprefix(prefix): rows[:, place].view(len(rows), *parameter.shape)
        for parameter, place in shape.places()
        if parameter in wanted
    }

"""K VAEs of one shape as one stack, trained at once.

All parameters lie in one tensor `rows` [models, row], a model to a row, so that the optimizer is one fused pass, a
model is a slice, and a checkpoint is a few tensors. Layers are strided views of it, multiplied with `baddbmm`.

The gradient of `objective.lagrangian` is written by hand, into buffers made once:

    d logits = (sigmoid(logits) - x) / B
    d mean = dz + beta * mean / B,    d log_std = dz * std * noise + beta * (std^2 - 1) / B

tested against autograd through `models.vae`. Nothing here mixes two models; on one CPU thread even the rounding of a
model is the same in every stack, because rows and batches are padded so that no vectorised kernel ends inside a model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rdstudy.models.kernels import fused_pixel_gradient
from rdstudy.models.shape import Layer, ModelShape
from rdstudy.models.vae import VAE
from rdstudy.study.seeding import generator

ROW_MULTIPLE = 32
"""Batches are padded to a multiple of this many rows, of weight 0 (32 = two AVX-512 vectors of float32)."""


def initial_parameters(shape: ModelShape, stream_id: str, dtype: torch.dtype) -> Float[Tensor, " row"]:
    """A cell's initial parameters: U(-1/sqrt(inputs), 1/sqrt(inputs)), the default of `torch.nn.Linear`."""
    rng = generator(stream_id, "initialisation")
    row = torch.zeros(shape.row, dtype=dtype)
    for layer in (layer for part in shape.layers for layer in part):
        bound = 1 / math.sqrt(layer.inputs)
        n = (layer.inputs + 1) * layer.outputs
        uniform = torch.from_numpy(rng.random(n, dtype="float32")).to(dtype)
        row[layer.weight_at : layer.weight_at + n] = (2 * uniform - 1) * bound
    return row


@dataclass(frozen=True, slots=True)
class _StackedLayer:
    """Views of one layer of all models: parameters, their gradients, and what the layer gives for a batch."""

    weight: Float[Tensor, "models inputs outputs"]
    bias: Float[Tensor, "models 1 outputs"]
    weight_grad: Float[Tensor, "models inputs outputs"]
    bias_grad: Float[Tensor, "models outputs"]
    output: Float[Tensor, "models rows outputs"]


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
            shape: sizes of every model's layers.
            rows: all parameters, a model to a row; owned by the stack from now on.
            batch_size: examples per model and step.
            product_dtype: type of the matrix products if other than the parameters' (bfloat16).
        """
        self.shape = shape
        self.rows = rows
        self.grad = torch.zeros_like(rows)
        self.batch_size = batch_size
        self.n_rows = math.ceil(batch_size / ROW_MULTIPLE) * ROW_MULTIPLE
        self.product_dtype = product_dtype or rows.dtype
        self._on_cuda = rows.device.type == "cuda"
        # Mixed precision: products read rounded parameters and write rounded gradients, which are copied (to, from);
        # on a CUDA device they write gradients as they are.
        self._rounded: list[tuple[Tensor, Tensor]] = []
        self._unrounded: list[tuple[Tensor, Tensor]] = []
        encoder, decoder = shape.layers
        self._encoder = [self._layer(layer) for layer in encoder]
        self._decoder = [self._layer(layer) for layer in decoder]
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
        for rounded, exact in self._rounded:
            rounded.copy_(exact)
        inputs = images.to(self.product_dtype)

        code = _forward(self._encoder, inputs).to(self.rows.dtype)
        mean, log_std = code.chunk(2, dim=-1)
        std = log_std.exp()
        latent = torch.addcmul(mean, std, noise)
        latent_in = latent.to(self.product_dtype)
        if self._on_cuda:
            logits = _forward(self._decoder, latent_in, last_bias=False).to(self.rows.dtype)
            bias = self._decoder[-1].bias.to(self.rows.dtype)
            delta = fused_pixel_gradient(logits, bias, images, self.batch_size)
        else:
            logits = _forward(self._decoder, latent_in).to(self.rows.dtype)
            delta = logits.sigmoid_().sub_(images).mul_(self._row_weight)
        delta = delta.to(self.product_dtype)
        latent_grad = _backward(self._decoder, latent_in, delta, wants_input=True)
        assert latent_grad is not None
        latent_grad = latent_grad.to(self.rows.dtype)
        weight = beta * self._row_weight
        mean_grad = torch.addcmul(latent_grad, weight, mean)
        log_std_grad = (latent_grad * std).mul_(noise).addcmul_(weight, std.square().sub_(1))
        delta = torch.cat([mean_grad, log_std_grad], dim=-1).to(self.product_dtype)
        _backward(self._encoder, inputs, delta, wants_input=False)
        for exact, rounded in self._unrounded:
            exact.copy_(rounded)

    def _layer(self, layer: Layer) -> _StackedLayer:
        """The layer's matrices: views of the rows; or, where products are of another type, copies of such views.

        The copies of a matrix lie in one piece for all models. From pieces that lie as far apart as rows do, oneDNN
        makes such a copy for every single product.
        """
        models = len(self)

        def matrices(rows: Tensor) -> tuple[Tensor, Tensor]:
            weight = rows[:, layer.weight_at : layer.bias_at].view(models, layer.inputs, layer.outputs)
            return weight, rows[:, layer.bias_at : layer.bias_at + layer.outputs]

        parameters, gradients = matrices(self.rows), matrices(self.grad)

        def rounded(exact: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            weight, bias = (torch.empty_like(each, dtype=self.product_dtype) for each in exact)
            return weight, bias

        if self.product_dtype != self.rows.dtype:
            exact, parameters = parameters, rounded(parameters)
            self._rounded += zip(parameters, exact, strict=True)
            if not self._on_cuda:
                exact, gradients = gradients, rounded(gradients)
                self._unrounded += zip(exact, gradients, strict=True)
        return _StackedLayer(
            weight=parameters[0],
            bias=parameters[1].unsqueeze(1),
            weight_grad=gradients[0],
            bias_grad=gradients[1],
            output=self.rows.new_empty(models, self.n_rows, layer.outputs, dtype=self.product_dtype),
        )


def _forward(layers: list[_StackedLayer], x: Tensor, *, last_bias: bool = True) -> Tensor:
    *hidden, last = layers
    for layer in hidden:
        x = torch.baddbmm(layer.bias, x, layer.weight, out=layer.output).relu_()
    if not last_bias:
        return torch.bmm(x, last.weight, out=last.output)
    return torch.baddbmm(last.bias, x, last.weight, out=last.output)


def _backward(layers: list[_StackedLayer], x: Tensor, delta: Tensor, *, wants_input: bool) -> Tensor | None:
    """Gradients of the layers' parameters for input x and output gradient delta; the input's too where wanted."""
    for i in range(len(layers) - 1, -1, -1):
        layer = layers[i]
        before = layers[i - 1].output if i else x
        if layer.weight_grad.dtype == delta.dtype:
            torch.bmm(before.mT, delta, out=layer.weight_grad)
        else:
            torch.bmm(before.mT, delta, out_dtype=layer.weight_grad.dtype, out=layer.weight_grad)
        torch.sum(delta, dim=1, dtype=layer.bias_grad.dtype, out=layer.bias_grad)
        if i:
            delta = torch.bmm(delta, layer.weight.mT).mul_(before.sign_())  # ReLU's derivative, in place
        elif wants_input:
            return torch.bmm(delta, layer.weight.mT)
    return None

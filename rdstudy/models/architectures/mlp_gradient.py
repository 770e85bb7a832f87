"""The gradient of K MLPs written by hand, with `baddbmm` into buffers made once.

On one CPU thread the rounding of a model is the same in every stack, because rows and batches are padded so that no
vectorised kernel ends inside a model.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rdstudy.models.architectures.mlp import Layer
from rdstudy.models.protocols import Values


@dataclass(frozen=True, slots=True)
class _StackedLayer:
    """Views of one layer of all models: parameters, their gradients, and what the layer gives for a batch."""

    weight: Float[Tensor, "models inputs outputs"]
    bias: Float[Tensor, "models 1 outputs"]
    weight_grad: Float[Tensor, "models inputs outputs"]
    bias_grad: Float[Tensor, "models outputs"]
    output: Float[Tensor, "models rows outputs"]


class MLPNetwork:
    """Encoder and decoder of K models; a `Network`."""

    def __init__(
        self,
        layers: tuple[tuple[Layer, ...], tuple[Layer, ...]],
        p: Values,
        grad: Values,
        rows: int,
        product_dtype: torch.dtype,
        *,
        inputs: int = 0,
    ) -> None:
        """
        Args:
            layers: of encoder and decoder.
            p: parameters, [models, *shape].
            grad: where their gradients are written.
            rows: examples per model and step, padding included.
            product_dtype: type of the matrix products.
            inputs: rows of pseudo-inputs, which the encoder takes after those of the examples.
        """
        self._rows, self._dtype = rows, product_dtype
        # Mixed precision: products read rounded parameters and write rounded gradients, which are copied (to, from);
        # on a CUDA device they write gradients as they are.
        self._rounded: list[tuple[Tensor, Tensor]] = []
        self._unrounded: list[tuple[Tensor, Tensor]] = []
        self._encoder, self._decoder = (
            [self._layer(layer, p, grad, n) for layer in part]
            for part, n in zip(layers, (rows + inputs, rows), strict=True)
        )
        self._images = self._latent = torch.empty(0)
        self.last_bias: Tensor | None = self._decoder[-1].bias

    def begin(self) -> None:
        """Round the parameters, where products are of another type."""
        for rounded, exact in self._rounded:
            rounded.copy_(exact)

    def encode(self, images: Float[Tensor, "models rows pixels"]) -> Float[Tensor, "models rows code"]:
        """Mean and log_std of q(z|x), in the type of the products."""
        self._images = images
        return _forward(self._encoder, images)

    def decode(
        self, latent: Float[Tensor, "models rows latent"], *, bias: bool = True
    ) -> Float[Tensor, "models rows outputs"]:
        """The likelihood's input, in the type of the products."""
        self._latent = latent
        return _forward(self._decoder, latent, last_bias=bias)

    def decoder_gradient(self, delta: Float[Tensor, "models rows outputs"]) -> Float[Tensor, "models rows latent"]:
        """Gradients of the decoder's parameters; that of the latent is returned."""
        delta = _backward(self._decoder, self._latent, delta)
        return torch.bmm(delta, self._decoder[0].weight.mT)

    def encoder_gradient(self, delta: Float[Tensor, "models rows code"]) -> Float[Tensor, "models inputs pixels"]:
        """Gradients of the encoder's parameters; that of the pseudo-inputs is returned."""
        delta = _backward(self._encoder, self._images, delta)
        return torch.bmm(delta[:, self._rows :], self._encoder[0].weight.mT)

    def finish(self) -> None:
        """Copy rounded gradients to their place."""
        for exact, rounded in self._unrounded:
            exact.copy_(rounded)

    def _layer(self, layer: Layer, p: Values, grad: Values, rows: int) -> _StackedLayer:
        """The layer's matrices: views of the parameters; or, where products are of another type, copies of such views.

        The copies of a matrix lie in one piece for all models. From pieces that lie as far apart as flat vectors do,
        oneDNN makes such a copy for every single product.
        """
        parameters, gradients = (p[layer.weight], p[layer.bias]), (grad[layer.weight], grad[layer.bias])
        if self._dtype != parameters[0].dtype:
            exact, parameters = parameters, self._like(parameters)
            self._rounded += zip(parameters, exact, strict=True)
            if exact[0].device.type != "cuda":
                exact, gradients = gradients, self._like(gradients)
                self._unrounded += zip(exact, gradients, strict=True)
        weight, bias = parameters
        output = weight.new_empty(len(weight), rows, layer.outputs, dtype=self._dtype)
        return _StackedLayer(weight, bias.unsqueeze(1), *gradients, output)

    def _like(self, exact: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
        weight, bias = (torch.empty_like(each, dtype=self._dtype) for each in exact)
        return weight, bias


def _forward(layers: list[_StackedLayer], x: Tensor, *, last_bias: bool = True) -> Tensor:
    *hidden, last = layers
    for layer in hidden:
        x = torch.baddbmm(layer.bias, x, layer.weight, out=layer.output).relu_()
    if not last_bias:
        return torch.bmm(x, last.weight, out=last.output)
    return torch.baddbmm(last.bias, x, last.weight, out=last.output)


def _backward(layers: list[_StackedLayer], x: Tensor, delta: Tensor) -> Tensor:
    """Gradients of the layers' parameters for input x and output gradient delta; the first layer's output gradient."""
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
    return delta

"""A ReLU MLP as encoder and its mirror image as decoder.

Imports torch only with its hand-written gradient, so that a plan can count parameters without it.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from rdstudy.models.protocols import Parameter, Sizes

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float
    from torch import Tensor

    from rdstudy.models.architectures.mlp_gradient import MLPNetwork
    from rdstudy.models.protocols import Values


class Layer(NamedTuple):
    """One affine map: x @ weight + bias, and the names of its parameters."""

    inputs: int
    outputs: int
    weight: str
    bias: str


class MLP:
    """`depth` hidden layers of `width` units in the encoder, and as many in the decoder."""

    def __init__(self, sizes: Sizes) -> None:
        hidden = [sizes.width] * sizes.depth
        self.encoder_sizes = (sizes.pixels, *hidden, 2 * sizes.latent_dim)
        self.decoder_sizes = (sizes.latent_dim, *hidden, sizes.outputs)

    @property
    def activations(self) -> int:
        """Units of all layers."""
        return sum(self.encoder_sizes) + sum(self.decoder_sizes)

    @cached_property
    def layers(self) -> tuple[tuple[Layer, ...], tuple[Layer, ...]]:
        """Layers of encoder and decoder, in the order of their parameters."""
        return _layers("encoder", self.encoder_sizes), _layers("decoder", self.decoder_sizes)

    def parameters(self) -> tuple[Parameter, ...]:
        """Weights [inputs, outputs] and biases, U(-1/sqrt(inputs), 1/sqrt(inputs)) as in `torch.nn.Linear`."""
        found = []
        first = self.layers[0][0]
        for layer in (layer for part in self.layers for layer in part):
            bound = 1 / math.sqrt(layer.inputs)
            passes = 4.0 if layer is first else 6.0  # 2 forward and 4 backward; images need no gradient
            found.append(
                Parameter(layer.weight, (layer.inputs, layer.outputs), bound, passes * layer.inputs * layer.outputs)
            )
            found.append(Parameter(layer.bias, (layer.outputs,), bound))
        return tuple(found)

    def encode(self, images: Float[Tensor, "models rows pixels"], p: Values) -> Float[Tensor, "models rows code"]:
        """Mean and log_std of q(z|x)."""
        return _forward(self.layers[0], images, p)

    def decode(self, latent: Float[Tensor, "models rows latent"], p: Values) -> Float[Tensor, "models rows outputs"]:
        """The likelihood's input."""
        return _forward(self.layers[1], latent, p)

    def by_hand(self, p: Values, grad: Values, rows: int, product_dtype: torch.dtype, *, inputs: int = 0) -> MLPNetwork:
        """Encoder and decoder with the gradient written by hand."""
        from rdstudy.models.architectures.mlp_gradient import MLPNetwork

        return MLPNetwork(self.layers, p, grad, rows, product_dtype, inputs=inputs)


def _layers(part: str, sizes: tuple[int, ...]) -> tuple[Layer, ...]:
    """Numbered as in `torch.nn.Sequential` with a ReLU between the affine maps: 0, 2, 4."""
    pairs = zip(sizes, sizes[1:], strict=False)
    return tuple(Layer(a, b, f"{part}.{2 * i}.weight", f"{part}.{2 * i}.bias") for i, (a, b) in enumerate(pairs))


def _forward(layers: tuple[Layer, ...], x: Tensor, p: Values) -> Tensor:
    for i, layer in enumerate(layers):
        if i:
            x = x.relu()
        x = _affine(x, p[layer.weight], p[layer.bias])
    return x


def _affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if len(x) == 1:
        return bias[0].addmm(x[0], weight[0])[None]  # faster for one model than the stacked product
    return bias.unsqueeze(1).baddbmm(x, weight)

"""How large a cell's model is: layer sizes, parameters, bytes and arithmetic. Pure numbers, no tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

ALIGNMENT = 64
"""A model's parameters fill a row padded to this many elements, so that vectorised kernels never meet a model's end."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One affine map: `inputs -> outputs`, and where its weight and bias start in a model's row."""

    name: str
    inputs: int
    outputs: int
    weight_at: int
    bias_at: int


@dataclass(frozen=True)
class ModelShape:
    """Sizes of one VAE: an MLP encoder and its mirror image as decoder. What it says of them it works out once."""

    pixels: int
    depth: int
    width: int
    latent_dim: int

    @property
    def encoder_sizes(self) -> tuple[int, ...]:
        """Units per layer from the image to (mean, log_std)."""
        return (self.pixels, *[self.width] * self.depth, 2 * self.latent_dim)

    @property
    def decoder_sizes(self) -> tuple[int, ...]:
        """Units per layer from the code to the pixels' logits."""
        return (self.latent_dim, *[self.width] * self.depth, self.pixels)

    @cached_property
    def layers(self) -> tuple[tuple[Layer, ...], tuple[Layer, ...]]:
        """Layers of encoder and decoder, in the order of their parameters in a row."""
        at, parts = 0, []
        for part, sizes in (("encoder", self.encoder_sizes), ("decoder", self.decoder_sizes)):
            layers = []
            for i, (inputs, outputs) in enumerate(zip(sizes, sizes[1:], strict=False)):
                layers.append(Layer(f"{part}.{i}", inputs, outputs, at, at + inputs * outputs))
                at += (inputs + 1) * outputs
            parts.append(tuple(layers))
        return parts[0], parts[1]

    @cached_property
    def n_parameters(self) -> int:
        """Trainable numbers of one model."""
        return sum((layer.inputs + 1) * layer.outputs for part in self.layers for layer in part)

    @property
    def row(self) -> int:
        """Elements of one model's padded row."""
        return math.ceil(self.n_parameters / ALIGNMENT) * ALIGNMENT

    @cached_property
    def flop_per_example(self) -> float:
        """Arithmetic of the matrix products of one training step, per example: 2 forward and 4 backward per weight."""
        weights = sum(layer.inputs * layer.outputs for part in self.layers for layer in part)
        first = self.layers[0][0]
        return 6.0 * weights - 2.0 * first.inputs * first.outputs  # images need no gradient

    def bytes_per_model(self, batch_size: int, *, bytes_per_number: int = 4) -> int:
        """Memory that one more model in a pack costs while training: parameters, gradient, Adam, activations."""
        activations = 2 * sum(self.encoder_sizes) + 2 * sum(self.decoder_sizes)
        chunk = 2 * 64 * (self.latent_dim + 1)  # noise and order of a chunk of steps; a GPU has the next one's too
        return bytes_per_number * (5 * self.row + batch_size * (activations + chunk) + batch_size * self.pixels)


def model_shape(cell: Any, pixels: int) -> ModelShape:
    """The shape of a cell's model for images of this many pixels (channels counted)."""
    return _shape(pixels, cell.depth, cell.width, cell.latent_dim)


@lru_cache(4096)
def _shape(pixels: int, depth: int, width: int, latent_dim: int) -> ModelShape:
    return ModelShape(pixels, depth, width, latent_dim)

"""How large a cell's model is: its parameters and their places, bytes and arithmetic. Pure numbers, no tensors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from rdstudy.models import parts
from rdstudy.models.protocols import Architecture, EncodedPrior, Parameter, Sizes
from rdstudy.study import Cell

ALIGNMENT = 64
"""A model's parameters fill a row padded to this many elements, so that vectorised kernels never meet a model's end."""


@dataclass(frozen=True)
class ModelShape:
    """Sizes and parts of one VAE. What follows from them it works out once."""

    pixels: int
    depth: int
    width: int
    latent_dim: int
    prior: str = "standard_normal"
    likelihood: str = "bernoulli"
    architecture: str = "mlp"

    @cached_property
    def network(self) -> Architecture:
        """Its encoder and decoder."""
        outputs = self.pixels * parts.likelihood(self.likelihood).outputs_per_pixel
        return parts.architecture(
            self.architecture, Sizes(self.pixels, outputs, self.depth, self.width, self.latent_dim)
        )

    @cached_property
    def network_parameters(self) -> tuple[Parameter, ...]:
        """Those of encoder and decoder, in the order of the flat vector."""
        return self.network.parameters()

    @cached_property
    def prior_parameters(self) -> tuple[Parameter, ...]:
        """Those of the prior, which come after; their names begin with `prior.`."""
        return _of_prior(parts.prior(self.prior).parameters(self.latent_dim))

    @cached_property
    def input_parameters(self) -> tuple[Parameter, ...]:
        """Those of the prior's pseudo-inputs, which come last; their names begin with `prior.` too."""
        prior = parts.prior(self.prior)
        return _of_prior(prior.input_parameters(self.pixels)) if isinstance(prior, EncodedPrior) else ()

    @cached_property
    def n_inputs(self) -> int:
        """Pseudo-inputs of the prior."""
        prior = parts.prior(self.prior)
        return prior.n_inputs if isinstance(prior, EncodedPrior) else 0

    def places(self) -> Iterator[tuple[Parameter, slice]]:
        """Every parameter with its place in the flat vector."""
        at = 0
        for parameter in (*self.network_parameters, *self.prior_parameters, *self.input_parameters):
            end = at + math.prod(parameter.shape)
            yield parameter, slice(at, end)
            at = end

    @cached_property
    def n_parameters(self) -> int:
        """Trainable numbers of one model."""
        return sum(map(_count, (self.network_parameters, self.prior_parameters, self.input_parameters)))

    @property
    def row(self) -> int:
        """Elements of one model's padded row."""
        return math.ceil(self.n_parameters / ALIGNMENT) * ALIGNMENT

    @cached_property
    def flop_per_example(self) -> float:
        """Arithmetic of the matrix products of one training step, per example."""
        return sum(each.flop_per_example for each in (*self.network_parameters, *self.prior_parameters))

    def flop_per_step(self, batch_size: int) -> float:
        """Arithmetic of the matrix products of one training step of one model."""
        encoder = sum(each.flop_per_example for each in self.network_parameters) / 2  # the decoder is as large
        return batch_size * self.flop_per_example + self.n_inputs * encoder

    def bytes_per_model(self, batch_size: int, *, bytes_per_number: int = 4) -> int:
        """Memory that one more model in a pack costs while training: parameters, gradient, Adam, activations."""
        # A learned prior compares each code with all of its parameters, or with the codes of its pseudo-inputs, and
        # keeps what autograd needs.
        compared = _count(self.prior_parameters) + self.n_inputs * 2 * self.latent_dim
        activations = 2 * self.network.activations + 4 * compared
        chunk = 2 * 64 * (self.latent_dim + 1)  # noise and order of a chunk of steps; a GPU has the next one's too
        inputs = 0  # encoded behind a copy of the batch
        if self.n_inputs:
            inputs = batch_size * self.pixels + self.n_inputs * (self.network.activations + 4 * self.pixels)
        examples = batch_size * (activations + chunk) + batch_size * self.pixels
        return bytes_per_number * (5 * self.row + examples + inputs)


def _of_prior(parameters: tuple[Parameter, ...]) -> tuple[Parameter, ...]:
    return tuple(parameter._replace(name=f"prior.{parameter.name}") for parameter in parameters)


def _count(parameters: tuple[Parameter, ...]) -> int:
    return sum(math.prod(parameter.shape) for parameter in parameters)


def model_shape(cell: Cell, pixels: int) -> ModelShape:
    """The shape of a cell's model for images of this many pixels (channels counted)."""
    return _shape(pixels, cell.depth, cell.width, cell.latent_dim, cell.prior, cell.likelihood, cell.architecture)


@lru_cache(4096)
def _shape(
    pixels: int, depth: int, width: int, latent_dim: int, prior: str, likelihood: str, architecture: str
) -> ModelShape:
    return ModelShape(pixels, depth, width, latent_dim, prior, likelihood, architecture)

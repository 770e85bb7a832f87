"""Hamiltonian Monte Carlo on p(z) p(x|z)^t, for many images and several chains each at once.

A transition draws a momentum, follows the dynamics by leapfrog steps, and accepts the end with Metropolis' probability
(Duane et al. 1987; Neal 2011). It leaves its target exactly invariant and is reversible, whatever its step size and
metric, as long as these do not depend on the chain's own state. States and energies are float64; the networks compute
in the images' type, so the target is that of their rounded distortion.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rdstudy.evaluation import curvature
from rdstudy.evaluation.population import decoder_rows

JITTER = 0.5, 1.25
"""A chain's step size is the image's times a number drawn uniformly from here, so that no orbit closes upon itself."""


@runtime_checkable
class Model(curvature.Model, Protocol):
    """Prior, decoder and likelihood of a VAE; no encoder is needed."""

    def distortion_gradient(
        self, output: Float[Tensor, "rows outputs"], images: Float[Tensor, "rows pixels"], weight: float
    ) -> Float[Tensor, "rows outputs"]:
        """Gradient of weight * the sum of `distortion` by the output, which may be overwritten."""

    def sample_prior(self, rng: np.random.Generator, n: int) -> Float[Tensor, "n latent"]:
        """Draws from p(z)."""


class Draws:
    """A stream of random numbers for each image, so that an image's draws do not depend on the others."""

    def __init__(self, keys: Int64[np.ndarray, "examples 2"]) -> None:
        """One stream for each image.

        Args:
            keys: of Philox, for each image.
        """
        self._streams = [np.random.Generator(np.random.Philox(key=key.astype(np.uint64))) for key in keys]

    @classmethod
    def of(cls, generator: np.random.Generator, examples: int) -> Draws:
        """Streams that this generator names, two of its integers each."""
        return cls(generator.integers(2**63 - 1, size=(examples, 2)))

    def __iter__(self) -> Iterator[np.random.Generator]:
        return iter(self._streams)

    def normal(self, *shape: int) -> Float[Tensor, "examples ..."]:
        """Standard normal draws, float64."""
        return self._stacked([stream.standard_normal(shape) for stream in self])

    def uniform(self, *shape: int) -> Float[Tensor, "examples ..."]:
        """Draws from [0, 1), float64."""
        return self._stacked([stream.random(shape) for stream in self])

    @staticmethod
    def _stacked(draws: Sequence[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(draws))


class State(NamedTuple):
    """Where the chains of every image are, with what their energies are made of; float64."""

    z: Float[Tensor, "examples chains latent"]
    surprise: Float[Tensor, "examples chains"]
    distortion: Float[Tensor, "examples chains"]
    surprise_gradient: Float[Tensor, "examples chains latent"]
    distortion_gradient: Float[Tensor, "examples chains latent"]

    def energy(self, t: Float[Tensor, "examples 1"]) -> Float[Tensor, "examples chains"]:
        """-log p(z) - t log p(x|z)."""
        return self.surprise + t * self.distortion

    def gradient(self, t: Float[Tensor, "examples 1"]) -> Float[Tensor, "examples chains latent"]:
        """Of the energy by z."""
        return self.surprise_gradient + t[..., None] * self.distortion_gradient

    def where(self, chosen: Tensor, other: State) -> State:
        """This state for the chosen chains [examples, chains], the other for the rest."""
        return State(
            *(
                torch.where(chosen.view(*chosen.shape, *[1] * (a.dim() - 2)), a, b)
                for a, b in zip(self, other, strict=True)
            )
        )

    def take(self, chains: Int64[Tensor, "examples chains"]) -> State:
        """The chains of these numbers, for each image its own."""
        row = torch.arange(len(chains), device=chains.device)[:, None]
        return State(*(part[row, chains] for part in self))


class Target:
    """-log p(z) and -log p(x|z) of a batch of images with their gradients by z.

    Attributes:
        model: prior, decoder and likelihood.
        images: intensities [examples, pixels].
        rows: passed through the decoder at a time.
    """

    def __init__(self, model: Model, images: Float[Tensor, "examples pixels"]) -> None:
        """Of these images under this model.

        Args:
            model: is never changed.
            images: intensities in [0, 1], on the model's device, in its type.
        """
        self.model, self.images = model, images
        self.rows = decoder_rows(images)

    def sample_prior(self, draws: Draws, chains: int) -> Float[Tensor, "examples chains latent"]:
        """Exact draws from p(z) for every image."""
        z = torch.stack([self.model.sample_prior(stream, chains) for stream in draws])
        return z.to(self.images.device, torch.float64)

    def state(self, z: Float[Tensor, "examples chains latent"]) -> State:
        """The state with energies and gradients."""
        distortion, by_distortion = self._distortion(z, value=True)
        surprise, by_surprise = self._surprise(z)
        return State(z, surprise, distortion, by_surprise, by_distortion)

    def gradient(
        self, z: Float[Tensor, "examples chains latent"], t: Float[Tensor, "examples 1"]
    ) -> Float[Tensor, "examples chains latent"]:
        """Of the energy at t alone, which is cheaper than a state."""
        return self._surprise(z)[1] + t[..., None] * self._distortion(z, value=False)[1]

    def _surprise(self, z: Float[Tensor, "examples chains latent"]) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            rows = z.flatten(0, 1).requires_grad_()
            surprise = -self.model.log_prior(rows)
            (gradient,) = torch.autograd.grad(surprise.sum(), rows)
        return surprise.detach().view(z.shape[:2]), gradient.view(z.shape)

    def _distortion(self, z: Float[Tensor, "examples chains latent"], value: bool) -> tuple[Tensor, Tensor]:
        examples, chains, _ = z.shape
        latent = z.flatten(0, 1).to(self.images.dtype)
        example = torch.arange(examples * chains, device=z.device) // chains
        distortion, gradient = latent.new_zeros(len(latent)), torch.empty_like(latent)
        for start in range(0, len(latent), self.rows):
            block = slice(start, start + self.rows)
            images = self.images[example[block]]
            with torch.enable_grad():
                rows = latent[block].requires_grad_()
                output = self.model.decode(rows)
                if value:
                    distortion[block] = self.model.distortion(output.detach(), images)
                by_output = self.model.distortion_gradient(output, images, 1.0)
                (gradient[block],) = torch.autograd.grad(output, rows, by_output)
        return distortion.double().view(z.shape[:2]), gradient.double().view(z.shape)


class Kernel(NamedTuple):
    """Step size and metric of every image's transitions.

    Attributes:
        step_size: of a leapfrog step, in units of the metric.
        scale: S with S S' the inverse mass matrix; near a Gaussian target, S S' = its covariance is best.
    """

    step_size: Float[Tensor, " examples"]
    scale: Float[Tensor, "examples latent latent"]


def transition(
    target: Target, state: State, t: Float[Tensor, " examples"], kernel: Kernel, leapfrog_steps: int, draws: Draws
) -> tuple[State, Float[Tensor, "examples chains"]]:
    """One transition of every chain, which leaves p(z) p(x|z)^t invariant.

    Args:
        target: the images' densities.
        state: of the chains.
        t: weight of log p(x|z), for each image.
        kernel: must not depend on the state.
        leapfrog_steps: of which each costs one gradient.
        draws: of the images.

    Returns:
        The new state, and every chain's probability of acceptance.
    """
    z, t = state.z, t[:, None]
    _, chains, latent = z.shape
    noise = draws.normal(chains, latent).to(z)
    uniform = draws.uniform(2, chains).to(z)
    low, high = JITTER
    size = (kernel.step_size[:, None] * (low + (high - low) * uniform[:, 0]))[..., None]

    def pull(gradient: Tensor) -> Tensor:
        return gradient @ kernel.scale  # by the whitened position, S' gradient

    momentum = noise - 0.5 * size * pull(state.gradient(t))
    for _ in range(leapfrog_steps - 1):
        z = z + size * (momentum @ kernel.scale.mT)
        momentum = momentum - size * pull(target.gradient(z, t))
    proposed = target.state(z + size * (momentum @ kernel.scale.mT))
    momentum = momentum - 0.5 * size * pull(proposed.gradient(t))
    change = proposed.energy(t) - state.energy(t) + 0.5 * (momentum.square() - noise.square()).sum(-1)
    accepted = (-change).nan_to_num(nan=-torch.inf).exp().clamp(max=1.0)
    return proposed.where(uniform[:, 1] < accepted, state), accepted

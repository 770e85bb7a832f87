"""A population of examples as one model encodes it: what every measure is computed from."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar, cast

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from rdstudy.models.objective import Posterior
from rdstudy.models.vae import VAE

OUTPUTS_IN_CACHE, OUTPUTS_ON_DEVICE = 2**18, 2**26
"""Decoder outputs at a time: on a CPU few enough for its cache, which is 3 times as fast."""
EXAMPLES_AT_ONCE = 1024
"""Examples per forward pass. Part of the numerics: rounding of a product may depend on its size."""

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class EncodedPopulation:
    """Posteriors of a population, and every example's rate and distortion in nats.

    Attributes:
        model: the trained model.
        beta: the weight of the rate that it was trained with.
        images: the whole data set as bytes, on the model's device.
        indices: which images form the population, in random order: a subsample is the first of them.
        posterior: q(z|x) of every example, in the model's type.
        rate: KL(q(z|x) || p(z)) of every example, or where it has no closed form its estimate by one draw; float64.
        distortion: -log p(x|z) of every example at one draw z of q(z|x), the same draw; float64.
        fitted_on: the training set of the same model, where this is another population.
    """

    model: VAE
    beta: float
    images: UInt8[Tensor, "images pixels"]
    indices: Int64[np.ndarray, " examples"]
    posterior: Posterior
    rate: Float[Tensor, " examples"]
    distortion: Float[Tensor, " examples"]
    fitted_on: EncodedPopulation | None = None
    _found: dict[Hashable, object] = field(default_factory=dict, repr=False, compare=False)

    @property
    def training(self) -> EncodedPopulation:
        """The training set of the same model: what a density may be fitted to."""
        return self.fitted_on or self

    def once(self, key: Hashable, make: Callable[[], Found]) -> Found:
        """What `make` returns for this population, made only once for a key: other populations ask for it again."""
        if key not in self._found:
            self._found[key] = make()
        return cast(Found, self._found[key])

    def __len__(self) -> int:
        return len(self.indices)

    def batches(self, examples: int) -> Iterator[Float[Tensor, "batch pixels"]]:
        """Intensities of the first examples, in the batches of a forward pass."""
        for start in range(0, examples, EXAMPLES_AT_ONCE):
            chosen = self.indices[start : min(start + EXAMPLES_AT_ONCE, examples)]
            yield batch(self.images, chosen, _parameter(self.model))


def encode_population(
    model: VAE,
    images: UInt8[Tensor, "images pixels"],
    indices: Int64[np.ndarray, " examples"],
    rng: np.random.Generator,
    *,
    beta: float,
    fitted_on: EncodedPopulation | None = None,
) -> EncodedPopulation:
    """Encode every example, and decode one draw of its posterior. The model must not change as long as this is used."""
    model = model.frozen()
    parameter = _parameter(model)
    rates, distortions, means, log_stds = [], [], [], []
    for start in range(0, len(indices), EXAMPLES_AT_ONCE):
        x = batch(images, indices[start : start + EXAMPLES_AT_ONCE], parameter)
        posterior = model.encode(x)
        noise = torch.from_numpy(rng.standard_normal(tuple(posterior.mean.shape), dtype=np.float32))
        latent = posterior.sample(noise.to(parameter))
        rates.append(model.rate(posterior, latent).double())
        distortions.append(model.distortion(model.decode(latent), x).double())
        means.append(posterior.mean)
        log_stds.append(posterior.log_std)
    posterior = Posterior(torch.cat(means), torch.cat(log_stds))
    rate, distortion = torch.cat(rates), torch.cat(distortions)
    return EncodedPopulation(model, beta, images, indices, posterior, rate, distortion, fitted_on)


def decoder_rows(images: Float[Tensor, "examples pixels"]) -> int:
    """Number of latents to decode at a time, for images of this size on this device."""
    return max(1, _outputs_at_once(images) // images.shape[1])


def examples_per_block(images: Float[Tensor, "examples pixels"]) -> int:
    """Number of examples to work on at a time, where a few latents of each are decoded together."""
    return max(1, _outputs_at_once(images) // (2 * images.shape[1]))


def _outputs_at_once(images: Float[Tensor, "examples pixels"]) -> int:
    return OUTPUTS_IN_CACHE if images.device.type == "cpu" else OUTPUTS_ON_DEVICE


def intensities(images: UInt8[Tensor, "examples pixels"], like: Tensor) -> Float[Tensor, "examples pixels"]:
    """Bytes as intensities in [0, 1], in the type of `like`."""
    return images.to(like.dtype).div_(255)


def batch(
    images: UInt8[Tensor, "images pixels"], indices: Int64[np.ndarray, " batch"], like: Tensor
) -> Float[Tensor, "batch pixels"]:
    """Intensities of the images at these indices, in the type of `like`."""
    return intensities(images.index_select(0, torch.from_numpy(indices).to(images.device)), like)


def _parameter(model: VAE) -> Tensor:
    return next(model.parameters())

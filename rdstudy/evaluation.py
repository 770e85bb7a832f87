"""A trained model and a population become measured values.

Rate, distortion and ELBO over the whole population, every example once; one model at a time, so that a value cannot
depend on the pack. Computed in the parameters' own float32 or better, whatever training used; averaged in float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from rdstudy.measurement import DIVERGED, OK
from rdstudy.models.vae import VAE
from rdstudy.objective import Posterior, distortion, rate
from rdstudy.seeding import generator

EXAMPLES_AT_ONCE = 1024
"""Examples per forward pass. Part of the numerics: rounding of a product may depend on its size."""


@dataclass(frozen=True, slots=True)
class Values:
    """Measured columns of one row, and whether the model could be measured."""

    columns: dict[str, Any]
    status: str = OK
    message: str | None = None


@dataclass(slots=True)
class Encodings:
    """Posteriors of a population, and the per-example rate and distortion, as they are computed."""

    mean: list[Tensor] = field(default_factory=list)
    log_std: list[Tensor] = field(default_factory=list)
    rate: list[Tensor] = field(default_factory=list)
    distortion: list[Tensor] = field(default_factory=list)


def intensities(images: UInt8[Tensor, "examples pixels"], like: Tensor) -> Float[Tensor, "examples pixels"]:
    """Bytes as intensities in [0, 1], in the type of `like`."""
    return images.to(like.dtype).div_(255)


@torch.no_grad()
def measure(
    model: VAE,
    images: UInt8[Tensor, "examples pixels"],
    indices: Int64[np.ndarray, " population"],
    *,
    cell_id: str,
    step: int,
    population: str,
) -> Values:
    """Rate, distortion and ELBO with standard errors, over every example of a population.

    Args:
        model: the model, at training step `step`.
        images: the whole data set, on the model's device.
        indices: which images form the population.
        cell_id: with step and population, what the draws of z depend on.
        step: training steps taken.
        population: `train` or `test`.
    """
    rng = generator(cell_id, "evaluation", step, population)
    parameter = next(model.parameters())
    seen = Encodings()
    for start in range(0, len(indices), EXAMPLES_AT_ONCE):
        chunk = torch.from_numpy(indices[start : start + EXAMPLES_AT_ONCE]).to(images.device)
        x = intensities(images.index_select(0, chunk), parameter)
        posterior = model.encode(x)
        noise = torch.from_numpy(rng.standard_normal(tuple(posterior.mean.shape), dtype=np.float32))
        latent = posterior.sample(noise.to(parameter))
        seen.rate.append(rate(posterior).double())
        seen.distortion.append(distortion(model.decode(latent), x).double())
        seen.mean.append(posterior.mean)
        seen.log_std.append(posterior.log_std)
    r, d = torch.cat(seen.rate), torch.cat(seen.distortion)
    columns = {
        "n_examples": len(indices),
        **_mean("rate", r),
        **_mean("distortion", d),
        **_mean("elbo", -(d + r)),
    }
    bad = [name for name, value in columns.items() if value is not None and not math.isfinite(value)]
    if bad:
        message = f"{', '.join(bad)} not finite at step {step}"
        return Values({"n_examples": len(indices)}, DIVERGED, message)
    posterior = Posterior(torch.cat(seen.mean), torch.cat(seen.log_std))
    return Values(columns)


def _mean(name: str, values: Float[Tensor, " examples"]) -> dict[str, float | None]:
    """Mean over examples and its standard error (of one example: null)."""
    error = (values.std() / math.sqrt(len(values))).item() if len(values) > 1 else None
    return {f"{name}_nats": values.mean().item(), f"{name}_se": error}


@torch.no_grad()
def sheet(
    model: VAE,
    images: UInt8[Tensor, "examples pixels"],
    train: Int64[np.ndarray, " train"],
    test: Int64[np.ndarray, " test"],
    *,
    n: int,
    cell_id: str,
) -> dict[str, np.ndarray]:
    """A few images with their reconstructions, and samples from the prior, as uint8 [n, pixels]."""
    parameter = next(model.parameters())
    rng = generator(cell_id, "samples")
    found: dict[str, np.ndarray] = {}
    for population, indices in (("train", train), ("test", test)):
        x = images.index_select(0, torch.from_numpy(indices[:n]).to(images.device))
        posterior = model.encode(intensities(x, parameter))
        found[f"{population}_images"] = x.cpu().numpy()
        found[f"{population}_reconstructions"] = _bytes(model.decode(posterior.mean))
    noise = rng.standard_normal((n, model.shape.latent_dim), dtype=np.float32)
    found["samples"] = _bytes(model.decode(torch.from_numpy(noise).to(parameter)))
    return found


def _bytes(logits: Tensor) -> np.ndarray:
    intensity: np.ndarray = (logits.sigmoid() * 255).round().to(torch.uint8).cpu().numpy()
    return intensity

"""A normalising flow of affine couplings as prior (RealNVP); its rate by one draw, its gradient by autograd."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rdstudy.models.objective import LOG_TWO_PI, Posterior
from rdstudy.models.protocols import Parameter, Values

HIDDEN = 64
"""Units of the one hidden layer of each coupling."""
MAX_LOG_SCALE = 2.0
"""A coupling stretches a dimension at most by e^2: a softly bounded scale keeps training stable."""


class Flow:
    """z is a standard normal draw u carried through K affine couplings (Dinh, Sohl-Dickstein & Bengio 2017).

        u_b = (z_b - t(z_a)) exp(-s(z_a)),    log p(z) = log N(u; 0, I) - sum over couplings and dimensions of s(z_a)

    Each coupling moves one half of the dimensions by a shift t and a log scale s, which a network of one hidden layer
    reads off the other half; the halves take turns. Begins as the standard normal. With one dimension there is nothing
    to read off, and the flow is a learned Gaussian.
    """

    closed_form: ClassVar[bool] = False

    def __init__(self, couplings: int | float) -> None:
        """
        Args:
            couplings: K; from 2 on every dimension is moved.

        Raises:
            ValueError: K is not a whole number above 0.
        """
        if couplings < 1 or couplings != int(couplings):
            raise ValueError(f"flow({couplings:g}): the number of couplings is a whole number above 0")
        self.couplings = int(couplings)

    def parameters(self, latent_dim: int) -> tuple[Parameter, ...]:
        """Of each coupling the hidden layer's weights and biases, and those of shift and scale, which begin at 0."""
        found = []
        for k in range(self.couplings):
            kept, moved = (len(part) for part in _halves(k, latent_dim))
            bound = 1 / math.sqrt(max(kept, 1))
            found += [
                Parameter(f"{k}.hidden_weight", (kept, HIDDEN), bound, 6.0 * kept * HIDDEN),
                Parameter(f"{k}.hidden_bias", (HIDDEN,), bound),
                Parameter(f"{k}.out_weight", (HIDDEN, 2 * moved), 0.0, 12.0 * HIDDEN * moved),
                Parameter(f"{k}.out_bias", (2 * moved,), 0.0),
            ]
        return tuple(found)

    def log_density(self, z: Float[Tensor, "*draws latent"], p: Values) -> Float[Tensor, "*draws"]:
        """From the last coupling back to the standard normal."""
        latent_dim = z.shape[-1]
        u = z.reshape(len(z), -1, latent_dim)
        stretched = torch.zeros_like(u[..., 0])
        for k in reversed(range(self.couplings)):
            kept, moved = _halves(k, latent_dim)
            shift, log_scale = _read(u[..., kept.start : kept.stop], p, k)
            part = (u[..., moved.start : moved.stop] - shift) * (-log_scale).exp()
            u = _joined(k, u[..., kept.start : kept.stop], part)
            stretched = stretched + log_scale.sum(-1)
        density = -0.5 * (u.square() + LOG_TWO_PI).sum(-1) - stretched
        return density.view(z.shape[:-1])

    def sample(
        self, rng: np.random.Generator, n: int, latent_dim: int, p: Values
    ) -> Float[Tensor, "models draws latent"]:
        """Standard normal draws through all couplings; the same draws for every model."""
        bias = p["0.hidden_bias"]
        noise = torch.from_numpy(rng.standard_normal((n, latent_dim), dtype=np.float32)).to(bias)
        z = noise.expand(len(bias), n, latent_dim)
        for k in range(self.couplings):
            kept, moved = _halves(k, latent_dim)
            shift, log_scale = _read(z[..., kept.start : kept.stop], p, k)
            part = z[..., moved.start : moved.stop] * log_scale.exp() + shift
            z = _joined(k, z[..., kept.start : kept.stop], part)
        return z

    def rate(self, posterior: Posterior, z: Float[Tensor, "*examples latent"], p: Values) -> Float[Tensor, "*examples"]:
        """log q(z|x) - log p(z), whose mean over z is the KL."""
        return posterior.log_density(z) - self.log_density(z, p)


def _halves(k: int, latent_dim: int) -> tuple[range, range]:
    """The dimensions that coupling k keeps, and those that it moves."""
    first, second = range(latent_dim // 2), range(latent_dim // 2, latent_dim)
    return (first, second) if k % 2 == 0 else (second, first)


def _joined(k: int, kept: Tensor, moved: Tensor) -> Tensor:
    """Both halves in the order of the dimensions."""
    return torch.cat([kept, moved] if k % 2 == 0 else [moved, kept], dim=-1)


def _read(
    kept: Float[Tensor, "models rows kept"], p: Values, k: int
) -> tuple[Float[Tensor, "models rows moved"], Float[Tensor, "models rows moved"]]:
    """Shift and log scale of coupling k."""
    weight, bias, out_weight, out_bias = (
        p[f"{k}.{name}"] for name in ("hidden_weight", "hidden_bias", "out_weight", "out_bias")
    )
    if kept.shape[-1] == 1:  # a matrix product over one number depends on the pack in its last bit
        hidden = (bias.unsqueeze(1) + kept * weight).relu()
    else:
        hidden = bias.unsqueeze(1).baddbmm(kept, weight).relu()
    shift, raw = out_bias.unsqueeze(1).baddbmm(hidden, out_weight).chunk(2, dim=-1)
    return shift, MAX_LOG_SCALE * (raw / MAX_LOG_SCALE).tanh()

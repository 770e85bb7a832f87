"""A learned mixture of Gaussians as prior; its rate by one draw, its gradient by autograd."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rdstudy.models.objective import LOG_TWO_PI, Posterior
from rdstudy.models.protocols import Parameter, Values


class Mixture:
    """p(z) = sum_k pi_k N(z; m_k, diag s_k^2), all of it learned. With one component, a learned Gaussian.

    Begins as equal weights, unit variances, and means uniform in [-1, 1].
    """

    closed_form: ClassVar[bool] = False

    def __init__(self, components: int | float) -> None:
        """
        Args:
            components: K, the number of Gaussians.

        Raises:
            ValueError: K is not a whole number above 0.
        """
        if components < 1 or components != int(components):
            raise ValueError(f"mixture({components:g}): the number of components is a whole number above 0")
        self.components = int(components)

    def parameters(self, latent_dim: int) -> tuple[Parameter, ...]:
        """Means and log standard deviations [K, latent], and logits of the weights [K]."""
        k = self.components
        return (
            Parameter("mean", (k, latent_dim), 1.0),
            Parameter("log_std", (k, latent_dim), 0.0),
            Parameter("logits", (k,), 0.0),
        )

    def log_density(self, z: Float[Tensor, "*draws latent"], p: Values) -> Float[Tensor, "*draws"]:
        """log sum_k pi_k N(z; m_k, diag s_k^2)."""
        between = [1] * (z.dim() - 2)  # axes of the draws
        mean, log_std = (p[name].view(len(z), *between, self.components, -1) for name in ("mean", "log_std"))
        score = (z.unsqueeze(-2) - mean) * (-log_std).exp()
        each = -0.5 * score.square().sum(-1) - log_std.sum(-1) - 0.5 * LOG_TWO_PI * z.shape[-1]
        weight = p["logits"].log_softmax(-1).view(len(z), *between, self.components)
        return (each + weight).logsumexp(-1)

    def sample(
        self, rng: np.random.Generator, n: int, latent_dim: int, p: Values
    ) -> Float[Tensor, "models draws latent"]:
        """A component for each draw, then a draw from it; the same random numbers for every model."""
        mean, log_std = p["mean"], p["log_std"]
        uniform = torch.from_numpy(rng.random(n)).to(mean.device)
        noise = torch.from_numpy(rng.standard_normal((n, latent_dim), dtype=np.float32)).to(mean)
        ends = p["logits"].double().softmax(-1).cumsum(-1)
        chosen = torch.searchsorted(ends, uniform.expand(len(mean), -1).contiguous()).clamp(max=self.components - 1)
        index = chosen.unsqueeze(-1).expand(-1, -1, latent_dim)
        return mean.gather(1, index) + log_std.exp().gather(1, index) * noise

    def rate(self, posterior: Posterior, z: Float[Tensor, "*examples latent"], p: Values) -> Float[Tensor, "*examples"]:
        """log q(z|x) - log p(z), whose mean over z is the KL."""
        return posterior.log_density(z) - self.log_density(z, p)

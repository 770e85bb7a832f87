"""A learned Gaussian with diagonal covariance as prior; its rate in closed form."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rdstudy.models.objective import LOG_TWO_PI, Posterior
from rdstudy.models.protocols import Parameter, Values


class Gaussian:
    """p(z) = N(m, diag s^2), both learned. Begins as the standard normal.

    It changes what a latent's scale means: codes may move and stretch at no rate. So `active_units`, whose threshold is
    absolute, does not compare with those of other priors; the rates of latent dimensions do.
    """

    closed_form: ClassVar[bool] = True

    def parameters(self, latent_dim: int) -> tuple[Parameter, ...]:
        """Mean and log standard deviation [latent]."""
        return Parameter("mean", (latent_dim,), 0.0), Parameter("log_std", (latent_dim,), 0.0)

    def log_density(self, z: Float[Tensor, "*draws latent"], p: Values) -> Float[Tensor, "*draws"]:
        """log N(z; m, diag s^2)."""
        mean, log_std = _over_draws(p, z)
        score = (z - mean) * (-log_std).exp()
        return -0.5 * score.square().sum(-1) - log_std.sum(-1) - 0.5 * LOG_TWO_PI * z.shape[-1]

    def sample(
        self, rng: np.random.Generator, n: int, latent_dim: int, p: Values
    ) -> Float[Tensor, "models draws latent"]:
        """m + s * noise; the same noise for every model."""
        noise = torch.from_numpy(rng.standard_normal((n, latent_dim), dtype=np.float32)).to(p["mean"])
        return p["mean"][:, None] + p["log_std"].exp()[:, None] * noise

    def rate(self, posterior: Posterior, z: Float[Tensor, "*examples latent"], p: Values) -> Float[Tensor, "*examples"]:
        """KL(q(z|x) || p(z)) in closed form."""
        return self.latent_rates(posterior, p).sum(-1)

    def latent_rates(self, posterior: Posterior, p: Values) -> Float[Tensor, "*examples latent"]:
        """log s / std + (std^2 + (mean - m)^2) / (2 s^2) - 1/2 of every latent dimension."""
        mean, log_std = _over_draws(p, posterior.mean)
        inverse = (-log_std).exp()
        score, ratio = (posterior.mean - mean) * inverse, posterior.log_std - log_std
        return 0.5 * (score.square() + (2 * ratio).exp() - 1) - ratio


def _over_draws(p: Values, z: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log std, [models, 1, ..., latent], to meet z [models, ..., latent]."""
    between = [1] * (z.dim() - 2)
    mean, log_std = (p[name].view(len(p[name]), *between, -1) for name in ("mean", "log_std"))
    return mean, log_std

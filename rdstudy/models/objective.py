"""What training minimises: distortion + beta * rate. Nats per example throughout.

    D = E_q(z|x)[-log p(x|z)],  R = KL(q(z|x) || p(z)),  L = D + beta * R    (Higgins et al. 2017; Alemi et al. 2018)

D is the likelihood's (`models/likelihoods`), R the prior's (`models/priors`). Differentiable, elementwise over any
leading axes; knows no models and no data.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

LOG_TWO_PI = math.log(2 * math.pi)


class Posterior(NamedTuple):
    """q(z|x) = N(mean, diag exp(log_std)^2), one per example."""

    mean: Float[Tensor, "*examples latent"]
    log_std: Float[Tensor, "*examples latent"]

    def sample(self, noise: Float[Tensor, "*examples latent"]) -> Float[Tensor, "*examples latent"]:
        """z = mean + std * noise (the reparameterisation of Kingma & Welling 2014, eq. 10)."""
        return self.mean + self.log_std.exp() * noise

    def log_density(self, z: Float[Tensor, "*examples latent"]) -> Float[Tensor, "*examples"]:
        """log q(z|x) of one z per example, by differences: no digits cancel."""
        score = (z - self.mean) * (-self.log_std).exp()
        return -0.5 * score.square().sum(-1) - self.log_std.sum(-1) - 0.5 * LOG_TWO_PI * z.shape[-1]


def lagrangian(
    distortion_nats: Float[Tensor, "*examples"], rate_nats: Float[Tensor, "*examples"], beta: float
) -> Float[Tensor, ""]:
    """Mean over examples of D + beta * R."""
    return (distortion_nats + beta * rate_nats).mean()

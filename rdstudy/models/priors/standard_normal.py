"""The standard normal prior N(0, I) of Kingma & Welling 2014. Imports torch only where it draws."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from rdstudy.models.protocols import Parameter

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float
    from torch import Tensor

    from rdstudy.models.objective import Posterior
    from rdstudy.models.protocols import Values

LOG_TWO_PI = math.log(2 * math.pi)


class StandardNormal:
    """p(z) = N(0, I), without parameters.

    >>> import torch
    >>> from rdstudy.models.objective import Posterior
    >>> code = Posterior(mean=torch.ones(1, 1, 3), log_std=torch.zeros(1, 1, 3))
    >>> StandardNormal().rate(code)  # half the squared length of its mean
    tensor([[1.5000]])
    """

    closed_form: ClassVar[bool] = True

    def parameters(self, latent_dim: int) -> tuple[Parameter, ...]:
        """None."""
        return ()

    def log_density(self, z: Float[Tensor, "*draws latent"], p: Values | None = None) -> Float[Tensor, "*draws"]:
        """log p(z) = -|z|^2 / 2 - latent / 2 log 2 pi."""
        return -0.5 * (z.square() + LOG_TWO_PI).sum(-1)

    def sample(
        self, rng: np.random.Generator, n: int, latent_dim: int, p: Values | None = None
    ) -> Float[Tensor, "1 draws latent"]:
        """float32 draws."""
        import numpy as np
        import torch

        return torch.from_numpy(rng.standard_normal((n, latent_dim), dtype=np.float32))[None]

    def rate(
        self, posterior: Posterior, z: Tensor | None = None, p: Values | None = None
    ) -> Float[Tensor, "*examples"]:
        """KL(q(z|x) || N(0, I)) in closed form (Kingma & Welling 2014, appendix B)."""
        return self.latent_rates(posterior).sum(-1)

    def latent_rates(self, posterior: Posterior, p: Values | None = None) -> Float[Tensor, "*examples latent"]:
        """(mean^2 + std^2 - 1) / 2 - log std of every latent dimension."""
        mean, log_std = posterior
        return 0.5 * (mean.square() + (2 * log_std).exp() - 1) - log_std

    def add_rate_gradient(
        self, posterior: Posterior, std: Tensor, weight: Tensor, mean_grad: Tensor, log_std_grad: Tensor
    ) -> tuple[Tensor, Tensor]:
        """d mean += weight * mean, d log_std += weight * (std^2 - 1)."""
        mean_grad = mean_grad.addcmul(weight, posterior.mean)
        return mean_grad, log_std_grad.addcmul_(weight, std.square().sub_(1))

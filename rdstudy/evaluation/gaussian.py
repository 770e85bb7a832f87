"""Closed forms of Gaussian posteriors q(z|x) = N(mean(x), diag std(x)^2).

They are computed in float64 for every input dtype, because float32 cannot resolve a std of 1e-6 at a mean of 1e3.
"""

from jaxtyping import Float
from torch import Tensor

from rdstudy.models.objective import Posterior


def log_posterior(
    z: Float[Tensor, "*draws latent"],
    mean: Float[Tensor, "*draws latent"],
    log_std: Float[Tensor, "*draws latent"],
) -> Float[Tensor, "*draws"]:
    """Log density in nats of each draw under its own posterior, log q(z|x), without cancellation.

    Args:
        z: draws, in latent units.
        mean: posterior mean of each draw's example.
        log_std: logarithm of the posterior standard deviation of each draw's example.

    Returns:
        log q(z|x) of each draw, float64.
    """
    return Posterior(mean.double(), log_std.double()).log_density(z.double())


def active_units(mean: Float[Tensor, "examples latent"], threshold: float = 0.01) -> int:
    """Number of latent dimensions whose posterior mean varies with the input.

        #{d : Var_x[mean_d(x)] > threshold}

    The variance is divided by the population's size. The number shows which dimensions are used, not how much
    information they carry, because the threshold depends on the scale of the latent.

    Args:
        mean: posterior means, one row per example, in latent units.
        threshold: variance above which a dimension is active, in squared latent units.

    Returns:
        The count, between 0 and `latent`.

    References:
        Burda, Grosse & Salakhutdinov 2016, section 5.2 (threshold 0.01).

    >>> import torch
    >>> active_units(torch.tensor([[0.0, 1.0], [0.0, -1.0]]))
    1
    """
    return int((mean.double().var(0, correction=0) > threshold).sum())

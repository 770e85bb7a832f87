"""Closed forms of Gaussian codes: q(z|x) = N(mean(x), diag std(x)^2).

Computed in float64, whatever comes in: a code with std 1e-6 at mean 1e3 has no noise left in float32.
"""

from jaxtyping import Float
from torch import Tensor

from rdstudy.models.objective import Posterior


def log_posterior(
    z: Float[Tensor, "*draws latent"],
    mean: Float[Tensor, "*draws latent"],
    log_std: Float[Tensor, "*draws latent"],
) -> Float[Tensor, "*draws"]:
    """Log density of each draw under its own code, log q(z|x), by differences: no digits cancel."""
    return Posterior(mean.double(), log_std.double()).log_density(z.double())


def active_units(mean: Float[Tensor, "examples latent"], threshold: float = 0.01) -> int:
    """Number of latent dimensions whose mean moves with the input.

        #{d : Var_x[mean_d(x)] > threshold}

    The variance is that of the population given (divided by its size, not by one less). It says that a
    dimension is used, not how much it carries: a threshold on a variance depends on the latent's scale.

    Args:
        mean: posterior means, one row per example, in latent units.
        threshold: largest variance of a unit that does not count, in squared latent units.

    Returns:
        A count between 0 and `latent`.

    References:
        Burda, Grosse & Salakhutdinov 2016, section 5.2 (threshold 0.01).

    >>> import torch
    >>> active_units(torch.tensor([[0.0, 1.0], [0.0, -1.0]]))
    1
    """
    return int((mean.double().var(0, correction=0) > threshold).sum())

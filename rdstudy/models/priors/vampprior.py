"""The VampPrior: a mixture of the posteriors of learned images; its rate by one draw, its gradient by autograd."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from torch import Tensor

from rdstudy.models.objective import Posterior
from rdstudy.models.priors.mixture import Mixture
from rdstudy.models.protocols import CODE, Parameter, Values

START = math.log(0.05 / 0.95)
"""Pseudo-inputs begin about an intensity of 0.05, a dark image, as in public code of it."""
SPREAD = 0.4
"""Half the range of their logits about it: a standard deviation of 0.01 in intensity."""


class VampPrior:
    """p(z) = 1/K sum_k q(z|u_k), the encoder's posteriors of K learned images (Tomczak & Welling 2018, eq. 9).

    The images u_k, the pseudo-inputs, are sigmoids of their parameters. They are learned through the encoder, and the
    encoder through them. If they were all N training images, p(z) would be the aggregate posterior q(z), and the
    training rate the mutual information, at most log N. An example that is one of the pseudo-inputs has a rate of at
    most log K. So they can memorise training images, and this prior is to be judged on the test set.
    """

    closed_form: ClassVar[bool] = False

    def __init__(self, pseudo_inputs: int | float) -> None:
        """
        Args:
            pseudo_inputs: K, the number of learned images.

        Raises:
            ValueError: K is not a whole number above 0.
        """
        if pseudo_inputs < 1 or pseudo_inputs != int(pseudo_inputs):
            raise ValueError(f"vampprior({pseudo_inputs:g}): the number of pseudo-inputs is a whole number above 0")
        self.n_inputs = int(pseudo_inputs)
        self._mixture = Mixture(pseudo_inputs)

    def parameters(self, latent_dim: int) -> tuple[Parameter, ...]:
        """None beside those of the pseudo-inputs."""
        return ()

    def input_parameters(self, pixels: int) -> tuple[Parameter, ...]:
        """Logits of the pseudo-inputs [K, pixels], less those of an intensity of 0.05."""
        return (Parameter("inputs", (self.n_inputs, pixels), SPREAD),)

    def inputs(self, p: Values) -> Float[Tensor, "models inputs pixels"]:
        """The pseudo-inputs."""
        return (p["inputs"] + START).sigmoid()

    def log_density(self, z: Float[Tensor, "*draws latent"], p: Values) -> Float[Tensor, "*draws"]:
        """log 1/K sum_k q(z|u_k)."""
        return self._mixture.log_density(z, _components(p))

    def sample(
        self, rng: np.random.Generator, n: int, latent_dim: int, p: Values
    ) -> Float[Tensor, "models draws latent"]:
        """A pseudo-input for each draw, then a draw from its posterior; the same random numbers for every model."""
        return self._mixture.sample(rng, n, latent_dim, _components(p))

    def rate(self, posterior: Posterior, z: Float[Tensor, "*examples latent"], p: Values) -> Float[Tensor, "*examples"]:
        """log q(z|x) - log p(z), whose mean over z is the KL."""
        return posterior.log_density(z) - self.log_density(z, p)


def _components(p: Values) -> dict[str, Tensor]:
    """The posteriors of the pseudo-inputs as a mixture of equal weights."""
    mean, log_std = p[CODE].chunk(2, dim=-1)
    return {"mean": mean, "log_std": log_std, "logits": mean.new_zeros(mean.shape[:2])}

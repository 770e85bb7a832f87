"""What training minimises: distortion + beta * rate. Nats per example throughout.

    D = E_q(z|x)[-log p(x|z)],  R = KL(q(z|x) || p(z)),  L = D + beta * R    (Higgins et al. 2017; Alemi et al. 2018)

Differentiable, elementwise over any leading axes; knows no models and no data.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Posterior(NamedTuple):
    """q(z|x) = N(mean, diag exp(log_std)^2), one per example."""

    mean: Float[Tensor, "*examples latent"]
    log_std: Float[Tensor, "*examples latent"]

    def sample(self, noise: Float[Tensor, "*examples latent"]) -> Float[Tensor, "*examples latent"]:
        """z = mean + std * noise (the reparameterisation of Kingma & Welling 2014, eq. 10)."""
        return self.mean + self.log_std.exp() * noise


def rate(posterior: Posterior) -> Float[Tensor, "*examples"]:
    """KL(q(z|x) || N(0, I)) in nats, in closed form (Kingma & Welling 2014, appendix B).

    >>> import torch
    >>> rate(Posterior(mean=torch.zeros(1, 3), log_std=torch.zeros(1, 3)))  # a code that is the prior
    tensor([0.])
    >>> rate(Posterior(mean=torch.ones(1, 3), log_std=torch.zeros(1, 3)))  # half the squared length of its mean
    tensor([1.5000])
    """
    mean, log_std = posterior
    return (0.5 * (mean.square() + (2 * log_std).exp() - 1) - log_std).sum(-1)


def distortion(
    logits: Float[Tensor, "*examples pixels"], images: Float[Tensor, "*examples pixels"]
) -> Float[Tensor, "*examples"]:
    """-log p(x|z) in nats: Bernoulli cross-entropy on intensities in [0, 1], summed over all pixels and channels.

    As in the paper, and as published VAE code does it: for intensities strictly between 0 and 1 this is not a
    normalised likelihood, so values compare between models of one data set only. Its floor is the images' own entropy.

    >>> import torch
    >>> distortion(torch.zeros(1, 2), torch.rand(1, 2))  # a decoder that knows nothing: log 2 a pixel
    tensor([1.3863])
    """
    return (torch.nn.functional.softplus(logits) - images * logits).sum(-1)


def lagrangian(
    distortion_nats: Float[Tensor, "*examples"], rate_nats: Float[Tensor, "*examples"], beta: float
) -> Float[Tensor, ""]:
    """Mean over examples of D + beta * R."""
    return (distortion_nats + beta * rate_nats).mean()

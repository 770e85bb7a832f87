"""First and second derivatives of -log p(x|z) and -log p(z) by z, the second by Gauss and Newton."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Model(Protocol):
    """Decoder, likelihood and prior of a VAE, all differentiable twice; its parameters are never changed. Nats."""

    def decode(self, latent: Float[Tensor, "rows latent"]) -> Float[Tensor, "rows outputs"]:
        """What the likelihood takes."""

    def distortion(
        self, output: Float[Tensor, "rows outputs"], images: Float[Tensor, "rows pixels"]
    ) -> Float[Tensor, " rows"]:
        """-log p(x|z), for what `decode` gave."""

    def log_prior(self, z: Float[Tensor, "rows latent"]) -> Float[Tensor, " rows"]:
        """log p(z)."""


class Derivatives(NamedTuple):
    """Of a sum of -log p(x|z) and -log p(z), each weighted: see `tempered`."""

    value: Float[Tensor, " rows"]
    gradient: Float[Tensor, "rows latent"]
    curvature: Float[Tensor, "rows latent latent"]


class LocalShape(NamedTuple):
    """-log p(x|z) and -log p(z) about one z per image."""

    distortion: Derivatives
    surprise: Derivatives

    def tempered(self, beta: float) -> Derivatives:
        """Of -log p(x|z) / beta - log p(z)."""
        return Derivatives(*(d / beta + s for d, s in zip(self.distortion, self.surprise, strict=True)))


def local_shape(model: Model, images: Float[Tensor, "rows pixels"], latent: Float[Tensor, "rows latent"]) -> LocalShape:
    """Values, gradients and curvatures at one z per image.

    The curvature of the distortion leaves out the decoder's own, of which networks of ReLUs have none:
    J' diag(d^2 D / d output^2) J, with J the decoder's derivatives.
    """
    with torch.enable_grad():
        z = latent.detach().requires_grad_()
        output = model.decode(z)
        weight = torch.zeros_like(output).requires_grad_()
        (pulled,) = torch.autograd.grad(output, z, weight, create_graph=True)  # linear in the weight, by its slopes
        slopes = torch.stack(
            [torch.autograd.grad(pulled[:, d].sum(), weight, retain_graph=True)[0] for d in range(z.shape[1])]
        )
        output = output.detach().requires_grad_()
        distortion = model.distortion(output, images)
        (by_output,) = torch.autograd.grad(distortion.sum(), output, create_graph=True)
        (twice,) = torch.autograd.grad(by_output.sum(), output)
        surprise = -model.log_prior(z)
        (by_z,) = torch.autograd.grad(surprise.sum(), z, create_graph=True)
        prior = [torch.autograd.grad(by_z[:, d].sum(), z, retain_graph=True)[0] for d in range(z.shape[1])]
    return LocalShape(
        Derivatives(
            distortion.detach(),
            torch.einsum("dnp,np->nd", slopes, by_output.detach()),
            torch.einsum("dnp,enp->nde", slopes * twice.clamp(min=0), slopes),
        ),
        Derivatives(surprise.detach(), by_z.detach(), torch.stack(prior, dim=1)),
    )

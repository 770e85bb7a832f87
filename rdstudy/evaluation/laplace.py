"""The mode of p(z) p(x|z)^(1/beta) of each example, and the curvature there: Laplace's approximation.

    U(z) = -log p(x|z) / beta - log p(z)        z* = argmin U        p(z) p(x|z)^(1/beta) ~ N(z*, U''(z*)^-1)

Second derivatives are those of Gauss and Newton: they leave out the decoder's own curvature, of which networks of ReLUs
have none.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Model(Protocol):
    """Decoder, likelihood and prior of a VAE; its parameters are never changed. All in nats."""

    def decode(self, latent: Float[Tensor, "rows latent"]) -> Float[Tensor, "rows outputs"]:
        """What the likelihood takes; differentiable twice."""

    def distortion(
        self, output: Float[Tensor, "rows outputs"], images: Float[Tensor, "rows pixels"]
    ) -> Float[Tensor, " rows"]:
        """-log p(x|z), for what `decode` gave; differentiable twice."""

    def log_prior(self, z: Float[Tensor, "rows latent"]) -> Float[Tensor, " rows"]:
        """log p(z); differentiable twice."""


class Mode(NamedTuple):
    """A point of each example at which U is low, after some steps towards its least.

    Attributes:
        latent: the point.
        value: U there, nats.
        curvature: U'' there, by Gauss and Newton.
    """

    latent: Float[Tensor, "examples latent"]
    value: Float[Tensor, " examples"]
    curvature: Float[Tensor, "examples latent latent"]


def find_mode(
    model: Model,
    images: Float[Tensor, "examples pixels"],
    beta: float,
    start: Float[Tensor, "examples latent"],
    steps: int,
) -> Mode:
    """Damped Newton steps towards the mode (Levenberg 1944); a step that would raise U is not taken.

    Args:
        model: its decoder, likelihood and prior.
        images: intensities in [0, 1], in the model's type.
        beta: 1 for the model's posterior p(z|x); smaller values narrow it.
        start: where the steps begin.
        steps: how many.
    """
    latent = start
    damping = torch.full_like(latent[:, :1], 1.0)
    value, gradient, curvature = _derivatives(model, images, beta, latent)
    for _ in range(steps):
        eigenvalues, axes = torch.linalg.eigh(curvature)
        along = (axes.mT @ gradient[..., None])[..., 0] / (eigenvalues.abs() * (1 + damping) + damping)
        proposed = latent - (axes @ along[..., None])[..., 0]
        new_value, new_gradient, new_curvature = _derivatives(model, images, beta, proposed)
        better = (new_value < value)[:, None]
        latent = torch.where(better, proposed, latent)
        value = torch.where(better[:, 0], new_value, value)
        gradient = torch.where(better, new_gradient, gradient)
        curvature = torch.where(better[..., None], new_curvature, curvature)
        damping = torch.where(better, damping / 4, damping * 8).clamp(1e-6, 1e12)
    return Mode(latent, value, curvature)


def _derivatives(
    model: Model, images: Float[Tensor, "examples pixels"], beta: float, latent: Float[Tensor, "examples latent"]
) -> tuple[Float[Tensor, " examples"], Float[Tensor, "examples latent"], Float[Tensor, "examples latent latent"]]:
    """U at one z per example, its gradient, and its second derivatives; where these overflow, U is infinite."""
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
    gradient = torch.einsum("dnp,np->nd", slopes, by_output.detach()) / beta + by_z.detach()
    curvature = torch.einsum("dnp,enp->nde", slopes * twice.clamp(min=0), slopes) / beta + torch.stack(prior, dim=1)
    value = (distortion / beta + surprise).detach()
    finite = value.isfinite() & gradient.isfinite().all(-1) & curvature.flatten(1).isfinite().all(-1)
    value = value.masked_fill(~finite, torch.inf)
    curvature = torch.where(finite[:, None, None], curvature, torch.eye(latent.shape[1]).to(curvature))
    return value, gradient, curvature

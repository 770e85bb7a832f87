"""The mode of p(z) p(x|z)^(1/beta) of each example, and the curvature there: Laplace's approximation.

    U(z) = -log p(x|z) / beta - log p(z)        z* = argmin U        p(z) p(x|z)^(1/beta) ~ N(z*, U''(z*)^-1)

Second derivatives are those of Gauss and Newton (`curvature.py`).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from rdstudy.evaluation.curvature import Derivatives, Model, local_shape


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
) -> Derivatives:
    """U at one z per example, its gradient, and its second derivatives; where these overflow, U is infinite."""
    value, gradient, curvature = local_shape(model, images, latent).tempered(beta)
    finite = value.isfinite() & gradient.isfinite().all(-1) & curvature.flatten(1).isfinite().all(-1)
    value = value.masked_fill(~finite, torch.inf)
    curvature = torch.where(finite[:, None, None], curvature, torch.eye(latent.shape[1]).to(curvature))
    return Derivatives(value, gradient, curvature)

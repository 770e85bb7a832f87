"""Gradients by autograd, for parts that have none written by hand."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from rdstudy.models.objective import Posterior
from rdstudy.models.protocols import Architecture, Likelihood, Prior, Values


def distortion_gradient(
    likelihood: Likelihood,
    output: Float[Tensor, "models rows outputs"],
    images: Float[Tensor, "models rows pixels"],
    weight: Float[Tensor, "rows 1"],
) -> Float[Tensor, "models rows outputs"]:
    """Gradient of sum weight * distortion by the decoder's output."""
    output = output.detach().requires_grad_()
    with torch.enable_grad():
        total = (weight[:, 0] * likelihood.distortion(output, images)).sum()
    (found,) = torch.autograd.grad(total, [output])
    return found


def add_rate_gradient(
    prior: Prior,
    posterior: Posterior,
    noise: Float[Tensor, "models rows latent"],
    weight: Float[Tensor, "models rows 1"],
    p: Values,
    grad: Values,
    mean_grad: Float[Tensor, "models rows latent"],
    log_std_grad: Float[Tensor, "models rows latent"],
) -> tuple[Float[Tensor, "models rows latent"], Float[Tensor, "models rows latent"]]:
    """Both gradients with those of sum weight * rate added, z = mean + std * noise; the prior's own go into `grad`."""
    leaves = [each.detach().requires_grad_() for each in (*posterior, *p.values())]
    with torch.enable_grad():
        mean, log_std = leaves[:2]
        code = Posterior(mean, log_std)
        rate = prior.rate(code, code.sample(noise), dict(zip(p, leaves[2:], strict=True)))
        total = (weight[..., 0] * rate).sum()
    found = torch.autograd.grad(total, leaves, materialize_grads=True)
    for name, each in zip(p, found[2:], strict=True):
        grad[name].copy_(each)
    return mean_grad + found[0], log_std_grad + found[1]


class AutogradNetwork:
    """Encoder and decoder of an architecture without a gradient of its own; a `Network`."""

    last_bias: Tensor | None = None

    def __init__(
        self, architecture: Architecture, p: Values, grad: Values, product_dtype: torch.dtype, *, inputs: int = 0
    ) -> None:
        """
        Args:
            architecture: whose `encode` and `decode` are differentiated.
            p: its parameters, [models, *shape].
            grad: where their gradients are written.
            product_dtype: type in which it computes.
            inputs: rows of pseudo-inputs, which the encoder takes after those of the examples.
        """
        self._architecture, self._p, self._grad, self._dtype = architecture, p, grad, product_dtype
        self._n_inputs = inputs
        self._leaves: dict[str, Tensor] = {}
        self._inputs = self._code = self._latent = self._output = torch.empty(0)

    def begin(self) -> None:
        """Read the parameters."""
        self._leaves = {name: each.detach().to(self._dtype).requires_grad_() for name, each in self._p.items()}
        for each in self._grad.values():
            each.zero_()

    def encode(self, images: Float[Tensor, "models rows pixels"]) -> Float[Tensor, "models rows code"]:
        """Mean and log_std of q(z|x)."""
        examples = images.shape[1] - self._n_inputs
        self._inputs = images[:, examples:].detach().requires_grad_()
        with torch.enable_grad():
            if self._n_inputs:
                images = torch.cat([images[:, :examples], self._inputs], dim=1)
            self._code = self._architecture.encode(images, self._leaves)
        return self._code.detach()

    def decode(
        self, latent: Float[Tensor, "models rows latent"], *, bias: bool = True
    ) -> Float[Tensor, "models rows outputs"]:
        """The likelihood's input."""
        assert bias, "only a network with `last_bias` can leave it out"
        self._latent = latent.detach().requires_grad_()
        with torch.enable_grad():
            self._output = self._architecture.decode(self._latent, self._leaves)
        return self._output.detach().clone()

    def decoder_gradient(self, delta: Float[Tensor, "models rows outputs"]) -> Float[Tensor, "models rows latent"]:
        """Gradients of the decoder's parameters; that of the latent is returned."""
        latent_grad, *found = self._gradients(self._output, delta, [self._latent])
        self._add(found)
        return latent_grad

    def encoder_gradient(self, delta: Float[Tensor, "models rows code"]) -> Float[Tensor, "models inputs pixels"]:
        """Gradients of the encoder's parameters; that of the pseudo-inputs is returned."""
        input_grad, *found = self._gradients(self._code, delta, [self._inputs])
        self._add(found)
        return input_grad

    def finish(self) -> None:
        """Free the graph."""
        self._inputs = self._code = self._latent = self._output = torch.empty(0)

    def _gradients(self, output: Tensor, delta: Tensor, inputs: list[Tensor]) -> tuple[Tensor, ...]:
        leaves = [*inputs, *self._leaves.values()]
        return torch.autograd.grad(output, leaves, delta, materialize_grads=True)

    def _add(self, found: list[Tensor]) -> None:
        for place, each in zip(self._grad.values(), found, strict=True):
            place.add_(each)

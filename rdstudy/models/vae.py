"""One VAE as a plain `nn.Module`: the parts of a model put together.

The reference that the stack is tested against, and what `load_model` gives back.
"""

from __future__ import annotations

from copy import copy

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from rdstudy.models import parts
from rdstudy.models.objective import Posterior
from rdstudy.models.protocols import (
    CODE,
    EncodedPrior,
    FactorisedRate,
    HandWrittenDistortion,
    Parameter,
    SampledLikelihood,
)
from rdstudy.models.shape import ModelShape


class VAE(nn.Module):
    """A variational autoencoder with Gaussian posterior.

    Has no hidden randomness: `encode` gives the posterior, the caller samples, `decode` gives the likelihood's input
    (for a Bernoulli likelihood the pixels' logits).
    """

    def __init__(self, shape: ModelShape, row: Float[Tensor, " row"]) -> None:
        """
        Args:
            shape: sizes and parts.
            row: all parameters, one after the other, as in one row of a stack; the module's parameters are views of it.
        """
        super().__init__()
        self.shape = shape
        self._prior, self._likelihood = parts.prior(shape.prior), parts.likelihood(shape.likelihood)
        self._kept_code: Tensor | None = None
        for parameter, place in shape.places():
            *path, name = parameter.name.split(".")
            _submodule(self, path).register_parameter(name, nn.Parameter(row[place].view(parameter.shape)))

    def encode(self, images: Float[Tensor, "*examples pixels"]) -> Posterior:
        """q(z|x) of images with intensities in [0, 1]."""
        code = self._shaped(self.shape.network.encode(self._rows(images), self._network_values()), images)
        mean, log_std = code.chunk(2, dim=-1)
        return Posterior(mean, log_std)

    def decode(self, latent: Float[Tensor, "*examples latent"]) -> Float[Tensor, "*examples outputs"]:
        """What the likelihood takes; for a Bernoulli likelihood the logits of p(x|z)."""
        return self._shaped(self.shape.network.decode(self._rows(latent), self._network_values()), latent)

    def distortion(
        self, output: Float[Tensor, "*examples outputs"], images: Float[Tensor, "*examples pixels"]
    ) -> Float[Tensor, "*examples"]:
        """-log p(x|z) in nats, for what `decode` gave."""
        return self._likelihood.distortion(output, images)

    def distortion_gradient(
        self, output: Float[Tensor, "examples outputs"], images: Float[Tensor, "examples pixels"], weight: float
    ) -> Float[Tensor, "examples outputs"]:
        """Gradient of weight * the sum of `distortion` by the output, by hand where the likelihood has it.

        The output may be overwritten.
        """
        output = output.detach()
        if isinstance(self._likelihood, HandWrittenDistortion):
            return self._likelihood.distortion_gradient(output[None], images[None], output.new_full((1, 1), weight))[0]
        with torch.enable_grad():
            output.requires_grad_()
            (gradient,) = torch.autograd.grad(weight * self.distortion(output, images).sum(), output)
        return gradient

    def mean_image(self, output: Float[Tensor, "*examples outputs"]) -> Float[Tensor, "*examples pixels"]:
        """E[x|z] as intensities in [0, 1], for what `decode` gave."""
        return self._likelihood.mean_image(output)

    def sample_images(
        self, rng: np.random.Generator, output: Float[Tensor, "*examples outputs"]
    ) -> Float[Tensor, "*examples pixels"]:
        """Draws of x from p(x|z), for what `decode` gave; not the mean image.

        Raises:
            ValueError: the likelihood offers no draws.
        """
        if not isinstance(self._likelihood, SampledLikelihood):
            raise ValueError(f"likelihood {self.shape.likelihood} has no method `sample`, so it gives no images")
        return self._likelihood.sample(rng, output)

    @property
    def rate_in_closed_form(self) -> bool:
        """Whether `rate` is the KL in closed form, and so does not depend on z."""
        return self._prior.closed_form

    def rate(self, posterior: Posterior, z: Float[Tensor, "*examples latent"]) -> Float[Tensor, "*examples"]:
        """KL(q(z|x) || p(z)) in nats, or where it has no closed form log q(z|x) - log p(z) at these z."""
        stacked = Posterior(posterior.mean[None], posterior.log_std[None])
        return self._prior.rate(stacked, z[None], self._prior_values(like=z))[0]

    def latent_rates(self, posterior: Posterior) -> Float[Tensor, "*examples latent"] | None:
        """KL(q(z_d|x) || p(z_d)) of every latent dimension d in nats; None where the rate is no such sum."""
        if not isinstance(self._prior, FactorisedRate):
            return None
        stacked = Posterior(posterior.mean[None], posterior.log_std[None])
        return self._prior.latent_rates(stacked, self._prior_values(like=posterior.mean))[0]

    def log_prior(self, z: Float[Tensor, "*draws latent"]) -> Float[Tensor, "*draws"]:
        """log p(z) in nats, in the type of z."""
        return self._prior.log_density(z[None], self._prior_values(like=z))[0]

    def sample_prior(self, rng: np.random.Generator, n: int) -> Float[Tensor, "draws latent"]:
        """Draws from p(z), in the model's type and on its device."""
        parameter = next(self.parameters())
        return self._prior.sample(rng, n, self.shape.latent_dim, self._prior_values(like=parameter))[0].to(parameter)

    def frozen(self) -> VAE:
        """This model, for as long as its parameters do not change: pseudo-inputs of the prior are encoded only here.

        Shares the parameters, with which the prior's gradient is then not connected. For measures, which take the
        density of the prior thousands of times.
        """
        if not isinstance(self._prior, EncodedPrior):
            return self
        found = copy(self)
        found._kept_code = self._code_of_inputs(self._prior).detach()
        return found

    def row(self) -> Float[Tensor, " row"]:
        """All parameters as one row (a copy), padded with zeros: the inverse of the constructor."""
        row = next(self.parameters()).new_zeros(self.shape.row)
        for parameter, place in self.shape.places():
            row[place] = self.get_parameter(parameter.name).detach().reshape(-1)
        return row

    def _network_values(self) -> dict[str, Tensor]:
        return self._stack_of_one(self.shape.network_parameters)

    def _prior_values(self, *, like: Tensor) -> dict[str, Tensor]:
        """What the prior takes, in the type of `like`; pseudo-inputs are encoded in the model's."""
        values = self._stack_of_one(self.shape.prior_parameters, prefix="prior.")
        if isinstance(self._prior, EncodedPrior):
            values[CODE] = self._code_of_inputs(self._prior) if self._kept_code is None else self._kept_code
        return {name: value.to(like.dtype) for name, value in values.items()}

    def _code_of_inputs(self, prior: EncodedPrior) -> Float[Tensor, "1 inputs code"]:
        inputs = prior.inputs(self._stack_of_one(self.shape.input_parameters, prefix="prior."))
        return self.shape.network.encode(inputs, self._network_values())

    def _stack_of_one(self, parameters: tuple[Parameter, ...], *, prefix: str = "") -> dict[str, Tensor]:
        """Parameters by their names without the prefix."""
        return {each.name.removeprefix(prefix): self.get_parameter(each.name)[None] for each in parameters}

    @staticmethod
    def _rows(x: Tensor) -> Float[Tensor, "1 rows numbers"]:
        return x.reshape(1, -1, x.shape[-1])

    @staticmethod
    def _shaped(output: Float[Tensor, "1 rows outputs"], x: Tensor) -> Tensor:
        return output.view(*x.shape[:-1], output.shape[-1])


def _submodule(module: nn.Module, path: list[str]) -> nn.Module:
    """The module at this path, made where there is none."""
    for name in path:
        if name not in module._modules:
            module.add_module(name, nn.Module())
        found = module._modules[name]
        assert found is not None
        module = found
    return module

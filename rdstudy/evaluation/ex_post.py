"""A prior fitted to the codes of a trained model, whose encoder and decoder stay as they are (ex post).

    R(p) = E_x KL(q(z|x) || p(z)) = I + KL(q(z) || p(z))

The prior that makes R least is the closest to the aggregate posterior q(z); distortion and mutual information do not
change, so the fall of R is that of the marginal KL and of -ELBO. Priors are fitted in coordinates in which the codes
have mean 0 and standard deviation 1: there the standard normal is the Gaussian of least R, m = E m(x) and
s^2 = E s(x)^2 + Var m(x), with which every prior that begins as the standard normal begins. Pseudo-inputs go through
the model's encoder.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rdstudy.models import parts
from rdstudy.models.objective import Posterior
from rdstudy.models.protocols import CODE, EncodedPrior, Prior, Values
from rdstudy.models.vae import VAE

LEARNING_RATE, BATCH = 0.01, 512
"""Of Adam, falling linearly to 0; and codes per step."""


@dataclass(frozen=True)
class FittedPrior:
    """z = centre + scale y, with y from a prior of the registry. All float64.

    Attributes:
        prior: of y.
        values: its parameters, as a stack of one.
        centre: mean of the codes it was fitted to, in latent units.
        scale: their standard deviation.
        change: fall of their mean rate in the second half of the search, in nats.
    """

    prior: Prior
    values: Values
    centre: Float[Tensor, " latent"]
    scale: Float[Tensor, " latent"]
    change: float

    def log_density(self, z: Float[Tensor, "*draws latent"]) -> Float[Tensor, "*draws"]:
        """log p(z) in nats, float64."""
        y = (z.double() - self.centre) / self.scale
        found: Tensor = self.prior.log_density(y[None], self.values)[0] - self.scale.log().sum()
        return found

    def rate(self, posterior: Posterior, z: Float[Tensor, "examples latent"]) -> Float[Tensor, " examples"]:
        """KL(q(z|x) || p(z)) in nats, or an unbiased estimate from z, one draw of q(z|x) each."""
        moved = _moved(posterior, self.centre, self.scale)
        y = (z.double() - self.centre) / self.scale
        found: Tensor = self.prior.rate(moved, y[None], self.values)[0]
        return found

    def sample(self, rng: np.random.Generator, n: int) -> Float[Tensor, "draws latent"]:
        """Draws from p(z)."""
        return self.centre + self.scale * self.prior.sample(rng, n, len(self.centre), self.values)[0].double()


def fit_prior(
    name: str, posterior: Posterior, rng: np.random.Generator, *, steps: int, model: VAE | None = None
) -> FittedPrior:
    """The prior that gives these codes the least mean rate, by Adam.

    Args:
        name: as in a study's grid, such as `mixture(32)`.
        posterior: q(z|x) of the examples, [examples, latent].
        model: whose codes they are; only a prior made of pseudo-inputs needs it, for its encoder.
        rng: source of the initial values, the batches and the draws.
        steps: of the search; each sees 512 codes with a fresh draw of z.

    Returns:
        The end of the search, or its beginning where the mean rate of all codes is less there.

    Raises:
        ValueError: the prior has nothing to fit.
    """
    prior = parts.prior(name)
    mean, log_std = (part.detach().double() for part in posterior)
    learned = prior.parameters(mean.shape[-1])
    if isinstance(prior, EncodedPrior) and model is not None:
        learned += prior.input_parameters(model.shape.pixels)
    if not learned:
        raise ValueError(f"prior {name} has no parameters, so there is nothing to fit")
    centre = mean.mean(0)
    scale = ((2 * log_std).exp().mean(0) + mean.var(0, correction=0)).sqrt()
    codes = _moved(Posterior(mean, log_std), centre, scale)
    values = {
        each.name: torch.from_numpy(rng.uniform(-each.bound, each.bound, (1, *each.shape))).to(mean) for each in learned
    }

    def known() -> Values:
        """What the prior takes: its parameters, and the code of its pseudo-inputs."""
        if not isinstance(prior, EncodedPrior) or model is None:
            return values
        inputs = prior.inputs(values)[0].to(next(model.parameters()))
        return {**values, CODE: torch.cat(_moved(model.encode(inputs), centre, scale), dim=-1)}

    judged = _noise(rng, tuple(codes.mean.shape), mean)

    def rate_of_all() -> float:
        return float(prior.rate(codes, codes.sample(judged), known()).mean())

    with torch.no_grad():
        begun, begun_rate = {key: value.clone() for key, value in known().items()}, rate_of_all()
    leaves = [value.requires_grad_() for value in values.values()]
    optimizer = torch.optim.Adam(leaves, lr=LEARNING_RATE)
    halfway = begun_rate
    for step in range(steps):
        chosen = torch.from_numpy(rng.integers(len(mean), size=min(BATCH, len(mean)))).to(mean.device)
        batch = Posterior(codes.mean[:, chosen], codes.log_std[:, chosen])
        noise = _noise(rng, tuple(batch.mean.shape), mean)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 - step / steps)
        with torch.enable_grad():
            rate = prior.rate(batch, batch.sample(noise), known()).mean()
        for leaf, gradient in zip(leaves, torch.autograd.grad(rate, leaves), strict=True):  # the model gets none
            leaf.grad = gradient
        optimizer.step()
        if step + 1 == steps // 2:
            with torch.no_grad():
                halfway = rate_of_all()
    with torch.no_grad():
        ended, found = rate_of_all(), {key: value.detach() for key, value in known().items()}
    return FittedPrior(prior, found if ended < begun_rate else begun, centre, scale, halfway - ended)


class WithPrior:
    """A model with another prior: what importance sampling needs of it."""

    def __init__(self, model: VAE, prior: FittedPrior) -> None:
        self._model, self._prior = model, prior

    def encode(self, images: Float[Tensor, "examples pixels"]) -> Posterior:
        """The model's q(z|x)."""
        return self._model.encode(images)

    def decode(self, latent: Float[Tensor, "*rows latent"]) -> Float[Tensor, "*rows outputs"]:
        """The model's."""
        return self._model.decode(latent)

    def distortion(
        self, output: Float[Tensor, "*rows outputs"], images: Float[Tensor, "*rows pixels"]
    ) -> Float[Tensor, "*rows"]:
        """The model's -log p(x|z)."""
        return self._model.distortion(output, images)

    def log_prior(self, z: Float[Tensor, "*draws latent"]) -> Float[Tensor, "*draws"]:
        """log p(z) of the fitted prior, in the type of z."""
        return self._prior.log_density(z).to(z.dtype)

    def sample_prior(self, rng: np.random.Generator, n: int) -> Float[Tensor, "draws latent"]:
        """Draws from the fitted prior, in the model's type."""
        return self._prior.sample(rng, n).to(next(self._model.parameters()))


def _moved(posterior: Posterior, centre: Float[Tensor, " latent"], scale: Float[Tensor, " latent"]) -> Posterior:
    """The posteriors in the prior's coordinates, as a stack of one."""
    mean, log_std = (part.double() for part in posterior)
    return Posterior(((mean - centre) / scale)[None], (log_std - scale.log())[None])


def _noise(rng: np.random.Generator, shape: tuple[int, ...], like: Tensor) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape)).to(like)

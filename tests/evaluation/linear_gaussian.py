"""A linear decoder with Gaussian noise, of which every posterior and likelihood is known."""

import math

import numpy as np
import torch

from rdstudy.models.objective import Posterior
from rdstudy.models.priors.standard_normal import StandardNormal

PRIOR = StandardNormal()


class LinearGaussian:
    """x = z W + noise, of which q* is known; the encoder is off by `shift` of q*'s stds, `width` times as wide."""

    rate_in_closed_form = True

    def __init__(self, snr, latent=10, pixels=12, shift=0.0, width=1.0, beta=1.0):
        rng = np.random.default_rng(5)
        axes = np.linalg.qr(rng.standard_normal((pixels, pixels)))[0][:latent]
        mixed = np.eye(latent) + 0.3 * rng.standard_normal((latent, latent)) / math.sqrt(latent)
        self.weight = torch.from_numpy(snr * mixed @ axes)
        self.shift, self.width, self.beta = shift, width, beta

    def images(self, examples):
        rng = np.random.default_rng(6)
        z, noise = (torch.from_numpy(rng.standard_normal((examples, n))) for n in self.weight.shape)
        return z @ self.weight + noise

    def best(self, images):
        """The Gaussian of least D + beta R: the tempered posterior's mean, and 1 / the diagonal of its precision."""
        precision = self.precision(1 / self.beta)
        return Posterior(
            self.tempered_mean(images, 1 / self.beta), (-0.5 * precision.diagonal().log()).expand(len(images), -1)
        )

    def precision(self, t):
        """Of p(z) p(x|z)^t."""
        gram = self.weight @ self.weight.T
        return t * gram + torch.eye(len(gram), dtype=torch.float64)

    def tempered_mean(self, images, t):
        return torch.linalg.solve(self.precision(t), (images @ self.weight.T * t).T).T

    def encode(self, images):
        mean, log_std = self.best(images)
        return Posterior(mean + self.shift * log_std.exp(), log_std + math.log(self.width))

    def decode(self, latent):
        return latent @ self.weight

    def distortion(self, output, images):
        return 0.5 * ((images - output).square() + math.log(2 * math.pi)).sum(-1)

    def distortion_gradient(self, output, images, weight):
        return weight * (output - images).detach()

    def rate(self, posterior, z):
        return PRIOR.rate(posterior)

    def log_prior(self, z):
        return PRIOR.log_density(z)

    def sample_prior(self, rng, n):
        return torch.from_numpy(rng.standard_normal((n, len(self.weight))))

    def sample_images(self, rng, output):
        return output + torch.from_numpy(rng.standard_normal(tuple(output.shape)))

    def sample_posterior(self, images, draws, t=1.0):
        """Of p(z) p(x|z)^t, [images, draws, latent]."""
        noise = torch.from_numpy(np.random.default_rng(7).standard_normal((len(images), draws, len(self.weight))))
        root = torch.linalg.cholesky(self.precision(t).inverse())
        return self.tempered_mean(images, t)[:, None] + noise @ root.T

    def nll(self, images):
        """-log p(x) of every image: x is Gaussian with covariance W' W + I."""
        pixels = images.shape[1]
        covariance = self.weight.T @ self.weight + torch.eye(pixels, dtype=torch.float64)
        zero = torch.zeros(pixels, dtype=torch.float64)
        return -torch.distributions.MultivariateNormal(zero, covariance).log_prob(images)

    def terms(self, images, posterior):
        """D and R of every example in closed form."""
        spread = 0.5 * (2 * posterior.log_std).exp() @ self.weight.square().sum(1)
        return self.distortion(posterior.mean @ self.weight, images) + spread, PRIOR.rate(posterior)

    def curve(self, images, t):
        """D(t) and R(t) of every image in closed form."""
        precision, mean = self.precision(t), self.tempered_mean(images, t)
        covariance = precision.inverse()
        spread = 0.5 * (self.weight @ self.weight.T * covariance).sum()
        rate = 0.5 * (covariance.trace() + mean.square().sum(1) - len(precision) + precision.logdet())
        return self.distortion(mean @ self.weight, images) + spread, rate

import torch
from torch.distributions import Normal, kl_divergence

from rdstudy.models.objective import Posterior
from rdstudy.models.priors.gaussian import Gaussian
from rdstudy.models.priors.mixture import Mixture
from rdstudy.models.priors.standard_normal import StandardNormal
from tests.models.test_contracts import tensor

P = {"mean": tensor(2, 3, seed=1), "log_std": 0.5 * tensor(2, 3, seed=2)}


def test_the_rate_is_the_kl_of_two_gaussians():
    q = Posterior(tensor(2, 5, 3), 0.4 * tensor(2, 5, 3, seed=3))
    prior = Normal(P["mean"][:, None], P["log_std"][:, None].exp())
    expected = kl_divergence(Normal(q.mean, q.log_std.exp()), prior).sum(-1)
    torch.testing.assert_close(Gaussian().rate(q, q.mean, P), expected)


def test_it_is_a_mixture_of_one():
    z = tensor(2, 7, 3, seed=4)
    as_mixture = {name: each[:, None] for name, each in P.items()} | {"logits": torch.zeros(2, 1)}
    torch.testing.assert_close(Gaussian().log_density(z, P), Mixture(1).log_density(z, as_mixture))


def test_it_begins_as_the_standard_normal():
    assert all(parameter.bound == 0 for parameter in Gaussian().parameters(3))
    zero = {parameter.name: torch.zeros(2, *parameter.shape).double() for parameter in Gaussian().parameters(3)}
    z = tensor(2, 7, 3)
    torch.testing.assert_close(Gaussian().log_density(z, zero), StandardNormal().log_density(z))


def test_its_rate_is_least_at_the_mean_and_variance_of_all_codes():
    """E KL(q(z|x) || N(m, s^2)) is least at m = E mean(x), s^2 = E std(x)^2 + Var mean(x)."""
    q = Posterior(tensor(1, 50, 3) + 2, 0.4 * tensor(1, 50, 3, seed=3))
    mean = q.mean.mean(1)
    variance = (2 * q.log_std).exp().mean(1) + q.mean.var(1, unbiased=False)
    p = {"mean": mean.clone().requires_grad_(), "log_std": (0.5 * variance.log()).requires_grad_()}
    found = torch.autograd.grad(Gaussian().rate(q, q.mean, p).mean(), list(p.values()))
    for gradient in found:
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-12, rtol=0)

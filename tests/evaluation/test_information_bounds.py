"""Bounds of mutual information and marginal KL lie on their sides of closed forms, close to them where r can be."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rdstudy.evaluation.gaussian_mixture import fitted_mixtures
from rdstudy.evaluation.information_bounds import InformationBounds, information_bounds
from rdstudy.evaluation.measures.information_bounds import InformationBounds as Measure
from rdstudy.evaluation.mutual_information import decompose_rate
from rdstudy.evaluation.population import encode_population
from rdstudy.models.objective import Posterior
from rdstudy.models.priors.standard_normal import StandardNormal
from rdstudy.models.shape import ModelShape
from rdstudy.models.stacked import initial_parameters
from rdstudy.models.vae import VAE

PRIOR = StandardNormal()
REPETITIONS = 30


def philox(seed=0):
    return np.random.Generator(np.random.Philox(seed))


def tensor(values):
    return torch.as_tensor(values, dtype=torch.float64)


def bounds(mean, std, seed=0, **sizes) -> InformationBounds:
    code = Posterior(tensor(mean), tensor(std).log().expand_as(tensor(mean)))
    rate = PRIOR.rate(code)
    return information_bounds(*code, rate, PRIOR.log_density, generator=philox(10_000 + seed), **sizes)


def linear_gaussian(snr, examples, latent=10, scale=1.0, seed=0):
    """Codes of x = snr z + noise under the exact posterior, then scaled: q(z) = N(0, scale^2)."""
    std = 1 / math.sqrt(1 + snr**2)
    rng = philox(seed)
    return scale * math.sqrt(1 - std**2) * rng.standard_normal((examples, latent)), scale * std


def clusters(examples, latent, number=8, std=0.05, seed=0):
    """Every code is one of a few that do not overlap."""
    rng = philox(seed)
    return rng.standard_normal((number, latent))[rng.integers(number, size=examples)], std


def holds(found: InformationBounds, information: float, kl: float) -> bool:
    """Whether every bound is on its side of the truth within 3 standard errors."""
    return (
        found.mi_lower.value <= information + 3 * found.mi_lower.standard_error + 1e-9
        and found.mi_upper.value >= information - 3 * found.mi_upper.standard_error - 1e-9
        and found.marginal_kl_lower.value <= kl + 3 * found.marginal_kl_lower.standard_error + 1e-9
        and found.marginal_kl_upper.value >= kl - 3 * found.marginal_kl_upper.standard_error - 1e-9
    )


@pytest.mark.parametrize("examples", [500, 8000])
@pytest.mark.parametrize("snr", [1.0, 10.0, 100.0])
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_a_linear_gaussian_code_lies_between_its_bounds_and_close_to_the_upper_one(snr, examples, scale):
    """I = 5 log(1 + snr^2): 3.47, 23.08 and 46.05 nats. At scale 1 q(z) is the prior, at 3 it is far from it."""
    information, kl = 5 * math.log(1 + snr**2), 5 * (scale**2 - 1 - math.log(scale**2))
    found = bounds(*linear_gaussian(snr, examples, scale=scale))
    assert holds(found, information, kl)
    assert found.ceiling == math.log(examples)
    assert found.mi_lower.value <= found.ceiling + 1e-12
    fitted = 0.0 if scale == 1 else 65 / (2 * 0.4 * examples)  # of 65 parameters on 4 examples of 10, as in Akaike 1974
    slack = 3 * found.mi_upper.standard_error + 1.5 * fitted + 0.03
    assert found.mi_upper.value == pytest.approx(information, abs=slack)
    assert found.marginal_kl_lower.value == pytest.approx(kl, abs=3 * found.marginal_kl_lower.standard_error + slack)


def test_what_one_estimate_calls_saturated_is_not_identified_by_the_bounds():
    """Signal-to-noise 10, N = 8,000: I is 23.08 and the marginal KL 0, where the sample says 8.99 and 14.08."""
    mean, std = linear_gaussian(10.0, 8000)
    old = decompose_rate(tensor(mean), tensor(std).log().expand(8000, 10), generator=philox(9))
    assert old.marginal_kl.value == pytest.approx(14.09, abs=0.2)
    assert old.marginal_kl.standard_error < 1e-3
    found = bounds(mean, std)
    assert found.mi_lower.value == pytest.approx(8.99, abs=0.01)
    assert found.mi_upper.value == pytest.approx(23.08, abs=3 * found.mi_upper.standard_error + 0.03)
    assert abs(found.marginal_kl_lower.value) <= 3 * found.marginal_kl_lower.standard_error + 0.03
    assert found.prior_weight > 0.8


@pytest.mark.parametrize("examples", [40, 500, 4000])
def test_collapsed_codes_have_no_information_and_no_marginal_kl(examples):
    found = bounds(np.zeros((examples, 10)), 1.0)
    assert holds(found, 0.0, 0.0)
    assert found.mi_lower.value == pytest.approx(0, abs=1e-9)
    assert found.mi_upper.value <= 3 * found.mi_upper.standard_error + (0.03 if examples > 40 else 0.5)


@pytest.mark.parametrize("latent", [2, 10])
def test_separated_clusters_are_identified_as_the_logarithm_of_their_number(latent):
    """A half of 2,000 codes has 100 of a cluster to fit 20 or 65 numbers to."""
    mean, std = clusters(2000, latent, std=0.01)
    found = bounds(mean, std)
    information = math.log(8)
    assert found.mi_lower.value == pytest.approx(information, abs=0.02)
    assert information - 3 * found.mi_upper.standard_error <= found.mi_upper.value <= information + 0.4
    rate = PRIOR.rate(Posterior(tensor(mean), tensor(std).log().expand(2000, latent))).mean().item()
    assert found.marginal_kl_upper.value - found.marginal_kl_lower.value < 0.5
    assert found.marginal_kl_lower.value <= rate - math.log(8) + 0.1


def test_a_marginal_of_two_gaussians_is_found():
    """q(z) = 1/2 N(-2, 1) + 1/2 N(2, 1) in each of two dimensions, of sharp codes: I is H(q(z)) - H(q(z|x))."""
    rng = philox(3)
    std = 0.05
    mean = rng.choice([-2.0, 2.0], (4000, 2)) + math.sqrt(1 - std**2) * rng.standard_normal((4000, 2))
    x = torch.linspace(-10, 10, 20001, dtype=torch.float64)
    density = torch.stack([PRIOR.log_density((x - m)[:, None]) for m in (-2, 2)]).logsumexp(0) - math.log(2)
    weight = density.exp() * (x[1] - x[0])
    prior = PRIOR.log_density(x[:, None])
    information = 2 * (-(weight * density).sum().item() - (0.5 * math.log(2 * math.pi * math.e) + math.log(std)))
    kl = 2 * (weight * (density - prior)).sum().item()
    found = bounds(mean, std)
    assert holds(found, information, kl)
    assert found.mi_upper.value == pytest.approx(information, abs=3 * found.mi_upper.standard_error + 0.05)
    gaussian = bounds(mean, std, components=1)
    assert gaussian.mi_upper.value > information + 0.15


def test_codes_of_little_information_have_bounds_that_meet_though_no_gaussian_fits_their_marginal():
    """On a ring as wide as a code the other codes themselves are the density that fits."""
    angle = philox(1).uniform(0, 2 * math.pi, 4000)
    mean = 2 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    found = bounds(mean, 0.3, components=1)
    assert found.mi_upper.value - found.mi_lower.value < 0.05


def test_a_code_far_from_all_others_costs_no_more_than_the_prior_and_its_weight():
    """One code in 2,000 lies 30 stds of the fitted density away: by that alone it would cost 450 nats or more."""
    mean, std = linear_gaussian(10.0, 2000, latent=4, scale=0.1)
    mean[7] = 3.0
    rate = PRIOR.rate(Posterior(tensor(mean), tensor(std).log().expand(2000, 4)))
    found = bounds(mean, std)
    information = 2 * math.log(101)
    assert information - 0.1 < found.mi_upper.value < information + 0.5
    assert found.mi_upper.value <= rate.mean().item() - 5
    fitted = next(fitted_mixtures(tensor(np.delete(mean, 7, axis=0)), 1, "full"))
    assert fitted.log_density(tensor(mean[7:8])).item() < -1000


@pytest.mark.parametrize("kind", ["linear", "clusters", "collapsed"])
def test_over_repetitions_the_bounds_are_on_their_side_and_their_errors_are_their_spread(kind):
    """Fresh examples and draws, 30 times: the error is about the distribution, not about these codes."""
    values: dict[str, list[float]] = {}
    errors: dict[str, list[float]] = {}
    truth = {"linear": (math.log(5), 0.0), "clusters": (math.log(8), None), "collapsed": (0.0, 0.0)}[kind]
    for k in range(REPETITIONS):
        if kind == "linear":
            code = linear_gaussian(2.0, 300, latent=2, seed=k)
        elif kind == "clusters":
            code = (philox(99).standard_normal((8, 2))[philox(k).integers(8, size=300)], 0.01)
        else:
            code = (np.zeros((300, 2)), 1.0)
        found = bounds(code[0], code[1], seed=1000 + k, components=2)
        for name in ("mi_lower", "mi_upper", "marginal_kl_lower", "marginal_kl_upper"):
            values.setdefault(name, []).append(getattr(found, name).value)
            errors.setdefault(name, []).append(getattr(found, name).standard_error)
    mean = {name: np.mean(each) for name, each in values.items()}
    spread = {name: np.std(each, ddof=1) for name, each in values.items()}
    assert mean["mi_lower"] <= truth[0] + 3 * spread["mi_lower"] / math.sqrt(REPETITIONS) + 1e-9
    assert mean["mi_upper"] >= truth[0] - 3 * spread["mi_upper"] / math.sqrt(REPETITIONS)
    if kind == "linear":
        assert np.sqrt(np.mean(np.square(errors["mi_upper"]))) == pytest.approx(spread["mi_upper"], rel=0.45)
        assert np.sqrt(np.mean(np.square(errors["mi_lower"]))) == pytest.approx(spread["mi_lower"], rel=0.45)


@pytest.mark.parametrize("examples", [1, 2, 3, 5, 11, 30])
def test_however_few_the_examples_the_bounds_are_finite_and_those_of_i_at_most_log_n_and_near_the_rate(examples):
    mean = philox(2).standard_normal((examples, 3))
    found = bounds(mean, 0.1)
    assert -1e-9 <= found.mi_lower.value <= math.log(examples) + 1e-9
    rate = PRIOR.rate(Posterior(tensor(mean), tensor(0.1).log().expand(examples, 3))).mean().item()
    assert found.mi_upper.value <= rate + 4.7
    assert math.isnan(found.mi_upper.standard_error) == (examples == 1)


@settings(max_examples=40, deadline=None)
@given(
    examples=st.integers(1, 120),
    latent=st.integers(1, 4),
    spread=st.floats(0, 1000),
    log_std=st.floats(-12, 2),
    jitter=st.floats(0, 1),
    distinct=st.integers(1, 120),
    draw=st.integers(0, 2**32 - 1),
)
def test_no_codes_make_a_bound_infinite_or_the_lower_one_exceed_log_n(
    examples, latent, spread, log_std, jitter, distinct, draw
):
    rng = philox(draw)
    mean = (spread * rng.standard_normal((distinct, latent)))[rng.integers(distinct, size=examples)]
    found = bounds(mean, np.exp(log_std + jitter * rng.standard_normal((examples, latent))))
    values = (found.mi_lower, found.mi_upper, found.marginal_kl_lower, found.marginal_kl_upper)
    assert np.isfinite([each.value for each in values]).all()
    assert found.mi_lower.value <= math.log(examples) + 1e-9
    assert 0 <= found.prior_weight <= 1


def test_rate_is_the_sum_of_each_bound_of_one_part_and_the_other_bound_of_the_other():
    mean, std = linear_gaussian(3.0, 900, latent=4, scale=1.5)
    found = bounds(mean, std, examples=300)
    rate = PRIOR.rate(Posterior(tensor(mean), tensor(std).log().expand(900, 4))).mean().item()
    assert found.mi_lower.value + found.marginal_kl_upper.value == pytest.approx(rate, rel=1e-12)
    assert found.mi_upper.value + found.marginal_kl_lower.value == pytest.approx(rate, rel=1e-12)
    assert found.mi_lower.count == 300
    assert found.ceiling == math.log(900)


def test_a_subsample_of_draws_keeps_the_ceiling_and_the_value():
    mean, std = linear_gaussian(1.0, 6000, latent=3)
    all_, some = bounds(mean, std), bounds(mean, std, examples=1500)
    for name in ("mi_lower", "mi_upper", "marginal_kl_lower", "marginal_kl_upper"):
        one, other = getattr(all_, name), getattr(some, name)
        assert other.value == pytest.approx(
            one.value, abs=4 * math.hypot(one.standard_error, other.standard_error) + 0.02
        )
        assert other.standard_error > one.standard_error


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_one_gaussian_has_the_moments_of_its_points(covariance):
    points = tensor(philox().standard_normal((300, 3)) * [1, 1e-3, 1e3] + [5, 0, 1e4])
    points[:, 0] += 1e-3 * points[:, 2]
    fitted = next(fitted_mixtures(points, 1, covariance))
    spread = torch.cov(points.T, correction=0)
    if covariance == "diagonal":
        spread = spread.diagonal().diag()
    expected = torch.distributions.MultivariateNormal(points.mean(0), spread).log_prob(points)
    torch.testing.assert_close(fitted.log_density(points), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_a_fitted_mixture_is_a_density_and_more_components_explain_its_points_better(covariance):
    mean, _ = clusters(1500, 1)
    points = tensor(mean + 0.2 * philox(5).standard_normal((1500, 1)))
    grid = torch.linspace(-8, 8, 8001, dtype=torch.float64)[:, None]
    explained = []
    for mixture in fitted_mixtures(points, 8, covariance):
        assert (mixture.log_density(grid).exp().sum() * 0.002).item() == pytest.approx(1, abs=1e-6)
        explained.append(mixture.log_density(points).mean().item())
    assert len(explained) == 4
    assert np.all(np.diff(explained) > -1e-3)


def test_the_measure_of_a_mixture_prior_has_the_same_identities():
    shape = ModelShape(15, 1, 9, 3, prior="mixture(3)")
    vae = VAE(shape, 1.5 * initial_parameters(shape, "a", torch.float32))
    images = torch.from_numpy(philox(4).integers(0, 256, (400, 15), dtype=np.uint8))
    with torch.no_grad():
        population = encode_population(vae, images, np.arange(400), philox(1), beta=1.0)
        columns = Measure().compute(population, philox(2))
    found = {name: value for name, value in columns.items() if isinstance(value, float)}
    rate = population.rate.mean().item()
    assert found["mi_lower_nats"] + found["marginal_kl_upper_nats"] == pytest.approx(rate, abs=1e-9)
    assert found["mi_upper_nats"] + found["marginal_kl_lower_nats"] == pytest.approx(rate, abs=1e-9)
    assert found["mi_lower_nats"] <= found["mi_upper_nats"] + 3 * found["mi_upper_se"]
    assert columns["mi_bounds_examples"] == 400

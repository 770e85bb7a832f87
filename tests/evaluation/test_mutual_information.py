import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rdstudy.evaluation import mutual_information as mutual_module
from rdstudy.evaluation.aggregate_posterior import log_aggregate_posterior
from rdstudy.evaluation.gaussian import log_posterior
from rdstudy.evaluation.mutual_information import decompose_rate, marginal_kl, mutual_information
from rdstudy.models.priors.standard_normal import StandardNormal


def philox(seed=0):
    return np.random.Generator(np.random.Philox(seed))


def tensor(values):
    return torch.as_tensor(values, dtype=torch.float64)


def quantiles(examples):
    """A standard normal population without chance: midpoints of equally probable pieces, at unit variance."""
    x = torch.special.ndtri((torch.arange(examples, dtype=torch.float64) + 0.5) / examples)
    return x / x.std(correction=0)


def linear_codes(slope, std, per_axis=64):
    """Codes N(slope x, std^2) of a linear-Gaussian VAE in two latents, x standard normal."""
    grid = torch.cartesian_prod(quantiles(per_axis), quantiles(per_axis))
    return grid * tensor(slope), tensor(std).log().expand_as(grid)


def some_codes(examples=48):
    """Codes of all kinds in one dimension: a third collapsed, a third sharp, a third between."""
    rng = np.random.default_rng(3)
    std = np.repeat([1.0, 0.01, 0.3], examples // 3)
    mean = rng.standard_normal(len(std)) * np.where(std == 1, 0.1, 2.0)
    return tensor(mean)[:, None], tensor(std).log()[:, None]


def by_quadrature(mean, log_std, points=4001):
    """I of one-dimensional codes, without draws."""
    score = torch.linspace(-9, 9, points, dtype=torch.float64)
    weight = torch.softmax(-0.5 * score.square(), 0)
    z = mean + log_std.exp() * score
    own = log_posterior(z.reshape(-1, 1), mean.expand_as(z).reshape(-1, 1), log_std.expand_as(z).reshape(-1, 1))
    aggregate = log_aggregate_posterior(z.reshape(-1, 1), mean, log_std)
    return ((own - aggregate).view(z.shape) * weight).sum(1).mean().item()


@pytest.mark.parametrize(("spacing", "nats"), [(0.0, 0.0), (1e3, math.log(8))])
def test_codes_say_between_nothing_and_which_example(spacing, nats):
    mean = spacing * torch.arange(8.0)[:, None].expand(8, 3)
    found = mutual_information(mean, torch.zeros(8, 3), generator=philox())
    assert found.value == pytest.approx(nats, abs=1e-12)
    assert found.standard_error <= 1e-12
    assert found.count == 8


@pytest.mark.parametrize(
    ("slope", "std"), [((1.0, 0.5), (0.5, 1.0)), ((0.8, 0.6), (0.6, 0.8)), ((2.0, 0.0), (1.0, 2.0))]
)
def test_a_linear_gaussian_code_has_its_closed_form_information_and_marginal_kl(slope, std):
    mean, log_std = linear_codes(slope, std)
    variance = tensor(slope).square() + tensor(std).square()  # of q(z), a Gaussian
    information = 0.5 * (variance / tensor(std).square()).log().sum().item()
    kl = 0.5 * (variance - 1 - variance.log()).sum().item()
    found = decompose_rate(mean, log_std, generator=philox(1), draws_per_example=4)
    # 64 midpoints an axis stand for a normal population with an error of about 1e-3 nats at these widths
    assert found.mutual_information.value == pytest.approx(
        information, abs=3 * found.mutual_information.standard_error + 2e-3
    )
    assert found.rate.value == pytest.approx(information + kl, rel=1e-12)
    assert found.marginal_kl.value == pytest.approx(kl, abs=3 * found.marginal_kl.standard_error + 2e-3)
    assert found.mutual_information.standard_error < 0.01


def test_a_code_whose_aggregate_is_the_prior_has_no_marginal_kl():
    mean, log_std = linear_codes((0.8, 0.6), (0.6, 0.8))
    found = marginal_kl(mean, log_std, generator=philox(2), draws_per_example=4)
    assert abs(found.value) <= 3 * found.standard_error + 2e-3


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("examples", [None, 20])
def test_rate_is_information_plus_marginal_kl_also_between_calls_that_share_draws(draws, examples):
    mean, log_std = some_codes()
    settings = {"draws_per_example": draws, "examples": examples}
    whole = decompose_rate(mean, log_std, generator=philox(5), **settings)
    information = mutual_information(mean, log_std, generator=philox(5), **settings)
    kl = marginal_kl(mean, log_std, generator=philox(5), **settings)
    assert (information, kl) == (whole.mutual_information, whole.marginal_kl)
    assert whole.rate.value == pytest.approx(information.value + kl.value, rel=1e-15)


def test_the_marginal_kl_agrees_with_its_direct_average_over_draws():
    mean, log_std = some_codes()
    rng = np.random.default_rng(0)
    index = torch.from_numpy(rng.integers(0, len(mean), 40_000))
    z = mean[index] + log_std[index].exp() * tensor(rng.standard_normal((40_000, 1)))
    terms = log_aggregate_posterior(z, mean, log_std, drawn_from=index) - StandardNormal().log_density(z)
    found = marginal_kl(mean, log_std, generator=philox(1), draws_per_example=400)
    error = math.hypot(found.standard_error, terms.std().item() / math.sqrt(40_000))
    assert abs(found.value - terms.mean().item()) <= 3.5 * error


@pytest.mark.parametrize(("draws", "examples"), [(1, None), (4, None), (1, 24)])
def test_the_95_percent_interval_covers_the_truth_of_200_repetitions_90_to_99_percent_of_the_time(draws, examples):
    mean, log_std = some_codes()
    truth = by_quadrature(mean, log_std)
    covered, values, errors = 0, [], []
    for repetition in range(200):
        found = mutual_information(
            mean, log_std, generator=philox(repetition), draws_per_example=draws, examples=examples
        )
        covered += abs(found.value - truth) <= 1.96 * found.standard_error
        values.append(found.value)
        errors.append(found.standard_error)
    assert 180 <= covered <= 198
    # unbiased: the mean of 200 within 3.5 of its own standard errors
    assert abs(np.mean(values) - truth) <= 3.5 * np.std(values) / math.sqrt(200)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(values), rel=0.2)  # 200 give it to 5%


def test_the_spread_of_all_terms_would_overstate_the_error():
    mean, log_std = some_codes()
    found = mutual_information(mean, log_std, generator=philox(), draws_per_example=200)
    index = torch.arange(len(mean)).repeat_interleave(200)
    z = mean[index] + log_std[index].exp() * tensor(philox(1).standard_normal((len(index), 1)))
    terms = log_posterior(z, mean[index], log_std[index]) - log_aggregate_posterior(z, mean, log_std)
    assert terms.std().item() / math.sqrt(len(terms)) > 1.5 * found.standard_error


@settings(max_examples=40, deadline=None)
@given(
    examples=st.integers(1, 50),
    latent=st.integers(1, 4),
    spread=st.floats(0, 100),
    log_std=st.floats(-12, 2),
    jitter=st.floats(0, 1),
    draws=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_draws_make_information_exceed_log_n_or_the_marginal_kl_negative(
    examples, latent, spread, log_std, jitter, draws, seed
):
    rng = np.random.default_rng(seed)
    mean = tensor(spread * rng.standard_normal((examples, latent)))
    log_stds = tensor(log_std + jitter * rng.standard_normal((examples, latent)))
    found = decompose_rate(mean, log_stds, generator=rng, draws_per_example=draws)
    assert found.ceiling == math.log(examples)
    assert found.mutual_information.value <= found.ceiling + 1e-12
    # few draws do not know their own error well: five of them, and a floor for where none was seen
    error = 5 * found.mutual_information.standard_error + 0.05
    if examples * draws >= 30:
        assert found.mutual_information.value >= -error
        assert found.marginal_kl.value >= -error


def test_draws_of_a_subsample_ask_about_the_population_and_a_subpopulation_about_itself():
    mean = 1e3 * torch.arange(50.0)[:, None]
    log_std = torch.zeros(50, 1)
    subsample = decompose_rate(mean, log_std, generator=philox(), examples=10)
    subpopulation = decompose_rate(mean[:10], log_std[:10], generator=philox())
    assert subsample.ceiling == pytest.approx(math.log(50))
    assert subsample.mutual_information.value == pytest.approx(math.log(50))
    assert subsample.mutual_information.count == 10
    assert subsample.rate == decompose_rate(mean, log_std, generator=philox(1)).rate  # over all 50, no draws
    assert subpopulation.ceiling == pytest.approx(math.log(10))
    assert subpopulation.mutual_information.value == pytest.approx(math.log(10))


@pytest.mark.parametrize("draws", [1, 5])
def test_neither_chunks_nor_batches_of_draws_change_what_is_drawn(draws, monkeypatch):
    mean, log_std = some_codes()
    expected = mutual_information(mean, log_std, generator=philox(8), draws_per_example=draws)
    monkeypatch.setattr(mutual_module, "DRAWS_AT_ONCE", 17)
    found = mutual_information(mean, log_std, generator=philox(8), draws_per_example=draws, chunk_size=150)
    assert found.value == pytest.approx(expected.value, abs=1e-9)
    assert found.standard_error == pytest.approx(expected.standard_error, abs=1e-9)


def test_second_draws_serve_the_error_and_do_not_touch_the_value(monkeypatch):
    mean, log_std = some_codes()
    all_twice = mutual_information(mean, log_std, generator=philox(4))
    monkeypatch.setattr(mutual_module, "DRAWN_TWICE", 12)
    few_twice = mutual_information(mean, log_std, generator=philox(4))
    assert few_twice.value == all_twice.value
    assert few_twice.standard_error != all_twice.standard_error


def test_float32_codes_give_what_their_values_give_in_float64():
    mean, log_std = (part.float() for part in some_codes())
    found = decompose_rate(mean, log_std, generator=philox(6))
    assert found == decompose_rate(mean.double(), log_std.double(), generator=philox(6))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"draws_per_example": 0}, "draws_per_example is 0"),
        ({"examples": 1}, "examples is 1; draws can come from 2 to 48 examples"),
        ({"examples": 49}, "examples is 49"),
    ],
)
def test_impossible_numbers_of_draws_are_refused(arguments, message):
    mean, log_std = some_codes()
    with pytest.raises(ValueError, match=message):
        mutual_information(mean, log_std, generator=philox(), **arguments)


def test_a_diverged_model_is_refused():
    mean, log_std = some_codes()
    mean[3] = math.inf
    with pytest.raises(ValueError, match="mean holds 1 numbers of 48 that are not finite"):
        marginal_kl(mean, log_std, generator=philox())

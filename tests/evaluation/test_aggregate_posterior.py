import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rdstudy.evaluation.aggregate_posterior import AggregatePosterior, log_aggregate_posterior
from rdstudy.evaluation.gaussian import log_posterior

EXTREMES = {
    "std 1e-6, means to 1e3": (1e3, 1e-6, 0.5),
    "std 1e-3, means to 10": (10.0, 1e-3, 0.5),
    "std 0.02, means to 3": (1.0, 0.02, 0.5),
    "std 0.3, means to 3": (1.0, 0.3, 0.5),
    "std 1, means almost equal": (0.01, 1.0, 0.01),
    "std 10, means to 1e3": (300.0, 10.0, 0.1),
    "std from 1e-6 to 10, means to 1e3": (300.0, 3e-3, 4.0),
}


def codes(examples, latent, spread, std, jitter, *, seed=0, dtype=torch.float64):
    """Means, log stds and one draw of each code."""
    rng = np.random.default_rng(seed)
    mean = torch.from_numpy(spread * rng.standard_normal((examples, latent))).to(dtype)
    log_std = math.log(std) + jitter * rng.standard_normal((examples, latent))
    log_std = torch.from_numpy(log_std.clip(math.log(1e-6), math.log(10))).to(dtype)
    z = mean + log_std.exp() * torch.from_numpy(rng.standard_normal((examples, latent))).to(dtype)
    return mean, log_std, z


def brute_force(z, mean, log_std):
    """log q(z) by differences of all pairs, in the longest float that numpy has."""
    z, mean, log_std = (tensor.double().numpy().astype(np.longdouble) for tensor in (z, mean, log_std))
    constant = log_std.sum(1) + np.log(2 * np.longdouble(math.pi)) / 2 * mean.shape[1]
    density = []
    for point in z:
        exponent = -(((point - mean) * np.exp(-log_std)) ** 2).sum(1) / 2 - constant
        density.append(exponent.max() + np.log(np.exp(exponent - exponent.max()).mean()))
    return torch.from_numpy(np.array(density, dtype=np.float64))


def assert_equal_density(found, expected, tolerance=1e-9):
    error = (found - expected).abs() / expected.abs().clamp(min=1)
    assert float(error.max()) <= tolerance


class Witnessed(AggregatePosterior):
    """Counts which way the tiles go."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.ways: Counter[str] = Counter()

    def _product(self, *args):
        self.ways["product"] += 1
        return super()._product(*args)

    def _refine(self, *args):
        self.ways["refine"] += 1
        return super()._refine(*args)

    def _by_differences(self, *args):
        self.ways["differences"] += 1
        return super()._by_differences(*args)


@pytest.mark.parametrize("known", [True, False], ids=["origin of draws known", "unknown"])
@pytest.mark.parametrize("case", EXTREMES)
def test_every_mixture_agrees_with_brute_force_to_1e9(case, known):
    mean, log_std, z = codes(500, 6, *EXTREMES[case])
    origin = torch.arange(500) if known else None
    found = log_aggregate_posterior(z, mean, log_std, drawn_from=origin, chunk_size=2**12)
    assert_equal_density(found[::5], brute_force(z[::5], mean, log_std))


@pytest.mark.parametrize("case", EXTREMES)
def test_codes_that_are_equal_in_threes_count_three_times(case):
    mean, log_std, z = codes(100, 5, *EXTREMES[case])
    found = log_aggregate_posterior(z, mean.repeat(3, 1), log_std.repeat(3, 1), chunk_size=2**10)
    assert_equal_density(found, brute_force(z, mean, log_std))


@pytest.mark.parametrize("case", EXTREMES)
def test_float32_codes_lose_nothing_more(case):
    mean, log_std, z = codes(150, 10, *EXTREMES[case], dtype=torch.float32)
    found = log_aggregate_posterior(z, mean, log_std)
    assert found.dtype == torch.float64
    assert_equal_density(found, brute_force(z, mean, log_std))


def test_a_single_code_is_its_own_aggregate():
    mean, log_std, z = codes(1, 4, 1.0, 0.1, 0.5)
    assert_equal_density(log_aggregate_posterior(z, mean, log_std), log_posterior(z, mean, log_std), 1e-14)


def test_points_far_from_every_code_have_the_density_of_the_nearest():
    mean, log_std, _ = codes(400, 3, 1.0, 0.01, 0.3)
    z = torch.tensor([[1e3, 0.0, 0.0], [-1e3, 1e3, 1e3], [1e6, 0.0, -1e6], [0.0, 7.0, 0.0]], dtype=torch.float64)
    found = log_aggregate_posterior(z, mean, log_std)
    assert_equal_density(found, brute_force(z, mean, log_std), 1e-12)


def test_a_wrong_origin_of_the_draws_does_no_harm():
    mean, log_std, z = codes(200, 4, 2.0, 0.05, 0.5)
    expected = brute_force(z, mean, log_std)
    for origin in (torch.arange(200).flip(0), torch.zeros(200, dtype=torch.int64)):
        assert_equal_density(log_aggregate_posterior(z, mean, log_std, drawn_from=origin), expected)


@pytest.mark.parametrize("chunk_size", [1, 2, 7, 64, 1000, 2**14, 2**20])
@pytest.mark.parametrize("case", ["std 0.3, means to 3", "std from 1e-6 to 10, means to 1e3"])
def test_the_chunk_size_does_not_change_the_density(case, chunk_size):
    mean, log_std, z = codes(41, 3, *EXTREMES[case])
    found = log_aggregate_posterior(z, mean, log_std, chunk_size=chunk_size)
    assert_equal_density(found, brute_force(z, mean, log_std))


def test_draws_need_not_be_as_many_as_examples():
    mean, log_std, _ = codes(57, 2, 1.0, 0.5, 0.3)
    _, _, z = codes(400, 2, 1.0, 0.5, 0.3, seed=1)
    assert_equal_density(log_aggregate_posterior(z, mean, log_std), brute_force(z, mean, log_std))
    assert log_aggregate_posterior(z[:0], mean, log_std).shape == (0,)


@pytest.mark.parametrize(
    ("spread", "std", "way"), [(1.0, 0.5, "product"), (1.0, 1e-3, "refine"), (0.0, 1e-6, "differences")]
)
def test_each_way_of_a_tile_is_taken_where_it_is_needed(spread, std, way):
    mean, log_std, z = codes(300, 2, spread, std, 0.1)
    if way == "differences":  # two crowds of equal sharp codes: no centre is near both, and half of all pairs matter
        side = 1e3 * (torch.arange(300) % 2 * 2.0 - 1)[:, None]
        mean, z = mean + side, z + side
    population = Witnessed(mean, log_std, chunk_size=2**12)
    found = population.log_density(z, drawn_from=torch.arange(300))
    assert_equal_density(found, brute_force(z, mean, log_std))
    ways = {"product": {"product"}, "refine": {"product", "refine"}}.get(way, {"product", "refine", "differences"})
    assert set(population.ways) == ways


def test_tiles_that_cannot_matter_are_not_computed():
    mean, log_std, z = codes(2000, 5, 1.0, 0.01, 0.1)
    population = Witnessed(mean, log_std, chunk_size=2**12)
    population.log_density(z, drawn_from=torch.arange(2000))
    tiles = math.ceil(2000 / 32) * math.ceil(2000 / 128)
    assert population.ways["product"] < tiles / 2


def test_codes_too_sharp_for_the_product_still_have_a_density():
    mean, log_std, z = codes(50, 2, 1e3, 1.0, 0.0)
    log_std = log_std - 200.0
    found = log_aggregate_posterior(mean, mean, log_std)
    assert_equal_density(found, brute_force(mean, mean, log_std))
    assert bool((log_aggregate_posterior(z, mean, log_std) < -1e100).all())


def test_the_density_integrates_to_one():
    mean, log_std, _ = codes(200, 1, 1.0, 0.2, 0.5)
    grid = torch.linspace(-12, 12, 20_001, dtype=torch.float64)
    density = log_aggregate_posterior(grid[:, None], mean, log_std).exp()
    assert torch.trapezoid(density, grid).item() == pytest.approx(1, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(
    examples=st.integers(1, 40),
    latent=st.integers(1, 5),
    log_spread=st.floats(-3, 3),
    log_std=st.floats(-6, 1),
    jitter=st.floats(0, 3),
    offset=st.sampled_from([0.0, 1.0, 1e3]),
    chunk_size=st.sampled_from([30, 200, 3000]),
    known=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_population_agrees_with_brute_force(
    examples, latent, log_spread, log_std, jitter, offset, chunk_size, known, seed
):
    mean, log_std, z = codes(examples, latent, 10**log_spread, 10**log_std, jitter, seed=seed)
    mean, z = mean + offset, z + offset
    origin = torch.arange(examples) if known else None
    found = log_aggregate_posterior(z, mean, log_std, drawn_from=origin, chunk_size=chunk_size)
    assert_equal_density(found, brute_force(z, mean, log_std))
    if known:  # q(z) >= q(z|x) / N, and not one rounding less
        assert bool((found >= log_posterior(z, mean, log_std) - math.log(examples) - 1e-13 * found.abs()).all())


@settings(max_examples=40, deadline=None)
@given(log_std=st.floats(-6, 1), jitter=st.floats(0, 3), seed=st.integers(0, 2**32 - 1))
def test_no_exponent_of_the_product_is_further_off_than_its_bound(log_std, jitter, seed):
    mean, log_std, z = codes(40, 4, 3.0, 10**log_std, jitter, seed=seed)
    population = AggregatePosterior(mean, log_std)
    zero = torch.zeros(40, dtype=torch.float64)
    product = population._product(population._draw_features(z, zero), population._tile_features(0))
    exact = torch.stack([population._component(z, torch.full((40,), n)) for n in range(40)], dim=1)
    assert float((product - exact).abs().max()) <= float(population._error_bounds(z, zero)[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda z, m, s: (z, m.clone().fill_(math.nan), s),
            "mean holds 12 numbers of 12 that are not finite",
        ),
        (lambda z, m, s: (z, m, s - math.inf), "log_std holds 12 numbers of 12 that are not finite"),
        (lambda z, m, s: (z * math.inf, m, s), "z holds 12 numbers of 12 that are not finite"),
        (lambda z, m, s: (z, m[:0], s[:0]), "with at least one of each"),
    ],
)
def test_what_cannot_be_measured_is_refused(change, message):
    mean, log_std, z = codes(4, 3, 1.0, 1.0, 0.0)
    with pytest.raises(ValueError, match=message):
        log_aggregate_posterior(*change(z, mean, log_std))


def test_an_origin_outside_the_population_is_refused():
    mean, log_std, z = codes(4, 3, 1.0, 1.0, 0.0)
    with pytest.raises(ValueError, match="indices from 1 to 4; the population's examples are 0 to 3"):
        log_aggregate_posterior(z, mean, log_std, drawn_from=torch.arange(1, 5))


def test_a_chunk_of_no_pairs_is_refused():
    mean, log_std, z = codes(4, 3, 1.0, 1.0, 0.0)
    with pytest.raises(ValueError, match="chunk_size is 0"):
        log_aggregate_posterior(z, mean, log_std, chunk_size=0)

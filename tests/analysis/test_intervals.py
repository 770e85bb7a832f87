"""Intervals from few replicates: closed forms, and how often they hold the truth."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdstudy.analysis.bootstrap import quantile_interval, resampled_means
from rdstudy.analysis.intervals import mean_interval, share_interval
from tests.analysis import PROPERTY


@PROPERTY
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=8), st.floats(-100, 100))
def test_an_interval_moves_with_its_data_and_surrounds_the_mean(values, shift):
    column = np.array(values)[:, None]
    here, there = mean_interval(column), mean_interval(column + shift)
    assert here.low[0] <= here.mean[0] <= here.high[0]
    assert there.low[0] == pytest.approx(here.low[0] + shift, abs=1e-6)
    assert here.mean[0] == pytest.approx(np.mean(values), abs=1e-9)


def test_a_single_seed_has_a_mean_and_no_interval_and_no_seed_has_neither():
    found = mean_interval(np.array([[1.0, np.nan]]))
    assert found.mean[0] == 1.0
    assert np.isnan([found.low[0], found.high[0], found.mean[1]]).all()
    assert found.count.tolist() == [1, 0]


def test_a_missing_value_leaves_the_interval_of_the_others():
    values = np.array([[1.0], [2.0], [np.nan], [4.0]])
    np.testing.assert_allclose(mean_interval(values).low, mean_interval(values[[0, 1, 3]]).low)


@pytest.mark.parametrize("trials", [1, 4, 10])
def test_the_share_of_none_and_of_all_has_its_closed_form(trials):
    assert share_interval(0, trials) == pytest.approx((0.0, 1 - 0.025 ** (1 / trials)))
    assert share_interval(trials, trials) == pytest.approx((0.025 ** (1 / trials), 1.0))


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.83])
@pytest.mark.parametrize("trials", [3, 12])
def test_the_interval_of_a_share_holds_it_in_at_least_95_percent(share, trials):
    held = 0.0
    for successes in range(trials + 1):
        low, high = share_interval(successes, trials)
        weight = math.comb(trials, successes) * share**successes * (1 - share) ** (trials - successes)
        held += weight * (low <= share <= high)
    assert held >= 0.95


def test_a_share_of_nothing_may_be_anything():
    assert share_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_resampled_interval_of_a_weighted_sum_is_its_t_interval(seeds):
    generator = np.random.default_rng(seeds)
    values = generator.standard_normal((seeds, 4)) * [1, 2, 0.5, 1]
    weights = np.array([1.0, -1.0, 0.5, 0.0])
    exact = mean_interval((values @ weights)[:, None])
    draws = resampled_means(values, draws=40_000, generator=generator) @ weights
    low, high = quantile_interval(draws)
    width = exact.high[0] - exact.low[0]
    # 40,000 draws know a 2.5% quantile of t(2) to about 2% of the interval's width.
    assert low == pytest.approx(exact.low[0], abs=0.06 * width)
    assert high == pytest.approx(exact.high[0], abs=0.06 * width)


def test_resampling_a_constant_gives_the_constant_and_a_single_seed_nothing():
    assert (resampled_means(np.full((4, 2), 7.0)) == 7.0).all()
    assert np.isnan(resampled_means(np.ones((1, 2)))).all()
    assert np.isnan(quantile_interval(np.full(3, np.nan))).all()


def test_resampling_says_the_same_twice():
    values = np.random.default_rng(0).standard_normal((3, 2))
    np.testing.assert_array_equal(resampled_means(values), resampled_means(values))


@pytest.mark.parametrize(("seeds", "percentile"), [(3, 0.745), (5, 0.845)])
def test_the_t_interval_holds_the_mean_where_the_percentile_bootstrap_does_not(seeds, percentile):
    """4,000 studies; the bootstrap's interval in 1,000 of them. Tolerance: 3.5 standard errors."""
    generator = np.random.default_rng(20)
    studies = generator.standard_normal((seeds, 4000))
    found = mean_interval(studies)
    held = np.mean((found.low <= 0) & (found.high >= 0))
    assert held == pytest.approx(0.95, abs=3.5 * math.sqrt(0.95 * 0.05 / 4000))

    chosen = generator.integers(0, seeds, (1000, seeds))
    ends = [np.quantile(study[chosen].mean(axis=1), [0.025, 0.975]) for study in studies.T[:1000]]
    bootstrap = np.mean([low <= 0 <= high for low, high in ends])
    assert bootstrap == pytest.approx(percentile, abs=3.5 * math.sqrt(percentile * (1 - percentile) / 1000))

"""Moderated variances, looks, contrasts and what is decided from them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rdstudy.analysis.contrasts import contrasts
from rdstudy.analysis.looks import LOOKS, look_reached, looks_of, nominal_levels
from rdstudy.analysis.moderation import moderate, trigamma_inverse
from rdstudy.analysis.paired import compare, to_reference
from rdstudy.analysis.power import power_table
from rdstudy.analysis.verdicts import verdicts
from rdstudy.errors import UserError
from tests.analysis import PROPERTY


@PROPERTY
@given(st.floats(1e-3, 1e3))
def test_the_inverse_of_trigamma_is_its_inverse(y):
    from scipy.special import polygamma

    assert trigamma_inverse(polygamma(1, np.array([y])))[0] == pytest.approx(y, rel=1e-6)


def test_variances_of_settings_that_are_alike_become_one_with_all_degrees_of_freedom():
    variances = np.array([[1.0], [1.2], [0.9], [1.1]])
    moderated, degrees = moderate(variances, np.full((4, 1), 2))
    np.testing.assert_allclose(moderated, np.full((4, 1), 1.05))
    np.testing.assert_allclose(degrees, 8)


def test_the_prior_of_a_known_inverse_gamma_is_recovered():
    """Variances s0^2 d0 / chi2(d0), seen with 4 degrees of freedom in 20,000 settings: d0 = 6, s0^2 = 2."""
    generator = np.random.default_rng(0)
    true = 2 * 6 / generator.chisquare(6, (20_000, 1))
    seen = true * generator.chisquare(4, true.shape) / 4
    moderated, degrees = moderate(seen, np.full(seen.shape, 4))
    assert degrees[0, 0] == pytest.approx(10, abs=0.4)
    assert np.median(moderated - 4 * seen / degrees) == pytest.approx(2 * 6 / 10, rel=0.05)


def test_one_setting_borrows_nothing():
    moderated, degrees = moderate(np.array([[1.0, 4.0]]), np.array([[2, 2]]))
    np.testing.assert_allclose(moderated, [[1.0, 4.0]])
    np.testing.assert_allclose(degrees, 2)


def test_the_levels_of_the_looks_are_the_published_ones():
    """O'Brien-Fleming-type spending, one-sided 2.5%, five equal looks (Lan & DeMets 1983)."""
    from scipy.special import ndtri

    z = [-float(ndtri(level)) for level in nominal_levels(0.025, (1, 2, 3, 4, 5))]
    np.testing.assert_allclose(z, [4.877, 3.357, 2.680, 2.290, 2.031], atol=2e-3)


@pytest.mark.parametrize("planned", [1, 3, 4, 6, 20, 30])
def test_all_looks_together_spend_the_level(planned):
    looks = looks_of(planned)
    generator = np.random.default_rng(0)
    sums = np.cumsum(generator.standard_normal((100_000, planned)), axis=1)
    z = sums[:, np.array(looks) - 1] / np.sqrt(looks)
    from scipy.special import ndtri

    crossed = (z > -ndtri(np.array(nominal_levels(0.025, looks)))).any(axis=1).mean()
    assert crossed == pytest.approx(0.025, abs=3 * np.sqrt(0.025 * 0.975 / 100_000))


def test_looks_are_reached_one_after_the_other():
    assert [look_reached(seeds, LOOKS) for seeds in (0, 2, 3, 5, 6, 12, 19, 20, 30)] == [0, 0, 1, 1, 2, 3, 3, 4, 4]
    with pytest.raises(UserError, match="planned_seeds = 0"):
        looks_of(0)


def test_one_candidate_in_one_setting_is_a_paired_t_test():
    from scipy import stats

    generator = np.random.default_rng(2)
    differences = 1 + generator.standard_normal((1, 5, 1))
    found = contrasts(differences)
    expected = stats.ttest_1samp(differences.ravel(), 0.0, alternative="greater")
    assert found.p_above(0.0)[0] == pytest.approx(expected.pvalue)
    assert found.p_below(0.0)[0] == pytest.approx(1 - expected.pvalue)
    interval = stats.ttest_1samp(differences.ravel(), 0.0).confidence_interval()
    assert (found.interval()[0][0], found.interval()[1][0]) == pytest.approx((interval.low, interval.high))


@PROPERTY
@given(
    arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5)), elements=st.floats(-50, 50))
)
def test_the_interval_holds_the_reported_difference_and_the_verdict_agrees_with_it(differences):
    found = contrasts(differences)
    low, high = found.interval()
    known = np.isfinite(low)
    assert (low[known] <= found.difference[known] + 1e-9).all()
    assert (found.difference[known] <= high[known] + 1e-9).all()
    said = verdicts(found, 2.0, (differences.shape[1],), np.ones(low.shape, dtype=int))
    assert (low[said == "better"] >= -1e-9).all()
    assert (found.difference[said == "better"] > 0).all()
    assert (high[said == "worse"] <= 1e-9).all()
    assert (found.difference[said == "worse"] < 0).all()
    assert (np.abs(found.difference[said == "equivalent"]) < 2).all()


def test_a_missing_cell_takes_away_its_own_difference_only():
    values = np.random.default_rng(0).standard_normal((5, 4))
    values[2, 3] = np.nan
    one = to_reference(values, np.array([2.0, 1.0, 0.5, 0.1]), 0, [1, 2, 3])
    found, points = compare([one])
    assert points == [1.0, 0.5, 0.1]
    assert found.seeds[0] == 5
    assert found.mean[0, 2] == pytest.approx(np.nanmean(values[:, 0] - values[:, 3] + 0 * values[:, 3]))


def test_two_settings_with_different_grids_are_lined_up_by_beta():
    generator = np.random.default_rng(0)
    first = to_reference(generator.standard_normal((3, 3)), np.array([1.0, 0.5, 0.1]), 0, [1, 2])
    second = to_reference(generator.standard_normal((4, 2)), np.array([1.0, 0.1]), 0, [1])
    found, points = compare([first, second])
    assert points == [0.5, 0.1]
    assert np.isnan(found.mean[1, 0])
    assert found.seeds.tolist() == [3, 4]


def test_more_settings_make_each_verdict_harder():
    """The same setting is decided alone and not among 100 (Holm)."""
    generator = np.random.default_rng(3)
    differences = generator.standard_normal((100, 6, 1))
    differences[0] += 1.9 - differences[0].mean()
    said = verdicts(contrasts(differences), 0.5, (6,), np.ones(100, dtype=int))
    alone = verdicts(contrasts(differences[:1]), 0.5, (6,), np.ones(1, dtype=int))
    assert alone[0] == "better"
    assert (said[1:] == "better").sum() == 0


def test_power_is_what_a_simulation_finds():
    """2 nats, differences of sd 0.95 within a seed, 3 seeds, 12 settings: the table is a little optimistic, for it
    knows that all settings are equally noisy."""
    row = power_table(0.95, 3, 12).set_index("effect_nats").loc[2.0]
    generator = np.random.default_rng(0)
    differences = 2 + 0.95 * generator.standard_normal((400, 12, 3, 1))
    said = verdicts(contrasts(differences), 2.0, (3,), np.ones((400, 12), dtype=int))
    assert row["power_all"] == pytest.approx((said == "better").mean(), abs=0.2)
    assert row["power_all"] > row["power_alone"]


def test_power_grows_with_seeds_and_effect_and_two_seeds_have_none():
    table = power_table(3.0, [2, 3, 6, 12], 12)
    power = table.pivot(index="seeds", columns="effect_nats", values="power_all")
    assert (power.loc[2] == 0).all()
    assert (power.diff().dropna() >= 0).all().all()
    assert (power.diff(axis=1).iloc[:, 1:] >= 0).all().all()


@pytest.mark.parametrize(("sd", "seeds", "settings"), [(-1.0, 3, 12), (1.0, 0, 12), (1.0, 3, 0), (float("nan"), 3, 1)])
def test_an_impossible_study_is_refused(sd, seeds, settings):
    with pytest.raises(UserError, match="sd = "):
        power_table(sd, seeds, settings)

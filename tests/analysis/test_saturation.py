"""Where the mutual information saturates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rdstudy.analysis import information, saturation
from rdstudy.analysis.bootstrap import quantile_interval, resampled_means
from rdstudy.analysis.saturation import crossing_beta
from tests.analysis import PROPERTY
from tests.analysis.synthetic import GRID, Planted, falling, study_table, u_shaped


@pytest.mark.parametrize("beta", [0.25, 0.35, 0.6, 1.5])
def test_the_planted_beta_is_recovered(beta):
    row = saturation(study_table([Planted(saturates_at=beta)])).iloc[0]
    assert row["saturates"] == "at"
    # Straight lines between the betas of the grid are not the planted curve: a tenth of a decade at most.
    assert np.log10(row["beta"] / beta) == pytest.approx(0, abs=0.1)
    assert row["beta_low"] <= row["beta"] <= row["beta_high"]


@pytest.mark.parametrize(("planted", "words"), [(50.0, "everywhere"), (1e-5, "never")])
def test_outside_the_grid_it_says_everywhere_or_never(planted, words):
    row = saturation(study_table([Planted(saturates_at=planted)])).iloc[0]
    assert row["saturates"] == words
    assert np.isnan(row["beta"])
    assert row["beta_low"] == row["beta_high"] == {"never": 0.0, "everywhere": np.inf}[words]


def test_what_was_not_measured_is_said_and_not_guessed():
    table = study_table([Planted()], mi=False)
    assert set(saturation(table)["saturates"]) == {"not measured"}
    assert saturation(table)["beta"].isna().all()
    assert information(table).empty


def test_the_change_below_saturation_is_the_planted_one():
    found = saturation(study_table([Planted(u_shaped(best=0.9, rise=3.0), saturates_at=0.6)], noise=0.1))
    row = found[found["population"] == "train"].iloc[0]
    edge = max(beta for beta in GRID if beta <= 0.5)
    assert row["distortion_change_nats"] == pytest.approx(3.0 * np.log10(edge / 0.001), abs=0.5)
    assert row["distortion_change_low"] <= row["distortion_change_nats"] <= row["distortion_change_high"]
    assert row["distortion_fall_high"] < 0  # every smaller beta is worse
    better = saturation(study_table([Planted(falling(middle=0.2), saturates_at=0.5)])).iloc[0]
    assert better["distortion_fall_low"] > 0


def test_rate_less_information_is_the_marginal_kl_at_every_beta():
    found = information(study_table([Planted()]))
    np.testing.assert_allclose(found["rate_nats"] - found["mi_nats"], found["marginal_kl_nats"], atol=1e-9)
    assert (found["mi_share"] <= 1).all()


def test_one_seed_has_a_beta_and_no_interval():
    row = saturation(study_table([Planted()], seeds=1)).iloc[0]
    assert row["saturates"] == "at"
    assert np.isnan(row["beta_low"])


@PROPERTY
@given(arrays(np.float64, (3, 6), elements=st.floats(0, 1)))
def test_the_crossing_lies_between_the_betas_around_it(shares):
    betas = np.array([5.0, 2.0, 1.0, 0.1, 0.01, 0.0])
    for share, crossing in zip(shares, crossing_beta(betas, shares, 0.95), strict=True):
        reached = np.flatnonzero(share >= 0.95)
        if not len(reached):
            assert crossing == 0
        elif reached[0] == 0:
            assert crossing == np.inf
        else:
            assert betas[reached[0]] <= crossing <= betas[reached[0] - 1] * (1 + 1e-12)


@pytest.mark.parametrize("seeds", [3, 10])
def test_the_interval_of_the_crossing_holds_it_in_95_percent(seeds):
    """200 studies; noise of 0.01 in I / log N, half of it shared by a seed. Tolerance: 3 standard errors."""
    betas = np.array(GRID)
    truth = 1 / (1 + (betas / 0.42) ** 2 * (1 / 0.95 - 1))
    (crossing,) = crossing_beta(betas, truth[None], 0.95)
    generator = np.random.default_rng(17)
    held = 0
    for _ in range(200):
        noise = generator.standard_normal((seeds, 12)) + generator.standard_normal((seeds, 1))
        draws = resampled_means(truth + 0.01 * noise, draws=1000, generator=generator)
        low, high = quantile_interval(crossing_beta(betas, draws, 0.95))
        held += low <= crossing <= high
    assert held / 200 == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / 200))

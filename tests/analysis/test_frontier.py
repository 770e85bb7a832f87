"""Curves, areas, best betas and gaps, against what was planted."""

import numpy as np
import pandas as pd
import pytest

from rdstudy.analysis import best_beta, frontier, gaps, hypervolumes
from rdstudy.analysis.replicates import SETTING, Replicates
from tests.analysis.synthetic import (
    GRID,
    Planted,
    constant_test,
    fail,
    falling,
    flat,
    study_table,
    training_distortion,
    training_rate,
    u_shaped,
)


@pytest.fixture(scope="module")
def table():
    return study_table([Planted(u_shaped()), Planted(falling(), depth=3)])


def test_the_planted_curve_is_within_its_intervals_nearly_everywhere(table):
    """24 intervals of 95%, dependent through the seeds."""
    points = frontier(table)
    train = points[points["population"] == "train"]
    truth = training_distortion(train["beta"].to_numpy())
    held = (train["distortion_low"] <= truth) & (truth <= train["distortion_high"])
    assert held.mean() >= 0.8
    np.testing.assert_allclose(train["rate_nats"], training_rate(train["beta"].to_numpy()), atol=0.2)


def test_points_run_along_the_curve_with_the_rate_rising(table):
    for _, curve in frontier(table).groupby(["depth", "population"]):
        assert curve["beta"].tolist() == list(GRID)
        assert (np.diff(curve["rate_nats"]) > 0).all()
        assert (curve["n_seeds"] == 5).all()


def test_of_a_u_the_branch_below_the_best_beta_is_dominated(table):
    points = frontier(table)
    test = points[(points["population"] == "test") & (points["depth"] == 1)]
    assert test.loc[test["beta"] < 0.9, "dominated"].all()
    assert not test.loc[test["beta"] < 0.9, "on_hull"].any()
    assert not (points["on_study_hull"] & ~points["on_hull"]).any()
    assert not (points["dominated"] & ~points["dominated_in_study"]).any()


def test_one_seed_has_means_and_no_intervals():
    points = frontier(study_table([Planted()], seeds=1))
    assert points["distortion_nats"].notna().all()
    assert points[["distortion_low", "distortion_high"]].isna().all(axis=None)


def test_diverged_cells_are_missing_from_the_count_and_from_nothing_else(table):
    broken = fail(table, (table["beta"] == 0.001) & (table["seed"] == 0), "diverged", "NaN")
    points, before = frontier(broken), frontier(table)
    at = points["beta"] == 0.001
    assert (points.loc[at, "n_seeds"] == 4).all()
    pd.testing.assert_frame_equal(points[~at], before[~at])


def test_a_study_of_diverged_cells_has_no_points_and_its_columns():
    table = study_table([Planted()], betas=(1.0,), seeds=1)
    empty = fail(table, table["seed"] == 0, "diverged", "NaN")
    for analysis in (frontier, best_beta, gaps, hypervolumes):
        assert len(analysis(empty)) == 0
        assert "train_size" in analysis(empty).columns


def test_the_gap_is_the_planted_one_within_each_seed():
    """The effect of a seed, 5 nats here, is in train and test alike and must not widen the gap's interval."""
    table = study_table([Planted(flat(3.0))], seed_effect=5.0, noise=0.1)
    found = gaps(table)
    found = found[found["criterion"] == "distortion_nats"]
    assert found["gap_nats"].to_numpy() == pytest.approx(np.full(12, 3.0), abs=0.1)
    assert (found["gap_high"] - found["gap_low"] < 0.3).all()


def test_settings_are_ranked_by_the_area_above_their_curve():
    table = study_table([Planted(flat(2.0)), Planted(flat(20.0), depth=2), Planted(flat(10.0), depth=3)])
    areas = hypervolumes(table)
    test = areas[areas["population"] == "test"].set_index("depth")
    assert test["rank"].to_dict() == {1: 1, 3: 2, 2: 3}
    assert (test["hypervolume_low"] < test["hypervolume_nats2"]).all()
    assert (test["hypervolume_nats2"] < test["hypervolume_high"]).all()
    # 8 nats more distortion at every rate from the smallest to the reference.
    width = test["reference_rate_nats"].iloc[0] - training_rate(np.array(GRID)).min()
    lost = test.loc[1, "hypervolume_nats2"] - test.loc[3, "hypervolume_nats2"]
    assert lost == pytest.approx(8 * width, rel=0.05)


def test_the_best_beta_is_the_planted_one_and_in_its_interval(table):
    found = best_beta(table)
    row = found[(found["criterion"] == "distortion_nats") & (found["depth"] == 1)].iloc[0]
    assert row["best_beta"] in (0.9, 1.0, 0.7)
    assert row["beta_low"] <= 0.9 <= row["beta_high"]
    assert row["beta_high"] <= 1.0
    assert not row["at_edge"]


def test_where_nothing_is_best_every_beta_may_be():
    row = best_beta(study_table([Planted(constant_test())])).iloc[0]
    assert (row["beta_low"], row["beta_high"]) == (0.001, 5.0)


def test_a_best_beta_at_the_edge_of_the_grid_is_marked(table):
    found = best_beta(table)
    elbo = found[(found["criterion"] == "negative_elbo_nats") & (found["depth"] == 1)].iloc[0]
    assert elbo["at_edge"] == (elbo["best_beta"] in (5.0, 0.001))


def test_with_fewer_than_three_seeds_the_best_beta_has_no_interval():
    assert best_beta(study_table([Planted()], seeds=2))[["beta_low", "beta_high"]].isna().all(axis=None)


def test_a_single_beta_is_the_best():
    row = best_beta(study_table([Planted()], betas=(1.0,))).iloc[0]
    assert (row["best_beta"], row["beta_low"], row["beta_high"]) == (1.0, 1.0, 1.0)


def test_the_interval_of_the_best_beta_holds_it_in_95_percent():
    """200 studies of three seeds, with noise of 1 nat around a shallow U: 1 nat deep at one beta from the next."""
    generator = np.random.default_rng(8)
    betas = np.array(GRID)
    truth = np.abs(np.arange(12) - 7.0)

    def study(number: int) -> Replicates:
        noise = generator.standard_normal((3, 12)) + generator.standard_normal((3, 1))
        values = {("test", "distortion_nats"): truth + noise}
        return Replicates({**dict.fromkeys(SETTING), "width": number}, betas, np.arange(3), values)

    found = best_beta([study(number) for number in range(200)])
    held = (found["beta_low"] <= betas[7]) & (betas[7] <= found["beta_high"])
    assert held.sum() >= 182  # 95% of 200 less 2.6 standard errors
    assert (found["beta_high"] < 5.0).mean() > 0.2  # and it does not hold it by holding everything

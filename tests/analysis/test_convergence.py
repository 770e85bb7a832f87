"""The check of the training."""

import numpy as np
import pytest

from rdstudy.analysis import convergence
from tests.analysis.synthetic import GRID, Planted, study_table, training_distortion, training_rate


def test_a_converged_curve_has_the_slope_beta_and_no_regret():
    found = convergence(study_table([Planted()], noise=0.01, seed_effect=1.0))
    inner = found[found["beta_next"].notna()]
    assert inner["slope_fits"].all()
    assert ((inner["beta_next"] <= inner["slope"]) & (inner["slope"] <= inner["beta"])).mean() > 0.8
    assert set(found["converged"]) == {"yes"}
    assert (found["regret_nats"] <= 0.1).all()


def test_the_regret_of_an_undertrained_model_is_what_another_beta_would_have_saved():
    table = study_table([Planted()], noise=0.01)
    late = (table["beta"] == 0.1) & (table["population"] == "train")
    table.loc[late, "distortion_nats"] += 6.0
    found = convergence(table).set_index("beta")
    assert found.loc[0.1, "converged"] == "no"
    others = [beta for beta in GRID if beta != 0.1]
    best = min(training_distortion(np.array(b)) + 0.1 * training_rate(np.array(b)) for b in others)
    own = training_distortion(np.array(0.1)) + 6 + 0.1 * training_rate(np.array(0.1))
    assert found.loc[0.1, "regret_nats"] == pytest.approx(float(own - best), abs=0.3)
    assert found.loc[0.1, "regret_low"] > 0
    assert set(found["converged"].drop(0.1)) == {"yes"}
    assert not found.loc[0.3, "slope_fits"]


def test_one_seed_has_slopes_and_no_judgement():
    found = convergence(study_table([Planted()], seeds=1))
    assert found["slope"].iloc[0] > 0
    assert found["slope_fits"].isna().all()
    assert set(found["converged"]) == {"undecided"}


def test_a_single_beta_has_no_slope():
    row = convergence(study_table([Planted()], betas=(1.0,))).iloc[0]
    assert np.isnan(row["slope"])
    assert row["converged"] == "undecided"


def test_noise_alone_is_not_called_unconverged():
    """60 curves of 12 points with half a nat of noise: at most 5% of points are called unconverged or ill-fitting."""
    found = convergence(study_table([Planted(width=k) for k in range(1, 61)], noise=0.5))
    assert (found["converged"] == "no").mean() <= 0.05
    assert (found["slope_fits"] == False).mean() <= 0.05  # noqa: E712

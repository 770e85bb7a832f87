"""The paper's own curves: how they are read, how far a study is from them, and when it reproduces them."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.interpolate import PchipInterpolator

from rdstudy.analysis import (
    frontier,
    published_conditions,
    published_curves,
    published_distances,
    published_predictions,
    shapes,
)
from rdstudy.analysis.published.conditions import Condition, _rise_and_minimum
from rdstudy.analysis.published.interpolation import monotone_interpolation
from rdstudy.analysis.published.predictions import _tested
from rdstudy.errors import UserError
from rdstudy.study import load_study
from rdstudy.study.examples import packaged_studies
from tests.analysis.published_studies import CURVES, copied, curves_file, flat

HEADER = "network,split,order_high_to_low_beta,rate_nats,distortion_nats,star\n"
PUBLISHED = Path(__file__).parents[2] / "studies" / "published_rd_curves.csv"


@pytest.fixture
def published(tmp_path):
    return published_curves(curves_file(tmp_path))


def _verdicts(table, published):
    found = published_predictions(table, published)
    return dict(zip(found["id"], found["verdict"], strict=True))


# Reading


def test_the_curves_of_these_tests_are_the_ones_that_were_published(tmp_path):
    pd.testing.assert_frame_equal(published_curves(PUBLISHED), published_curves(curves_file(tmp_path)))


@pytest.mark.parametrize(
    ("depth", "population", "shape", "least"),
    [
        (1, "test", "U-shaped", 77.7),
        (3, "test", "falling", 72.7),
        (1, "train", "falling", 55.6),
        (3, "train", "falling", 53.0),
    ],
)
def test_the_published_curves_have_the_published_shapes(published, depth, population, shape, least):
    found = shapes(published)
    row = found[
        (found["depth"] == depth) & (found["population"] == population) & (found["criterion"] == "distortion_nats")
    ].iloc[0]
    assert row["shape_of_means"] == shape
    assert row["min_nats"] == least
    assert row["shape"] == "undecided"  # there is one curve and no replicate


def test_the_star_is_at_beta_1_and_the_rate_rises_along_each_curve(published):
    points = frontier(published)
    stars = points[points["beta"] == 1].set_index(["depth", "population"])["distortion_nats"]
    assert stars.to_dict() == {(1, "train"): 63.2, (1, "test"): 78.5, (3, "train"): 60.0, (3, "test"): 111.0}
    for _, curve in points.groupby(["depth", "population"]):
        assert curve["rate_nats"].is_monotonic_increasing


def test_a_curve_with_a_point_missing_gets_the_betas_of_the_points_at_its_rates(published):
    """The deep training curve lacks one of the test curve's points, just below beta = 1."""
    deep = published[published["depth"] == 3].pivot(index="beta", columns="population", values="rate_nats")
    assert len(deep) == 11
    assert deep["train"].isna().sum() == 1
    assert (deep["train"] - deep["test"]).abs().max() < 1


def test_each_training_slope_of_the_shallow_curve_lies_between_its_two_betas(published):
    """Up to the error of reading; counted from the star, five of ten would not."""
    curve = published[(published["depth"] == 1) & (published["population"] == "train")]
    rate, distortion, beta = (curve[name].to_numpy() for name in ("rate_nats", "distortion_nats", "beta"))
    saved, error = -np.diff(distortion), np.sqrt(2) * 0.3
    assert (saved >= beta[1:] * np.diff(rate) - error).all()
    assert (saved <= beta[:-1] * np.diff(rate) + error).all()


@pytest.mark.parametrize("missing", range(4, 9))
def test_betas_are_found_whichever_point_could_not_be_read(tmp_path, missing):
    """On a curve whose slopes are known: D = 54 + 8 beta, R = 8 log(16 / beta), so -dD/dR = beta."""
    betas = [5.0, 3.0, 2.0, 1.0, 0.9, 0.7, 0.5, 0.3, 0.1, 0.01, 0.005, 0.001]
    betas.pop(missing)
    lines = [
        f"deep,train,{k},{8 * np.log(16 / beta)},{54 + 8 * beta},{int(beta == 1)}\n" for k, beta in enumerate(betas)
    ]
    (tmp_path / "curves.csv").write_text(HEADER + "".join(lines))
    assert published_curves(tmp_path / "curves.csv")["beta"].tolist() == betas


def test_curves_can_be_given_by_anyone(tmp_path):
    path = tmp_path / "curves.csv"
    path.write_text(HEADER + "shallow,test,0,10,90,0\nshallow,test,1,20,80,1\nshallow,test,2,30,85,0\n")
    assert published_curves(path)["beta"].tolist() == [2.0, 1.0, 0.9]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", r"line 1: lacks the column\(s\) network"),
        ("network,split,star\ndeep,test,1\n", r"line 1: lacks the column\(s\) order_high_to_low_beta, rate_nats, dist"),
        (HEADER, "no points under the header"),
        (HEADER + "wide,test,0,10,90,1\n", "line 2: network is 'wide'; allowed are shallow, deep"),
        (HEADER + "deep,test,0,10,90,1\ndeep,tset,0,10,90,1\n", "line 3: split is 'tset'; allowed are train, test"),
        (HEADER + "deep,test,0,10,90,yes\n", "line 2: star is 'yes'; allowed are 0, 1"),
        (HEADER + "deep,test,0,10,9O.5,1\n", "line 2: distortion_nats is '9O.5'; it must be a number"),
        (HEADER + "deep,test,0,10,,1\n", "line 2: distortion_nats is ''"),
        (HEADER + "deep,test,0,nan,90,1\n", "line 2: rate_nats is 'nan'"),
        (HEADER + "deep,test,0,-1,90,1\n", "line 2: rate_nats is '-1'"),
        (HEADER + "deep,test,0.5,10,90,1\n", "line 2: order_high_to_low_beta is '0.5'; it must be a whole number"),
        (HEADER + "deep,test,0,10,90\n", "line 2: star is ''"),
        (HEADER + "deep,test,0,10,90,1,7\n", "line 2: more values than the header"),
        (HEADER + "deep,test,0,10,90,1\ndeep,test,0,11,89,0\n", "line 3: point 0 of the deep test curve .* line 2"),
        (HEADER + "deep,test,0,10,90,0\n", "the deep test curve has 0 stars"),
        (HEADER + "deep,test,0,10,90,1\ndeep,test,1,10,90,1\n", "2 stars"),
        (HEADER + "".join(f"deep,test,{k},1,1,{int(k == 9)}\n" for k in range(12)), "do not fit the betas"),
    ],
)
def test_curves_that_cannot_be_read_are_refused_with_file_line_and_what_was_found(tmp_path, text, says):
    path = tmp_path / "curves.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=says) as refused:
        published_curves(path)
    assert str(path) in str(refused.value)


def test_a_file_that_is_no_text_or_missing_is_refused(tmp_path):
    (tmp_path / "curves.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="UTF-8"):
        published_curves(tmp_path / "curves.csv")
    with pytest.raises(UserError, match="order_high_to_low_beta"):
        published_curves(tmp_path / "nothing.csv")


# Distances


def test_interpolation_is_that_of_scipy_and_none_outside():
    x = np.array([1.0, 2.0, 4.0, 4.5, 9.0])
    y = np.array([9.0, 3.0, 3.5, 1.0, 0.5])
    at = np.linspace(1, 9, 101)
    np.testing.assert_allclose(monotone_interpolation(at, x, y), PchipInterpolator(x, y)(at), atol=1e-12)
    shuffled = [3, 0, 4, 1, 2]
    np.testing.assert_array_equal(
        monotone_interpolation(at, x[shuffled], y[shuffled]), monotone_interpolation(at, x, y)
    )
    assert np.isnan(monotone_interpolation(np.array([0.9, 9.1]), x, y)).all()
    assert monotone_interpolation(np.array([1.5]), x[:2], y[:2])[0] == 6.0
    assert np.isnan(monotone_interpolation(at, x[:0], y[:0])).all()


def test_the_published_values_are_at_distance_0_from_themselves(published):
    found = published_distances(copied(published, seeds=3), published)
    assert len(found) == len(published) == len(CURVES)
    assert (found["place"] == "inside").all()
    assert (found["n_seeds"] == 3).all()
    np.testing.assert_allclose(found["difference_nats"], 0, atol=1e-9)


def test_distances_depend_on_rates_and_not_on_betas(published):
    other = published.assign(beta=published["beta"] ** 1.5)
    found = published_distances(copied(other, seeds=3), published)
    np.testing.assert_allclose(found["difference_nats"], 0, atol=1e-9)


@pytest.mark.parametrize("beta", [3.0, 0.7, 0.005])
def test_a_beta_that_the_study_lacks_moves_the_distance_of_no_other_point(published, beta):
    """As the deep training curve lacks a point: aligned by index, every point after it would be shifted by one."""
    table = copied(published, seeds=3)
    found = published_distances(table[table["beta"] != beta], published)
    trained = found[found["beta"] != beta]
    assert (trained["place"] == "inside").all()
    np.testing.assert_allclose(trained["difference_nats"], 0, atol=1e-9)


def test_a_shift_is_the_distance_and_seed_noise_its_interval(published):
    """2 nats above, and seeds 1 nat apart: mean 2, half width t(2) / sqrt(3)."""
    shift = {0: 1.0, 1: 2.0, 2: 3.0}
    table = copied(published, seeds=3)
    table["distortion_nats"] += table["seed"].map(shift)
    found = published_distances(table, published)
    np.testing.assert_allclose(found["difference_nats"], 2.0)
    np.testing.assert_allclose(found["difference_high"] - found["difference_nats"], 4.302653 / np.sqrt(3), rtol=1e-5)


def test_points_beyond_our_rates_are_said_to_be_outside_and_have_no_distance(published):
    table = copied(published, seeds=3)
    found = published_distances(table[table["beta"].between(0.01, 2)], published)
    shallow = found[(found["network"] == "shallow") & (found["population"] == "test")]
    assert shallow["place"].tolist() == ["below our rates"] * 2 + ["inside"] * 7 + ["above our rates"] * 2
    assert (shallow["difference_nats"].isna() == (shallow["place"] != "inside")).all()


def test_a_network_that_the_study_lacks_has_no_distance(published):
    table = copied(published, seeds=3)
    found = published_distances(table[table["depth"] == 1], published)
    assert set(found.loc[found["network"] == "deep", "place"]) == {"not in this study"}
    assert set(published_distances(table.assign(dataset="mnist"), published)["place"]) == {"not in this study"}


# Predictions


def test_a_study_with_the_published_values_reproduces_every_prediction(published):
    found = published_predictions(copied(published, seeds=3), published)
    assert found["id"].tolist() == ["P1", "P2", "P3", "P4", "P5"]
    assert set(found["verdict"]) == {"reproduced"}
    known = found["published_nats"].notna()
    np.testing.assert_allclose(found.loc[known, "effect_nats"], found.loc[known, "published_nats"], atol=1e-9)
    parts = published_conditions(copied(published, seeds=3), published).set_index("condition")["published_nats"]
    assert parts["D(1) - D(0.1)"] == pytest.approx(38.0)
    assert parts["deep - shallow at beta 1"] == pytest.approx(32.5)
    assert parts["deep - shallow at beta 0.001"] == pytest.approx(-12.7)
    assert parts["shallow training D(0.001)"] == pytest.approx(55.6)


def test_the_shipped_studies_have_the_cells_and_seeds_that_every_prediction_needs(published):
    """One seed would leave all of them open: here every cell of the studies has 90 nats."""
    studies = packaged_studies()
    cells = [
        cell
        for name in ("published_figure", "published_figure_random")
        for cell in load_study(studies[name]).cells.values()
    ]
    rows = pd.DataFrame([dataclasses.asdict(cell) | {"cell_id": cell.id} for cell in cells])
    rows = rows.assign(step=rows["steps"], is_final=True, status="ok", distortion_nats=90.0, rate_nats=20.0)
    found = published_predictions(pd.concat([rows.assign(population=one) for one in ("train", "test")]), published)
    assert set(found["verdict"]) == {"reproduced", "not reproduced"}
    assert (found["n_seeds"] >= 3).all()


def test_a_flat_study_fails_all_but_the_control(published):
    expected = dict.fromkeys(("P1", "P2", "P3", "P4"), "not reproduced") | {"P5": "reproduced"}
    assert _verdicts(flat(published, seeds=3), published) == expected


def test_a_random_split_with_the_same_rise_fails_the_control(published):
    table = copied(published, seeds=3)
    table = table[(table["split"] == "checkerboard")]
    control = table[table["depth"] == 1].assign(split="random")
    control["cell_id"] += "-random"
    assert _verdicts(pd.concat([table, control]), published)["P5"] == "not reproduced"


@pytest.mark.parametrize(
    ("change", "fails"),
    [
        ({("test", 1, 0.1): 70.0}, "P1"),  # the least D is at a smaller beta
        ({("test", 1, 3.0): 70.0}, "P1"),  # or at a larger one
        ({("test", 1, 0.005): 80.0}, "P1"),  # there is no rise
        ({("test", 3, 0.1): 100.0}, "P2"),
        ({("test", 3, 1.0): 88.0}, "P3"),
        ({("test", 3, 0.001): 85.0}, "P3"),
        ({("train", 3, 0.01): 61.0}, "P4"),
        ({("train", 1, 0.001): 61.0}, "P4"),
    ],
)
def test_one_condition_that_does_not_hold_fails_its_prediction_and_no_other(published, change, fails):
    table = copied(published, seeds=3)
    for (population, depth, beta), value in change.items():
        at = (table["population"] == population) & (table["depth"] == depth) & (table["beta"] == beta)
        assert at.any()
        table.loc[at & (table["split"] == "checkerboard"), "distortion_nats"] = value
    verdicts = _verdicts(table, published)
    assert verdicts.pop(fails) == "not reproduced"
    assert set(verdicts.values()) == {"reproduced"}


def test_what_the_study_lacks_is_named(published):
    table = copied(published, seeds=3)
    found = published_predictions(table[(table["beta"] != 0.1) & (table["split"] != "random")], published)
    by_id = found.set_index("id")
    assert by_id.loc["P2", "verdict"] == by_id.loc["P5", "verdict"] == "not in this study"
    assert by_id.loc["P2", "reason"] == "beta 0.1 not trained at depth 3 of the checkerboard split"
    assert by_id.loc["P5", "reason"] == "no finished cell of the random split at depth 1"
    assert by_id.loc["P1", "verdict"] == "reproduced"
    nothing = published_predictions(table.assign(dataset="mnist"), published)
    assert set(nothing["verdict"]) == {"not in this study"}
    assert nothing["id"].tolist() == ["P1", "P2", "P3", "P4", "P5"]


def test_beta_0_01_serves_where_0_005_was_not_trained_and_the_reason_says_so(published):
    table = copied(published, seeds=3)
    tested = published_conditions(table[~table["beta"].isin([0.005, 0.001])], published)
    rise = tested[tested["id"] == "P1"].iloc[0]
    assert rise["verdict"] == "reproduced"
    assert "beta 0.01 instead of 0.005" in rise["reason"]


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_leave_everything_open(published, seeds):
    assert set(_verdicts(copied(published, seeds=seeds), published).values()) == {"open"}


def test_pairs_are_of_the_seeds_that_both_have(published):
    table = copied(published, seeds=4)
    table = table[~((table["depth"] == 3) & (table["seed"] == 0)) & ~((table["depth"] == 1) & (table["seed"] == 3))]
    found = published_predictions(table, published).set_index("id")
    assert found.loc["P2", "n_seeds"] == 3
    assert found.loc["P3", "n_seeds"] == 2
    assert found.loc["P3", "verdict"] == "open"


def test_a_cell_that_is_not_finished_does_not_count(published):
    table = copied(published, seeds=3).assign(is_final=True)
    unfinished = (table["seed"] == 2) & (table["beta"] == 1.0) & (table["depth"] == 3)
    assert _verdicts(table.assign(is_final=~unfinished), published)["P2"] == "open"


def test_each_setup_has_verdicts_of_its_own_and_only_the_most_images_count(published):
    whole = copied(published, seeds=3)
    tables = [whole, flat(published, seeds=3).assign(width=64), whole.assign(train_size=8192)]
    table = pd.concat([t.assign(cell_id=t["cell_id"] + f"-{k}") for k, t in enumerate(tables)])
    found = published_predictions(table, published)
    assert found.groupby("width")["verdict"].agg(lambda v: (v == "reproduced").sum()).to_dict() == {64: 1, 512: 5}


def test_at_its_threshold_an_effect_is_wrongly_decided_in_one_study_of_twenty_on_either_side():
    """Both one-sided tests at their nominal level: 2,000 studies of 3 seeds, within 4 standard errors."""
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((2000, 3))
    found = pd.Series([_tested(Condition("P2", "", "at least", 15.0, 15 + row))["verdict"] for row in noise])
    for verdict in ("reproduced", "not reproduced"):
        assert abs((found == verdict).mean() - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 2000)


def test_the_luck_of_the_best_beta_is_no_part_of_the_rise():
    """The true rise is 3, just the threshold, and five betas are equally good: 1,000 studies with independent noise.

    Against each seed's own best beta, nearly all of them would have a rise above 3.
    """
    generator = np.random.default_rng(1)
    level = pd.Series({2.0: 95.0, 1.0: 90.0, 0.9: 90.0, 0.7: 90.0, 0.5: 90.0, 0.3: 90.0, 0.1: 92.0, 0.005: 93.0})
    studies, reproduced = 1000, 0
    for noise in generator.standard_normal((studies, 3, len(level))):
        rise = next(_rise_and_minimum(level + pd.DataFrame(noise, columns=level.index)))
        reproduced += _tested(rise)["verdict"] == "reproduced"
    assert reproduced / studies < 0.05 + 4 * np.sqrt(0.05 * 0.95 / studies)


def test_the_least_shallow_test_distortion_is_just_below_beta_1(published):
    curve = published[(published["depth"] == 1) & (published["population"] == "test")]
    assert curve.loc[curve["distortion_nats"].idxmin(), "beta"] == 0.7

"""The three claims, put to studies whose truth is known."""

import numpy as np
import pandas as pd
import pytest

from rdstudy.analysis import capacity, claims, claims_summary, final_measurements
from rdstudy.analysis.replicates import SETTING, Replicates
from tests.analysis.synthetic import GRID, Planted, constant_test, fail, falling, rising, study_table, u_shaped


def verdict(found: pd.DataFrame, claim: str, criterion: str = "distortion_nats") -> pd.Series:
    return found[(found["claim"] == claim) & (found["criterion"] == criterion)].iloc[0]


def setting(distortion: np.ndarray, betas: np.ndarray, number: int = 0, **others: np.ndarray) -> Replicates:
    """One setting from its test distortion [seeds, betas]; further quantities as `train_mi_nats=...`."""
    values = {("test", "distortion_nats"): distortion}
    values |= {(name.split("_", 1)[0], name.split("_", 1)[1]): value for name, value in others.items()}
    return Replicates({**dict.fromkeys(SETTING), "width": number}, betas, np.arange(len(distortion)), values)


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        (falling(), "better"),
        (rising(), "worse"),
        (constant_test(), "equivalent"),
        (u_shaped(best=0.1, rise=3.0), "better"),
        (u_shaped(best=1.0, rise=30.0), "equivalent"),  # at 0.9, next to 1, it is 1.4 nats worse
    ],
)
def test_lowering_beta_is_judged_from_beta_1_down(gap, expected):
    betas = tuple(beta for beta in GRID if beta != 0.9) if expected == "worse" else GRID
    row = verdict(claims(study_table([Planted(gap)], noise=0.1, betas=betas)), "lowering_beta")
    assert row["verdict"] == expected or expected == "worse"
    assert row["reference_beta"] == 1.0
    assert row["low_nats"] <= row["difference_nats"] <= row["high_nats"]


def test_worse_needs_every_smaller_beta_to_be_worse():
    table = study_table([Planted(rising(per_decade=20.0))], noise=0.1, betas=(5.0, 1.0, 0.3, 0.01))
    row = verdict(claims(table), "lowering_beta")
    assert row["verdict"] == "worse"
    assert row["high_nats"] < 0


def test_the_difference_is_that_of_the_means_at_the_two_betas():
    table = study_table([Planted(u_shaped(best=0.1, rise=3.0))], noise=0.5)
    row = verdict(claims(table), "lowering_beta")
    rows = final_measurements(table)
    means = rows[rows["population"] == "test"].groupby("beta")["distortion_nats"].mean()
    assert row["difference_nats"] == pytest.approx(means[row["reference_beta"]] - means[row["beta"]], abs=1e-9)


def test_where_lowering_starts_can_be_chosen():
    table = study_table([Planted(u_shaped(best=1.0))], noise=0.1)
    row = verdict(claims(table, reference_beta=5.0), "lowering_beta")
    assert (row["reference_beta"], row["verdict"]) == (5.0, "better")


def test_where_beta_1_is_not_in_the_grid_the_nearest_is_taken():
    row = verdict(claims(study_table([Planted()], betas=(4.0, 0.8, 0.1))), "lowering_beta")
    assert row["reference_beta"] == 0.8


def test_the_margin_decides_what_is_equivalent_and_can_be_a_share_of_the_range():
    table = study_table([Planted(falling(height=1.0, middle=0.1))], noise=0.05, seed_effect=0.0)
    assert verdict(claims(table), "lowering_beta")["verdict"] == "equivalent"
    assert verdict(claims(table, margin_nats=0.2), "lowering_beta")["verdict"] == "better"
    row = verdict(claims(table, margin_share=0.02), "lowering_beta")
    assert row["margin_nats"] == pytest.approx(0.02 * 1.0, rel=0.3)


def test_underfitting_asks_whether_test_distortion_gains_what_the_gap_costs():
    """Training distortion falls with beta by itself; only the test set can say whether that was underfitting."""
    row = verdict(claims(study_table([Planted(falling(), saturates_at=0.5)], noise=0.1)), "underfitting")
    assert row["verdict"] == "better"
    betas = np.array([1.0, 0.1])
    train = np.array([[60.0, 50.0]] * 4) + 0.1 * np.random.default_rng(0).standard_normal((4, 2))
    deficits = np.array([[3.0, 0.0]] * 4)
    for test_fall, expected in ((9.0, "better"), (2.0, "worse")):
        test = train + np.array([5.0, 5.0 + 10.0 - test_fall])
        one = setting(
            test, betas, train_distortion_nats=train, train_mi_nats=9 - deficits, train_mi_ceiling_nats=0 * deficits + 9
        )
        row = verdict(claims([one]), "underfitting")
        # The gap widens by 10 - fall.
        assert row["difference_nats"] == pytest.approx(test_fall - (10 - test_fall), abs=0.5)
        assert row["verdict"] == expected


def test_underfitting_is_not_supported_merely_because_training_distortion_falls_with_beta():
    """A test distortion that does not depend on beta, training distortion falling: an identity would "support" it."""
    row = verdict(claims(study_table([Planted(constant_test(), saturates_at=0.5)], noise=0.1)), "underfitting")
    assert row["verdict"] == "worse"


@pytest.mark.parametrize(
    ("gap", "expected"),
    [(falling(middle=0.05), "better"), (constant_test(), "equivalent"), (u_shaped(rise=20.0), "worse")],
)
def test_generalization_beyond_saturation_is_judged_below_the_saturated_beta(gap, expected):
    betas = (5.0, 1.0, 0.3, 0.1, 0.01, 0.001)
    table = study_table([Planted(gap, saturates_at=0.5)], noise=0.1, betas=betas)
    row = verdict(claims(table), "beyond_saturation")
    assert row["verdict"] == expected
    assert row["reference_beta"] == 0.1


def test_beyond_saturation_is_not_measurable_where_the_information_is_not_identified():
    row = verdict(claims(study_table([Planted(saturates_at=0.5)], noise=0.1, apart=14.0)), "beyond_saturation")
    assert row["verdict"] == "not_measurable"
    assert "is not identified at beta = " in row["reason"]
    assert "it lies between 11.3 and 25.3 nats" in row["reason"]


def test_beyond_saturation_needs_an_upper_bound_at_the_smallest_betas_too():
    """I is identified where the estimate reaches log N, and may be 20 nats larger at the smallest beta."""
    table = study_table([Planted(saturates_at=0.5)], noise=0.1)
    grown = table["mi_upper_nats"] + 20.0 * (table["beta"] == 0.001)
    row = verdict(claims(table.assign(mi_upper_nats=grown)), "beyond_saturation")
    assert row["verdict"] == "not_measurable"
    assert "at beta = 0.001: it lies between 11.3 and 31.4 nats" in row["reason"]


def test_without_measured_bounds_the_rate_is_the_bound_and_decides_nothing_past_log_n():
    table = study_table([Planted(saturates_at=0.5)], noise=0.1, apart=None)
    found = claims(table)
    row = verdict(found, "beyond_saturation")
    assert row["verdict"] == "not_measurable"
    assert row["reason"].endswith("nats, the rate, as no closer bound was measured")
    assert (
        claims_summary(found)
        .set_index(["claim", "criterion"])
        .loc[("beyond_saturation", "distortion_nats"), "reason"]
        .startswith("the mutual information is not identified")
    )
    rate = table["mi_nats"] + 0.5  # it cannot leave more open than it is
    assert verdict(claims(table.assign(rate_nats=rate)), "beyond_saturation")["verdict"] != "not_measurable"


def test_a_question_the_study_does_not_ask_is_not_measurable_and_says_why():
    never = claims(study_table([Planted(saturates_at=1e-5)]))
    assert verdict(never, "beyond_saturation")["verdict"] == "not_measurable"
    everywhere = claims(study_table([Planted(saturates_at=500.0)]))
    assert "nowhere" in verdict(everywhere, "underfitting")["reason"]
    unmeasured = claims(study_table([Planted()], mi=False))
    for claim in ("underfitting", "beyond_saturation"):
        row = verdict(unmeasured, claim)
        assert row["verdict"] == "not_measurable"
        assert "not measured" in row["reason"]


def test_an_nll_with_more_than_5_percent_unreliable_examples_is_not_judged():
    table = study_table([Planted(falling())], noise=0.1)
    assert verdict(claims(table), "lowering_beta", "nll_nats")["verdict"] == "better"
    at_one_beta = (table["beta"] == 0.01) & (table["population"] == "test")
    table.loc[at_one_beta, "nll_unreliable_share"] = 0.06
    row = verdict(claims(table), "lowering_beta", "nll_nats")
    assert row["verdict"] == "not_measurable"
    assert "beta = 0.01" in row["reason"]
    assert verdict(claims(table), "lowering_beta")["verdict"] == "better"


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_are_open_however_large_the_difference(seeds):
    found = claims(study_table([Planted(falling())], seeds=seeds))
    assert set(found["verdict"]) == {"open"}
    assert set(found["look"]) == {0}
    assert (found["difference_nats"].abs() > 0).all()


def test_a_criterion_that_was_not_measured_is_not_judged():
    found = claims(study_table([Planted()], nll=False))
    assert set(found["criterion"]) == {"distortion_nats", "negative_elbo_nats"}


def test_diverged_cells_take_their_seed_out_of_the_comparison_only():
    table = study_table([Planted(falling())], seeds=4)
    broken = fail(table, (table["beta"] == 1.0) & (table["seed"] == 2), "diverged", "NaN")
    row = verdict(claims(broken), "lowering_beta")
    assert (row["seeds"], row["verdict"]) == (3, "better")


def test_the_order_of_rows_does_not_matter():
    table = study_table([Planted(falling()), Planted(u_shaped(), depth=3)], seeds=3)
    pd.testing.assert_frame_equal(claims(table.sample(frac=1, random_state=3)), claims(table))


@pytest.mark.parametrize("betas", [(1.0,), (0.1,), (1.0, 1.0 + 1e-12)])
def test_a_grid_of_one_beta_is_not_measurable(betas):
    found = claims(study_table([Planted()], betas=betas))
    assert set(found["verdict"]) <= {"not_measurable", "equivalent", "open"}
    if len(betas) == 1:
        assert set(found["verdict"]) == {"not_measurable"}


def test_a_study_planned_for_more_seeds_is_judged_at_its_looks_alone():
    table = study_table([Planted(falling(height=30.0))], seeds=7, noise=3.0)
    now = verdict(claims(table), "lowering_beta")
    assert (now["look"], now["looks"], now["seeds"]) == (3, 3, 7)
    planned = verdict(claims(table, planned_seeds=20), "lowering_beta")
    assert (planned["look"], planned["looks"], planned["seeds"]) == (2, 4, 6)
    first = table[table["seed"] < 6]
    pd.testing.assert_series_equal(planned, verdict(claims(first, planned_seeds=20), "lowering_beta"))


def test_depths_of_a_study_planned_for_more_seeds_are_compared_at_its_looks_alone():
    table = study_table([Planted(u_shaped()), Planted(falling(), depth=3)], betas=(1.0, 0.1), seeds=7, nll=False)
    planned = capacity(table, planned_seeds=20)
    assert set(zip(planned["look"], planned["looks"], planned["seeds"], strict=True)) == {(2, 4, 6)}
    pd.testing.assert_frame_equal(planned, capacity(table[table["seed"] < 6], planned_seeds=20))


def test_the_first_of_four_looks_decides_only_what_is_beyond_doubt():
    small, large = (study_table([Planted(falling(height))], seeds=3, noise=0.4) for height in (12.0, 76.0))
    assert verdict(claims(small), "lowering_beta")["verdict"] == "better"
    assert verdict(claims(small, planned_seeds=20), "lowering_beta")["verdict"] == "open"
    assert verdict(claims(large), "lowering_beta")["verdict"] == "better"


def test_a_beta_chosen_on_validation_images_is_judged_on_the_test_images():
    """Validation prefers 0.1; on the test images 0.01 happens to look better."""
    betas = np.array([1.0, 0.1, 0.01])
    generator = np.random.default_rng(1)
    shared = 5 * generator.standard_normal((6, 1))
    test = np.array([90.0, 80.0, 80.0]) + shared + 0.5 * generator.standard_normal((6, 3))
    validation = np.array([90.0, 70.0, 89.0]) + shared + 0.5 * generator.standard_normal((6, 3))
    chosen = verdict(claims([setting(test, betas, validation_distortion_nats=validation)]), "lowering_beta")
    assert chosen["chosen_on"] == "validation images of other seeds"
    assert chosen["verdict"] == "better"
    assert chosen["beta"] == 0.1
    assert verdict(claims([setting(test, betas)]), "lowering_beta")["chosen_on"] == "other seeds"


def test_a_noisy_small_beta_cannot_contradict_a_better_one():
    """0.1 is better by 2 nats; 0.001 is so noisy that its mean may lie anywhere: never "worse" or "equivalent"."""
    generator = np.random.default_rng(5)
    betas = np.array([1.0, 0.5, 0.1, 0.01, 0.001])
    noise = np.array([0.6, 0.6, 0.6, 4.0, 8.0])
    for _ in range(20):
        values = np.array([90.0, 89.5, 88.0, 90.0, 90.0]) + noise * generator.standard_normal((3, 5))
        assert verdict(claims([setting(values, betas)]), "lowering_beta")["verdict"] in ("better", "open")


def test_settings_that_are_equally_noisy_lend_each_other_their_noise():
    """A gain of 2 nats, differences of sd 0.8, 3 seeds: found in nearly all of 40 settings, alone in two thirds."""
    generator = np.random.default_rng(0)
    betas = np.array([1.0, 0.1])
    made = [setting(np.array([90.0, 88.0]) + generator.normal(0, 0.55, (3, 2)), betas, k) for k in range(40)]
    alone = [verdict(claims([one]), "lowering_beta")["verdict"] for one in made]
    assert (claims(made).query("claim == 'lowering_beta'")["verdict"] == "better").sum() >= 36
    assert alone.count("better") <= 28


def test_one_of_many_settings_needs_more_than_a_setting_alone():
    """A paired t of 3.5 with 5 degrees of freedom is enough alone; among 100 settings some are as large by chance."""
    betas = np.array([1.0, 0.1])
    spread = np.array([-1.0, 1.0, -1.0, 1.0, -1.0, 1.0])  # of mean 0 and sd 1.095
    made = [
        setting(np.stack([90 + gain + spread, np.full(6, 90.0)], axis=1), betas, k)
        for k, gain in enumerate([1.5, *[0.0] * 99])
    ]
    assert verdict(claims(made[:1]), "lowering_beta")["verdict"] == "better"
    assert verdict(claims(made), "lowering_beta")["verdict"] == "open"


def judged(verdicts: list[str], splits: list[str]) -> pd.Series:
    """The summary of settings of one data set with these verdicts and splits."""
    rows = pd.DataFrame({"verdict": verdicts, "split": splits, "dataset": "tetrominoes"})
    same = {"claim": "lowering_beta", "criterion": "distortion_nats", "difference_nats": 3.0, "margin_nats": 2.0}
    return claims_summary(rows.assign(**same, seeds=3, look=1, looks=1, reason="")).iloc[0]


def test_settings_that_share_their_images_count_less_than_as_many_that_do_not():
    """30 better and 10 worse of 40: most, if they are independent; not if each split is of one mind."""
    verdicts = ["better"] * 30 + ["worse"] * 10
    assert judged(verdicts, [f"holdout({k})" for k in range(40)])["verdict"] == "supported"
    together = judged(verdicts, [f"holdout({k // 10})" for k in range(40)])
    assert together["verdict"] == "open"
    assert together["share_low"] == together["share_high"] == 0.75


def test_a_few_settings_do_not_speak_for_most_however_much_they_agree():
    """Resampling settings that all agree gives no spread; of 5 that agree, the true share may be 0.48."""
    assert judged(["better"] * 5, ["random"] * 5)["verdict"] == "open"
    assert judged(["better"] * 6, ["random"] * 6)["verdict"] == "supported"


def test_capacity_compares_deep_with_shallow_at_the_same_beta_and_seed():
    table = study_table([Planted(u_shaped(best=0.9)), Planted(falling(), depth=3)], seeds=4, noise=0.1)
    found = capacity(table)
    rows = found[found["criterion"] == "distortion_nats"].set_index("beta")
    assert set(rows["reference_depth"]) == {1}
    assert rows.loc[1.0, "verdict"] == "worse"
    assert rows.loc[0.001, "verdict"] == "better"
    finals = final_measurements(table)
    means = finals[finals["population"] == "test"].groupby(["depth", "beta"])["distortion_nats"].mean()
    assert rows.loc[1.0, "difference_nats"] == pytest.approx(means[3, 1.0] - means[1, 1.0], abs=1e-9)
    assert (rows["low_nats"] <= rows["difference_nats"]).all()


def test_networks_whose_nll_is_unreliable_are_not_compared_by_it():
    table = study_table([Planted(u_shaped(best=0.9)), Planted(falling(), depth=3)], seeds=4, betas=(1.0, 0.1))
    table["nll_unreliable_share"] = 0.5 * ((table["beta"] == 0.1) & (table["depth"] == 1))
    found = capacity(table).set_index(["criterion", "beta"])
    assert found.loc[("nll_nats", 0.1), "verdict"] == "not_measurable"
    assert "unreliable at beta = 0.1" in found.loc[("nll_nats", 0.1), "reason"]
    assert np.isnan(found.loc[("nll_nats", 0.1), "difference_nats"])
    assert found.loc[("nll_nats", 1.0), "verdict"] != "not_measurable"
    assert found.loc[("distortion_nats", 0.1), "verdict"] != "not_measurable"


def test_one_depth_has_no_capacity_contrast():
    assert capacity(study_table([Planted()], seeds=3)).empty

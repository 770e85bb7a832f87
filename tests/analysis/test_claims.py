"""The three claims, put to studies whose truth is known."""

import math

import numpy as np
import pandas as pd
import pytest

from rdstudy.analysis import CLAIMS, claims, claims_summary
from rdstudy.analysis.replicates import SETTING, Replicates
from tests.analysis.synthetic import GRID, Planted, constant_test, fail, falling, rising, study_table, u_shaped


def verdict(found: pd.DataFrame, claim: str, criterion: str = "distortion_nats") -> pd.Series:
    return found[(found["claim"] == claim) & (found["criterion"] == criterion)].iloc[0]


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        (falling(), "supported"),
        (rising(), "contradicted"),
        (constant_test(), "contradicted"),  # no effect is not an improvement
        (u_shaped(best=0.1, rise=3.0), "supported"),
        (u_shaped(best=1.0, rise=3.0), "contradicted"),
    ],
)
def test_lowering_beta_is_judged_from_beta_1_down(gap, expected):
    row = verdict(claims(study_table([Planted(gap)], noise=0.1)), "lowering_beta")
    assert row["verdict"] == expected
    assert row["reference_beta"] == 1.0
    assert row["sentence"].startswith(expected.capitalize())


def test_the_effect_of_lowering_beta_is_the_planted_one():
    """From beta = 1 to the plateau: 76 / (1 + 0.8^3) nats, less what the soft minimum averages over."""
    row = verdict(claims(study_table([Planted(falling(76, 0.8))], noise=0.1)), "lowering_beta")
    assert row["effect_nats"] == pytest.approx(76 / (1 + 0.8**3), abs=0.5)
    assert row["effect_low"] < row["effect_nats"] < row["effect_high"]


def test_a_u_shape_is_told_with_what_happens_at_the_smallest_beta():
    row = verdict(claims(study_table([Planted(u_shaped(best=0.1, rise=3.0))], noise=0.1)), "lowering_beta")
    assert "U-shaped" in row["sentence"]
    assert row["at_smallest_low"] <= row["at_smallest_nats"] <= row["at_smallest_high"]
    assert row["at_smallest_nats"] == pytest.approx(78 + 6 - (78 + 10), abs=0.5)


def test_where_lowering_starts_can_be_chosen():
    table = study_table([Planted(u_shaped(best=1.0))], noise=0.1)
    row = verdict(claims(table, reference_beta=5.0), "lowering_beta")
    assert (row["reference_beta"], row["verdict"]) == (5.0, "supported")


def test_where_beta_1_is_not_in_the_grid_the_nearest_is_taken():
    row = verdict(claims(study_table([Planted()], betas=(4.0, 0.8, 0.1))), "lowering_beta")
    assert row["reference_beta"] == 0.8


def test_underfitting_is_the_rise_of_training_distortion_where_information_is_lost():
    planted = Planted(saturates_at=0.5)
    row = verdict(claims(study_table([planted], noise=0.1)), "underfitting")
    shares = {beta: 1 / (1 + (beta / 0.5) ** 2 * (1 / 0.95 - 1)) for beta in GRID}
    reduced = [beta for beta, share in shares.items() if share <= 0.9]
    edge = row["reference_beta"]
    assert row["verdict"] == "supported"
    assert row["effect_nats"] == pytest.approx(8 * (np.mean(reduced) - edge), abs=0.3)


def test_underfitting_is_contradicted_where_training_does_not_suffer():
    table = study_table([Planted(saturates_at=0.5)], noise=0.1)
    train = table["population"] == "train"
    table.loc[train, "distortion_nats"] = 60 + 0.1 * table.loc[train, "seed"]
    assert verdict(claims(table), "underfitting")["verdict"] == "contradicted"


@pytest.mark.parametrize(
    ("gap", "expected"),
    [(falling(middle=0.05), "supported"), (constant_test(), "contradicted"), (u_shaped(), "contradicted")],
)
def test_generalization_beyond_saturation_is_judged_below_the_saturated_beta(gap, expected):
    row = verdict(claims(study_table([Planted(gap, saturates_at=0.5)], noise=0.1)), "beyond_saturation")
    assert row["verdict"] == expected
    assert row["reference_beta"] in (0.5, 0.3)


def test_a_question_the_study_does_not_ask_is_undecided_and_says_why():
    never = claims(study_table([Planted(saturates_at=1e-5)]))
    assert "never reaches" in verdict(never, "beyond_saturation")["sentence"]
    everywhere = claims(study_table([Planted(saturates_at=50.0)]))
    assert "at no beta" in verdict(everywhere, "underfitting")["sentence"]
    unmeasured = claims(study_table([Planted()], mi=False))
    for claim in ("underfitting", "beyond_saturation"):
        row = verdict(unmeasured, claim)
        assert row["verdict"] == "undecided"
        assert "not measured" in row["sentence"]
        assert pd.isna(row["more_runs"])


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_are_undecided_however_large_the_effect(seeds):
    found = claims(study_table([Planted(falling())], seeds=seeds))
    assert set(found["verdict"]) == {"undecided"}


def test_two_seeds_say_how_many_more_runs_would_settle_it():
    row = verdict(claims(study_table([Planted(falling())], seeds=2)), "lowering_beta")
    assert row["seeds_needed"] == 3
    assert row["more_runs"] == len(GRID)
    assert "12 more runs" in row["sentence"]


def test_one_seed_borrows_the_spread_of_settings_that_have_more():
    table = study_table([Planted(falling()), Planted(falling(), depth=3)], seeds=3)
    alone = table[(table["depth"] == 3) | (table["seed"] == 0)]
    rows = claims(alone)
    row = rows[(rows["depth"] == 1) & (rows["claim"] == "lowering_beta")].iloc[0]
    assert row["n_seeds"] == 1
    assert row["seeds_needed"] == 3
    assert "cannot be told" in verdict(claims(table[table["seed"] == 0]), "lowering_beta")["sentence"]


def test_a_settled_claim_asks_for_no_more_runs():
    found = claims(study_table([Planted(falling())]))
    settled = found[found["verdict"] != "undecided"]
    assert len(settled)
    assert settled["more_runs"].isna().all()


def test_a_criterion_that_was_not_measured_is_not_judged():
    found = claims(study_table([Planted()], nll=False))
    assert set(found["criterion"]) == {"distortion_nats", "negative_elbo_nats"}


def test_diverged_cells_take_their_seed_out_of_the_comparison_only():
    table = study_table([Planted(falling())], seeds=4)
    broken = fail(table, (table["beta"] == 1.0) & (table["seed"] == 2), "diverged", "NaN")
    row = verdict(claims(broken), "lowering_beta")
    assert (row["n_seeds"], row["verdict"]) == (3, "supported")


def test_the_order_of_rows_does_not_matter():
    table = study_table([Planted(falling()), Planted(u_shaped(), depth=3)], seeds=3)
    pd.testing.assert_frame_equal(claims(table.sample(frac=1, random_state=3)), claims(table))


@pytest.mark.parametrize("betas", [(1.0,), (0.1,), (1.0, 1.0 + 1e-12)])
def test_a_grid_of_one_beta_is_undecided(betas):
    found = claims(study_table([Planted()], betas=betas))
    assert set(found["verdict"]) <= {"undecided", "contradicted"}
    if len(betas) == 1:
        assert set(found["verdict"]) == {"undecided"}


def test_most_settings_is_a_share_with_an_interval():
    settings = [Planted(falling(), depth=d, width=w) for d in (1, 3) for w in (64, 128, 256)]
    found = claims_summary(claims(study_table(settings, seeds=3, nll=False, mi=False)))
    row = found[(found["claim"] == "lowering_beta") & (found["criterion"] == "distortion_nats")].iloc[0]
    assert (row["supported"], row["n_settings"], row["share"]) == (6, 6, 1.0)
    assert row["share_low"] == pytest.approx(0.025 ** (1 / 6))
    assert row["verdict"] == "supported"
    unasked = found[found["claim"] == "underfitting"].iloc[0]
    assert (unasked["undecided"], unasked["verdict"]) == (6, "undecided")
    assert math.isnan(unasked["share"])


def test_a_summary_says_why_nothing_could_be_decided_and_how_many_runs_would_change_that():
    settings = [Planted(falling(), depth=d) for d in (1, 2)]
    unmeasured = claims_summary(claims(study_table(settings, mi=False)))
    row = unmeasured[unmeasured["claim"] == "underfitting"].iloc[0]
    assert row["sentence"] == "None of 2 settings could be decided: the mutual information was not measured."
    few = claims_summary(claims(study_table(settings, seeds=2)))
    row = few[few["claim"] == "lowering_beta"].iloc[0]
    assert row["more_runs"] == 2 * len(GRID)
    assert row["sentence"].endswith("About 24 more runs would settle 2 of the undecided.")


def test_four_of_four_settings_are_too_few_to_say_most():
    settings = [Planted(falling(), depth=d) for d in (1, 2, 3, 4)]
    row = claims_summary(claims(study_table(settings, seeds=3))).iloc[0]
    assert (row["share"], row["verdict"]) == (1.0, "undecided")
    assert "Too few settings" in row["sentence"]


def _false_support(studies: int, seeds: int, noise: float, seed: int) -> dict[str, float]:
    """How often each claim is supported where nothing but noise was planted, in train and test distortion alike."""
    generator = np.random.default_rng(seed)
    betas = np.array(GRID)
    share = 1 / (1 + (betas / 0.5) ** 2 * (1 / 0.95 - 1))

    def study(number: int) -> Replicates:
        def noisy() -> np.ndarray:
            own, shared = generator.standard_normal((seeds, 12)), generator.standard_normal((seeds, 1))
            return np.asarray(90 + noise * (own + shared))

        told = np.clip(share + 0.0005 * generator.standard_normal((seeds, 12)), 0, 1)
        values = {
            ("train", "distortion_nats"): noisy(),
            ("test", "distortion_nats"): noisy(),
            ("train", "mi_share"): told,
        }
        return Replicates({**dict.fromkeys(SETTING), "width": number}, betas, np.arange(seeds), values)

    found = claims([study(number) for number in range(studies)])
    return {claim: float((found.loc[found["claim"] == claim, "verdict"] == "supported").mean()) for claim in CLAIMS}


@pytest.mark.parametrize(("seeds", "noise"), [(3, 2.0)])
def test_with_no_effect_a_claim_is_supported_in_at_most_5_percent(seeds, noise):
    """300 studies; the expected share is about 2.5%, and 5% is nearly three standard errors above it."""
    for claim, share in _false_support(300, seeds, noise, seed=21).items():
        assert share <= 0.05, claim


@pytest.mark.simulation
@pytest.mark.parametrize(("seeds", "noise"), [(3, 1.0), (3, 3.0), (5, 1.0), (10, 1.0)])
def test_with_no_effect_a_claim_is_supported_in_at_most_4_percent_of_many_studies(seeds, noise):
    """1,500 studies each: 4% is 2.5 standard errors above the largest share expected, 2.8%."""
    for claim, share in _false_support(1500, seeds, noise, seed=22).items():
        assert share <= 0.04, claim

"""The gap's two parts: their sum is the gap of the objective, and the verdict names the part that moves."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdstudy.analysis.gap_parts import changed, gap_changes, gap_parts
from rdstudy.analysis.replicates import SETTING, Replicates
from tests.analysis import PROPERTY
from tests.analysis.synthetic import Planted, study_table

BETAS = (1.0, 0.1, 0.001)


def refitted(
    table: pd.DataFrame,
    encoder: dict[float, float],
    decoder: dict[float, float],
    noise: float = 0.1,
    generator: np.random.Generator | None = None,
) -> pd.DataFrame:
    """The table with a refit in every row, whose parts of the gap at each beta are these."""
    generator = np.random.default_rng(0) if generator is None else generator
    test, beta = table["population"] == "test", table["beta"]
    draws = noise * generator.standard_normal((3, len(table)))
    missed = 1 + beta.map(encoder) * test + draws[0]
    rate = 20 + draws[1]
    best = 60 + beta.map(decoder) * test + draws[2]  # D* + beta R*
    return table.assign(
        inference_gap_nats=missed,
        inference_gap_se=0.1,
        refit_rate_nats=rate,
        refit_distortion_nats=best - beta * rate,
        refit_change_nats=0.01,
        refit_examples=256,
        refit_steps=50,
        distortion_nats=best - beta * rate + missed,
        rate_nats=rate,
        elbo_nats=-(best - beta * rate + missed + rate),
    )


@PROPERTY
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 3))
def test_the_parts_add_up_to_the_gap_of_the_objective(seed, seeds, settings):
    generator = np.random.default_rng(seed)
    made = study_table([Planted(width=64 * (k + 1)) for k in range(settings)], betas=BETAS, seeds=seeds)
    encoder, decoder = (dict(zip(BETAS, generator.normal(0, 5, len(BETAS)), strict=True)) for _ in range(2))
    table = refitted(made, encoder, decoder, generator=generator)
    objective = table.assign(value=table["distortion_nats"] + table["beta"] * table["rate_nats"])
    means = objective.pivot_table(index=["width", "beta"], columns="population", values="value")
    found = gap_parts(table).set_index(["width", "beta"])
    for key, row in found.iterrows():
        assert row["gap_nats"] == pytest.approx(means.loc[key, "test"] - means.loc[key, "train"], abs=1e-9)
        assert row["encoder_nats"] + row["decoder_nats"] == pytest.approx(row["gap_nats"], abs=1e-9)
        assert row["n_seeds"] == seeds


def test_the_verdict_names_the_part_that_moves():
    made = study_table([Planted()], betas=BETAS, seeds=5)
    grows, stays = {1.0: 2.0, 0.1: 10.0, 0.001: 40.0}, dict.fromkeys(BETAS, 3.0)
    for encoder, decoder, said in ((grows, stays, "encoder"), (stays, grows, "decoder"), (grows, grows, "both")):
        rows = gap_changes(refitted(made, encoder, decoder)).set_index("part")
        assert (rows["changes"] == said).all()
        excess = {"encoder": "worse", "decoder": "better", "both": "equivalent"}
        assert rows.loc["encoder minus decoder", "verdict"] == excess[said]
        for part, planted in (("encoder", encoder), ("decoder", decoder)):
            row = rows.loc[part]
            assert row["difference_nats"] == pytest.approx(planted[0.001] - planted[1.0], abs=0.3)
            assert row["low_nats"] <= row["difference_nats"] <= row["high_nats"]
            assert row["verdict"] == ("worse" if planted is grows else "equivalent")
            assert (row["reference_beta"], row["beta"]) == (1.0, 0.001)
    rows = gap_changes(refitted(made, stays, stays))
    assert set(rows["changes"]) == {"neither"}
    narrowed = gap_changes(refitted(made, {1.0: 30.0, 0.1: 9.0, 0.001: 2.0}, stays)).set_index("part")
    assert narrowed.loc["encoder", "verdict"] == "better"
    assert set(narrowed["changes"]) == {"encoder"}


def test_a_part_that_is_open_leaves_whose_open():
    made = study_table([Planted()], betas=BETAS, seeds=3)
    rows = gap_changes(refitted(made, dict.fromkeys(BETAS, 1.0), dict.fromkeys(BETAS, 1.0), noise=20.0))
    assert rows.loc[rows["part"].isin(["encoder", "decoder"]), "verdict"].eq("open").all()
    assert rows["changes"].isna().all()
    assert changed("worse", "open") is None
    assert changed("not_measurable", "equivalent") is None


def test_what_was_not_refitted_on_both_populations_is_left_out():
    made = study_table([Planted(), Planted(width=64)], betas=BETAS, seeds=3)
    table = refitted(made, dict.fromkeys(BETAS, 1.0), dict.fromkeys(BETAS, 1.0))
    columns = table.columns[table.columns.str.match("refit_|inference_")]
    missing = (table["width"] == 64) & (table["population"] == "train")
    table.loc[missing, columns] = np.nan
    assert set(gap_parts(table)["width"]) == {512}
    assert set(gap_changes(table)["width"]) == {512}
    assert gap_parts(made).empty
    assert gap_changes(made).empty


def test_a_beta_whose_refits_had_not_converged_is_counted():
    made = study_table([Planted()], betas=BETAS, seeds=3)
    table = refitted(made, dict.fromkeys(BETAS, 1.0), dict.fromkeys(BETAS, 1.0))
    chosen = (table["beta"] == 0.001) & (table["population"] == "test") & (table["seed"] < 2)
    table.loc[chosen, "refit_change_nats"] = 0.2
    assert gap_parts(table).set_index("beta")["n_unconverged"].to_dict() == {1.0: 0, 0.1: 0, 0.001: 2}


def test_the_parts_do_not_depend_on_the_order_of_the_rows():
    made = study_table([Planted()], betas=BETAS, seeds=3)
    table = refitted(made, {1.0: 1.0, 0.1: 2.0, 0.001: 9.0}, dict.fromkeys(BETAS, 1.0))
    shuffled = table.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(gap_parts(table), gap_parts(shuffled))
    pd.testing.assert_frame_equal(gap_changes(table), gap_changes(shuffled))


TRUE_CHANGES = [(0.0, 0.0, "neither"), (2.0, 0.0, "encoder"), (0.0, -2.0, "decoder"), (2.0, 2.0, "both")]
"""Changes of the encoder's and of the decoder's part, each 0 or the margin itself, where an answer is hardest."""


@pytest.mark.parametrize(("encoder", "decoder", "true"), TRUE_CHANGES)
@pytest.mark.parametrize(("seeds", "studies"), [(3, 40), pytest.param(6, 200, marks=pytest.mark.simulation)])
def test_a_false_answer_to_whose_generalization_is_rare(encoder, decoder, true, seeds, studies):
    """Each part errs in 2.5% at most, so whose in 5%, and three standard errors of the count."""
    generator = np.random.default_rng(seeds)
    betas, said = np.array([1.0, 0.01]), []
    for _ in range(studies):
        made = []
        for width in range(4):
            sd = generator.uniform(0.3, 2.0)
            shifts = {name: sd * generator.standard_normal((seeds, 2)) for name in ("missed", "least")}
            zero = np.zeros((seeds, 2))
            values = {
                ("test", "inference_gap_nats"): 3 + np.array([0.0, encoder]) + shifts["missed"],
                ("train", "inference_gap_nats"): zero,
                ("test", "refit_distortion_nats"): 80 + np.array([0.0, decoder]) + shifts["least"],
                ("train", "refit_distortion_nats"): zero,
                ("test", "refit_rate_nats"): zero,
                ("train", "refit_rate_nats"): zero,
            }
            made.append(Replicates({**dict.fromkeys(SETTING), "width": width}, betas, np.arange(seeds), values))
        rows = gap_changes(made)
        said += rows.loc[rows["part"] == "encoder", "changes"].tolist()
    false = np.mean([answer is not None and answer != true for answer in said])
    assert false <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / len(said))

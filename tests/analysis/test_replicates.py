"""Which rows of the table count."""

import numpy as np
import pandas as pd
import pytest

from rdstudy.analysis.replicates import SETTING, final_measurements, replicates, setting_label, varying
from rdstudy.errors import UserError
from tests.analysis.synthetic import Planted, fail, falling, study_table, u_shaped

BETAS = (1.0, 0.1, 0.01)


def test_only_final_rows_of_cells_that_are_ok_count():
    table = study_table([Planted()], betas=BETAS, seeds=2, steps=(10, 100))
    table = fail(table, (table["beta"] == 0.1) & (table["seed"] == 1), "diverged", "NaN")
    finals = final_measurements(table)
    assert len(finals) == 2 * (3 * 2 - 1)
    assert set(finals["steps"]) == {100}
    assert not ((finals["beta"] == 0.1) & (finals["seed"] == 1)).any()


def test_each_quantity_comes_from_the_row_with_the_most_draws_for_it():
    table = study_table([Planted()], betas=BETAS, seeds=1)
    again = table.assign(
        evaluation_id="e1", nll_draws=4096, nll_nats=table["nll_nats"] - 1, mi_draws=None, mi_nats=np.nan
    )
    again["n_examples"] = 10
    again["distortion_nats"] += 50
    for rows in (pd.concat([table, again]), pd.concat([again, table])):
        finals = final_measurements(rows)
        before = final_measurements(table)
        assert len(finals) == len(before)
        np.testing.assert_allclose(finals["nll_nats"], before["nll_nats"] - 1)
        np.testing.assert_allclose(finals["distortion_nats"], before["distortion_nats"])
        np.testing.assert_allclose(finals["mi_nats"], before["mi_nats"])


def test_an_nll_by_draws_from_the_encoder_is_left_out_where_others_of_its_setting_are_by_a_fitted_proposal():
    """At small beta it is tens of nats higher, whatever the model."""
    table = study_table([Planted()], betas=BETAS, seeds=2)
    everywhere = final_measurements(table)["nll_nats"]
    assert everywhere.notna().all()
    table["nll_components"] = np.where(table["beta"] == 0.1, 3, np.nan)
    finals = final_measurements(table)
    assert (finals["nll_nats"].notna() == (finals["beta"] == 0.1)).all()
    assert finals["distortion_nats"].notna().all()


def test_while_only_some_cells_of_a_curve_are_measured_better_all_are_compared_alike():
    """An NLL falls with its draws: a curve of which half has more draws would fall there for no other reason."""
    table = study_table([Planted()], betas=BETAS, seeds=2)
    better = table.assign(evaluation_id="e1", nll_draws=4096, nll_nats=table["nll_nats"] - 5)
    some = final_measurements(pd.concat([table, better[better["beta"] == 0.1]]))
    np.testing.assert_allclose(some["nll_nats"], final_measurements(table)["nll_nats"])
    every = final_measurements(pd.concat([table, better]))
    np.testing.assert_allclose(every["nll_nats"], final_measurements(table)["nll_nats"] - 5)


def test_the_order_of_rows_does_not_matter():
    table = study_table([Planted(u_shaped()), Planted(falling(), depth=3)], betas=BETAS, seeds=3)
    shuffled = table.sample(frac=1, random_state=1)
    for one, other in zip(replicates(table), replicates(shuffled), strict=True):
        assert one.setting == other.setting
        for key, values in one.values.items():
            np.testing.assert_array_equal(values, other.values[key])


def test_betas_run_from_the_largest_down_and_each_seed_has_its_row():
    (setting,) = replicates(study_table([Planted()], betas=BETAS, seeds=4, noise=0.0, seed_effect=1.0))
    assert setting.betas.tolist() == [1.0, 0.1, 0.01]
    distortion = setting.of("train", "distortion_nats")
    assert distortion.shape == (4, 3)
    np.testing.assert_allclose(np.diff(distortion, axis=1) - np.diff(distortion[0]), 0, atol=1e-9)


def test_cells_that_share_setting_beta_and_seed_are_averaged():
    table = study_table([Planted()], betas=BETAS, seeds=2)
    twin = table.assign(cell_id=table["cell_id"] + "x", distortion_nats=table["distortion_nats"] + 2)
    (both,), (one,) = replicates(pd.concat([table, twin])), replicates(table)
    np.testing.assert_allclose(both.of("test", "distortion_nats"), one.of("test", "distortion_nats") + 1)


def test_a_cell_with_another_budget_is_another_setting():
    short = study_table([Planted()], betas=BETAS, steps=(10,))
    long = study_table([Planted()], betas=BETAS, steps=(20,))
    long["cell_id"] += "x"
    assert [setting.setting["steps"] for setting in replicates(pd.concat([long, short]))] == [10, 20]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_was_not_measured(value):
    table = study_table([Planted()], betas=BETAS, seeds=2)
    table.loc[(table["beta"] == 0.1) & (table["seed"] == 0), "distortion_nats"] = value
    (setting,) = replicates(table)
    assert np.isnan(setting.of("test", "distortion_nats")).tolist() == [[False, True, False], [False] * 3]


def test_what_was_never_measured_is_nan_and_says_so():
    (setting,) = replicates(study_table([Planted()], betas=BETAS, nll=False, mi=False))
    assert not setting.measured("test", "nll_nats")
    assert np.isnan(setting.of("test", "mi_nats")).all()
    assert setting.measured("test", "negative_elbo_nats")


def test_columns_as_parquet_gives_them_are_read_too():
    table = study_table([Planted()], betas=BETAS, seeds=2)
    table["nll_draws"] = table["nll_draws"].astype("Int64")
    table["mi_draws"] = None
    assert final_measurements(table)["nll_nats"].notna().all()


def test_a_table_without_the_needed_columns_is_refused_with_what_to_do():
    with pytest.raises(UserError, match="load_measurements"):
        final_measurements(pd.DataFrame({"x": [1]}))


def test_an_empty_table_has_no_settings():
    assert len(replicates(study_table([Planted()], betas=BETAS).iloc[:0])) == 0


def test_a_label_names_what_varies_and_no_more():
    table = study_table([Planted(), Planted(train_size=1024), Planted(depth=3)], betas=BETAS)
    finals = final_measurements(table)
    assert varying(finals) == ["train_size", "depth"]
    assert setting_label(finals.iloc[0], varying(finals)) == "81,920 examples, depth 1"
    assert setting_label(finals.iloc[0], []) == ""
    assert "tetrominoes" in setting_label(finals.iloc[0], SETTING)


def test_steps_that_follow_from_the_training_size_are_not_named():
    small = study_table([Planted(train_size=1024)], betas=BETAS, steps=(80,))
    large = study_table([Planted(train_size=8192)], betas=BETAS, steps=(640,))
    large["cell_id"] += "x"
    assert varying(final_measurements(pd.concat([small, large]))) == ["train_size"]

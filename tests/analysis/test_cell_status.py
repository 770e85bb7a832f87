"""What happened to the cells."""

import pandas as pd

from rdstudy.analysis import cells, learning, missing, trouble
from tests.analysis.synthetic import Planted, fail, study_table

BETAS = (1.0, 0.1)


def _table() -> pd.DataFrame:
    return study_table([Planted()], betas=BETAS, seeds=3, steps=(10, 20, 30))


def test_a_cell_is_what_its_final_rows_say_and_running_without_them():
    table = _table()
    table = fail(table, (table["beta"] == 0.1) & (table["seed"] == 0), "diverged", "loss is NaN")
    table = table[~((table["beta"] == 1.0) & (table["seed"] == 2) & table["is_final"])]
    found = cells(table).set_index(["beta", "seed"])
    assert found.loc[(0.1, 0), ["status", "message"]].tolist() == ["diverged", "loss is NaN"]
    assert found.loc[(1.0, 2), ["status", "step"]].tolist() == ["running", 20]
    assert (found["status"] == "ok").sum() == 4


def test_a_cell_that_failed_and_was_then_trained_is_ok():
    table = _table()
    failed = fail(table[table["is_final"]], table["is_final"][table["is_final"]], "failed", "host lost")
    assert set(cells(pd.concat([failed, table]))["status"]) == {"ok"}


def test_trouble_is_counted_by_what_it_said():
    table = _table()
    table = fail(table, table["beta"] == 0.1, "diverged", "loss is NaN")
    row = trouble(table).iloc[0]
    assert (row["n_cells"], row["betas"], row["seeds"]) == (3, "0.1", "2, 1, 0")
    assert trouble(_table()).empty


def test_planned_cells_that_are_not_finished_are_missing():
    table = _table()
    planned = table[["cell_id", "dataset", "beta", "seed"]].drop_duplicates()
    assert missing(table, planned).empty
    half = table[(table["seed"] < 2) & ~((table["seed"] == 1) & table["is_final"])]
    found = missing(half, planned)
    assert found["status"].value_counts().to_dict() == {"running": 2, "not started": 2}
    diverged = fail(table, table["seed"] == 0, "diverged", "NaN")
    assert missing(diverged, planned).empty
    failed = fail(table, table["seed"] == 0, "failed", "host lost")
    assert set(missing(failed, planned)["status"]) == {"failed"}


def test_learning_curves_have_every_step_of_the_cells_that_finished():
    table = _table()
    table = table[~((table["seed"] == 2) & table["is_final"])]
    found = learning(table)
    assert sorted(found["step"].unique()) == [10, 20, 30]
    assert set(found["n_seeds"]) == {2}
    assert (found["distortion_low"] <= found["distortion_nats"]).all()
    assert (found["distortion_nats"] <= found["distortion_high"]).all()
    assert set(found["steps"]) == {30}

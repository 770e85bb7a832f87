"""A search chooses on validation examples where there are some, and reports the test value; data seeds replicate."""

import math
from dataclasses import replace

import pandas as pd
import pytest

from rdstudy.execution.search import Search, chosen_on, outcomes, summarise
from rdstudy.execution.search.beta_search import Point
from rdstudy.execution.search.frontier_search import Frontier
from rdstudy.execution.search.outcome import Final
from rdstudy.execution.search.search import Curves
from rdstudy.storage.schema import OK, TEST, TRAIN, VALIDATION
from rdstudy.study.early_stopping import Measured
from tests.execution.search.objective import play, study, trained

VALIDATED = "dataset.validation_size=100"
ONE = ("grid.depth=[1]", "search.stop_when.cells=24")
BEST, LUCKY = 0.1, 1.0
"""The best beta, and the one that the test images happen to favour."""


def final_row(cell: str, population: str, **values) -> dict:
    row = {"cell_id": cell, "step": 10, "population": population, "is_final": True, "status": OK, "finished_at": 0}
    row |= dict.fromkeys(("rate_nats", "elbo_nats", "nll_nats", "mi_nats", "mi_ceiling_nats"), 1.0)
    return row | values


def planted(cell):
    """Validation distortion is least at `BEST`, 20; the test images favour `LUCKY`, with 18."""
    truth = 20 + 3 * math.log10(cell.beta / BEST) ** 2
    test = 18 + 3 * math.log10(cell.beta / LUCKY) ** 2
    chosen, on = (truth, VALIDATION) if cell.validation_size else (test, TEST)
    return replace(trained(cell), distortion=chosen, test=Final(test, None, None), chosen_on=on)


def tables(*settings: str):
    search = Search(study(*ONE, *settings))
    found = play(search, planted)
    return summarise(search, found)


def test_a_search_chooses_on_validation_and_reports_the_test_value_there():
    found = tables(VALIDATED)
    (row,) = found.estimates.to_dict("records")
    assert found.chosen_on == VALIDATION
    assert row["beta"] == pytest.approx(BEST, rel=0.3)
    there = 18 + 3 * math.log10(row["beta"] / LUCKY) ** 2
    assert row["test_nats"] == pytest.approx(there, abs=0.2)
    assert row["test_low"] <= row["test_nats"] <= row["test_high"]
    assert found.tried["value"].min() == pytest.approx(20, abs=0.1)


def test_without_validation_it_is_judged_on_what_it_was_chosen_on():
    found = tables()
    (row,) = found.estimates.to_dict("records")
    assert found.chosen_on == TEST == chosen_on(study())
    assert row["beta"] == pytest.approx(LUCKY, rel=0.3)
    assert row["test_nats"] == pytest.approx(18, abs=0.2)


def test_the_outcome_of_a_cell_is_of_its_validation_examples():
    rows = [
        final_row(cell, population, distortion_nats=value)
        for cell, values in {"a": {TRAIN: 1.0, TEST: 2.0, VALIDATION: 3.0}, "b": {TRAIN: 4.0, TEST: 5.0}}.items()
        for population, value in values.items()
    ]
    rows += [
        final_row("a", population, distortion_nats=value, is_final=False, step=5)
        for population, value in ((TEST, 20.0), (VALIDATION, 30.0))
    ]
    found = outcomes(pd.DataFrame(rows))
    assert (found["a"].distortion, found["a"].chosen_on, found["a"].test) == (3.0, VALIDATION, Final(2.0, 1.0, 1.0))
    assert (found["b"].distortion, found["b"].chosen_on, found["b"].test) == (5.0, TEST, Final(5.0, 1.0, 1.0))
    assert found["a"].course == {5: Measured(30.0, 1.0)}


def test_a_search_takes_data_seeds_as_replicates_and_not_as_settings():
    search = Search(study(*ONE, "grid.data_seed=[1, 2]"))
    found = play(search, trained)
    assert isinstance(search.seeker, Curves)
    assert len(search.seeker.settings) == 1
    assert len(found) == 24
    used = {(cell.seed, cell.data_seed) for cell in search.cells.values()}
    assert {data_seed for _, data_seed in used} == {1, 2}
    assert set(summarise(search, found).tried["data_seed"]) == {1, 2}


def test_a_frontier_tries_a_point_on_every_data_seed():
    text = "search={goal: frontier, stop_when: {cells: 4}, space: {beta: {low: 0.1, high: 1}, width: [64, 512]}}"
    search = Search(study("grid={split: [random], train_size: [1000], data_seed: [1, 2]}", text))
    assert isinstance(search.seeker, Frontier)
    assert search.seeker.replicates == [{"seed": 0, "data_seed": 1}, {"seed": 0, "data_seed": 2}]
    play(search, trained)
    assert {cell.data_seed for cell in search.cells.values()} <= {1, 2}


def test_the_batches_of_one_data_seed_are_those_of_a_study_that_lists_none():
    """Up to the data seed: its number neither chooses betas nor seeds."""
    points = []
    for settings in ((), ("grid.data_seed=[9]",)):
        search = Search(study(*ONE, *settings))
        play(search, lambda cell: replace(trained(replace(cell, data_seed=0))))
        points.append([Point(cell.beta, cell.seed) for batch in search.batches for cell in batch])
    assert points[0] == points[1]

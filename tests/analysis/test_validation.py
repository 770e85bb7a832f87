"""A beta that is chosen on the test set looks better there than it is; chosen on validation examples it does not."""

import functools

import numpy as np
import pandas as pd

from rdstudy.analysis import best_beta, frontier
from rdstudy.analysis.replicates import replicates
from tests.analysis.synthetic import Planted, constant_test, study_table

BETAS = (5.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.05, 0.01)
TRUTH = 90.0
STUDIES = 40


def luck(table: pd.DataFrame, populations: tuple[str, ...], sd: float = 1.0) -> pd.DataFrame:
    """The table with noise of the examples: each population's own, at every beta, the same for all seeds."""
    rng = np.random.default_rng(5)
    table = table.copy()
    for population in populations:
        for _, rows in table[table["population"] == population].groupby(["train_size", "beta"]):
            table.loc[rows.index, "distortion_nats"] += sd * rng.standard_normal()
    return table


@functools.cache
def studies(*, validation: bool) -> pd.DataFrame:
    """Many studies of one setting in which no beta is better: every test distortion is `TRUTH`, but for noise."""
    settings = [Planted(constant_test(TRUTH), train_size=1000 + k) for k in range(STUDIES)]
    table = study_table(settings, betas=BETAS, seeds=3, noise=0.1, seed_effect=0.1, nll=False, mi=False)
    if validation:
        held = table[table["population"] == "test"].assign(population="validation")
        table = pd.concat([table, held], ignore_index=True)
    return luck(table, ("test", "validation"))


def bias(found: pd.DataFrame) -> tuple[float, float]:
    """Mean of the reported test distortion minus the truth, and its standard error."""
    found = found[found["criterion"] == "distortion_nats"]
    assert len(found) == STUDIES
    off = found["best_nats"] - TRUTH
    return off.mean(), off.std() / np.sqrt(STUDIES)


def test_choosing_on_the_test_set_is_optimistic_and_validation_removes_that():
    """The least of 8 standard normals has the mean -1.42."""
    same, same_error = bias(best_beta(studies(validation=False)))
    other, other_error = bias(best_beta(studies(validation=True)))
    assert abs(same + 1.42) < 4 * same_error
    assert abs(other) < 3 * other_error
    assert other_error < 0.25


def test_the_best_beta_says_where_it_was_chosen():
    assert set(best_beta(studies(validation=False))["chosen_on"]) == {"test"}
    assert set(best_beta(studies(validation=True))["chosen_on"]) == {"validation"}


def test_the_test_value_is_that_of_the_beta_chosen_on_validation():
    table = studies(validation=True)
    best = best_beta(table).query("criterion == 'distortion_nats'").iloc[0]
    points = frontier(table).query("train_size == @best.train_size").set_index(["population", "beta"])
    assert points.loc["validation", "distortion_nats"].idxmin() == best["best_beta"]
    assert points.loc[("test", best["best_beta"]), "distortion_nats"] == best["best_nats"]


def test_cells_whose_test_set_holds_the_validation_examples_are_left_out():
    table = studies(validation=True)
    without = studies(validation=False)
    without = without.assign(cell_id="old" + without["cell_id"], distortion_nats=without["distortion_nats"] - 50)
    mixed = replicates(pd.concat([without, table], ignore_index=True))
    for one, other in zip(mixed, replicates(table), strict=True):
        np.testing.assert_array_equal(one.of("test", "distortion_nats"), other.of("test", "distortion_nats"))

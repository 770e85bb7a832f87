"""The tables of a search, as a plain record that its report reads."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from rdstudy.storage.schema import TEST, VALIDATION

ESTIMATED = ("beta", "beta_low", "beta_high", "n_cells", "test_nats", "test_low", "test_high")
KNOWN = -1
"""Batch number of cells that were in the table before the search began."""


def chosen_sentence(population: str) -> str:
    """Which examples a beta was chosen on, and what that means for its value on the test set."""
    if population == VALIDATION:
        return "Beta was chosen on the validation examples and is judged on the test examples."
    return (
        "Beta was chosen on the same test examples that it is judged on, so its value there is too low on average; "
        "dataset.validation_size sets examples apart to choose on."
    )


@dataclass(frozen=True)
class SearchTables:
    """Tables of one search; those that its goal does not have are empty.

    tried: one row per cell: `batch cell_id failed stopped ... beta seed data_seed value`, or `rate_nats distortion_nats
        hypervolume_nats2`. The value of a cell that was stopped early is its last one.
    estimates: one row per setting: `beta beta_low beta_high n_cells`, and `test_nats test_low test_high`, the metric on
        the test set at that beta, 95%.
    curves: the posterior over beta, per setting: `beta median low high`, 95%.
    importance: one row per axis: its share in what moves rate, and distortion.
    """

    tried: pd.DataFrame
    estimates: pd.DataFrame
    curves: pd.DataFrame
    importance: pd.DataFrame
    metric: str
    ended: str | None
    chosen_on: str = TEST

    @property
    def stopped(self) -> set[str]:
        """Ids of the cells that the search stopped early, or would have: another study may have trained them whole."""
        return set() if self.tried.empty else set(self.tried.loc[self.tried["stopped"], "cell_id"])

    @property
    def names(self) -> list[str]:
        """The columns that tell settings apart."""
        return [name for name in self.estimates.columns if name not in ESTIMATED]

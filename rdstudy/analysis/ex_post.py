"""Priors fitted ex post as settings of their own, so that they are compared like priors that were trained.

A row with `ex_post_prior` becomes one of a model with that prior: its rate, -ELBO and NLL are those with the fitted
prior, its distortion is the model's own.
"""

from __future__ import annotations

import pandas as pd

from rdstudy.storage.schema import OK
from rdstudy.study.measures import measured_columns

REFERENCE = "standard_normal"
SUFFIX = " ex post"
CHANGED = ("negative_elbo_nats", "nll_nats")
"""Criteria that a prior fitted ex post can change."""


def with_ex_post_priors(table: pd.DataFrame) -> pd.DataFrame:
    """The table, and for each prior that was fitted to a cell with the standard normal a cell with that prior.

    Args:
        table: rows as `rdstudy.load_measurements` gives them.

    Returns:
        The rows, and such of priors named `flow(4) ex post`. Of the same prior fitted twice to a cell the fit of the
        most steps counts, between equals the latest. An NLL is left out where that of the cell is by draws from the
        encoder, or was not measured: the two do not compare.
    """
    if "ex_post_prior" not in table.columns:
        return table
    fitted = table[table["ex_post_prior"].notna() & table["is_final"].astype(bool) & (table["status"] == OK)]
    fitted = fitted[fitted["prior"].fillna(REFERENCE) == REFERENCE]
    if fitted.empty:
        return table
    key = ["cell_id", "population", "ex_post_prior"]
    fitted = fitted.sort_values([*key, "ex_post_steps", "finished_at"], kind="stable").drop_duplicates(key, keep="last")
    made = fitted.drop(columns=[column.name for column in measured_columns() if column.name in fitted.columns])
    made["prior"] = fitted["ex_post_prior"].astype(str) + SUFFIX
    made["cell_id"] = fitted["cell_id"].astype(str) + "-" + fitted["ex_post_prior"].astype(str)
    made["distortion_nats"] = fitted["distortion_nats"]
    made["rate_nats"] = fitted["ex_post_rate_nats"]
    made["elbo_nats"] = -(fitted["distortion_nats"] + fitted["ex_post_rate_nats"])
    made["ex_post_worst_nats"] = fitted["ex_post_worst_nats"]
    made["ex_post_steps"] = fitted["ex_post_steps"]
    made["ex_post_rate_nats"] = fitted["ex_post_rate_nats"]
    comparable = _by_adaptive_proposal(table, fitted)
    made["nll_nats"] = fitted["ex_post_nll_nats"].where(comparable)
    made["nll_unreliable_share"] = fitted["ex_post_nll_unreliable_share"].where(comparable)
    made["nll_examples"] = fitted["ex_post_nll_examples"]
    made["nll_components"] = 1  # not null: from an adaptive proposal
    return pd.concat([table, made], ignore_index=True)


def _by_adaptive_proposal(table: pd.DataFrame, fitted: pd.DataFrame) -> pd.Series:
    """For each fitted row, whether its cell's NLL was measured by an adaptive proposal."""
    key = ["cell_id", "population"]
    there = table[table["is_final"].astype(bool) & table["nll_components"].notna()]
    known = set(there[key].itertuples(index=False, name=None))
    return pd.Series([pair in known for pair in fitted[key].itertuples(index=False, name=None)], index=fitted.index)

"""Learning curves: every evaluation step, not only the last."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rdstudy.analysis.replicates import SETTING, with_setting_columns
from rdstudy.storage.schema import OK


def learning(table: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds and data seeds at every evaluation step of the cells that finished.

    Returns:
        One row per setting, beta, population and step: `beta population step epoch n_seeds`, the means
        `rate_nats distortion_nats negative_elbo_nats`, and `distortion_low distortion_high`, the least and
        the largest over seeds (a range, not an interval).
    """
    ok = table[table["status"] == OK] if "status" in table.columns else table
    last = ok[ok["is_final"].astype(bool)].groupby("cell_id")["step"].max()
    rows = ok[ok["cell_id"].isin(last.index)]
    rows = with_setting_columns(rows.assign(steps=rows["cell_id"].map(last)))
    rows = rows.drop_duplicates(["cell_id", "population", "step"])
    numbers = rows[["distortion_nats", "rate_nats"]].astype(np.float64)
    rows = rows.assign(
        distortion_nats=numbers["distortion_nats"],
        rate_nats=numbers["rate_nats"],
        negative_elbo_nats=numbers.sum(axis=1, skipna=False),
    )
    grouped = rows.groupby([*SETTING, "beta", "population", "step"], dropna=False, sort=True, observed=True)
    return grouped.agg(
        epoch=("epoch", "mean"),
        n_seeds=("cell_id", "nunique"),
        rate_nats=("rate_nats", "mean"),
        distortion_nats=("distortion_nats", "mean"),
        distortion_low=("distortion_nats", "min"),
        distortion_high=("distortion_nats", "max"),
        negative_elbo_nats=("negative_elbo_nats", "mean"),
    ).reset_index()

"""What happened to the cells: how many finished, diverged, failed or were stopped, why, and which are still to come."""

from __future__ import annotations

import pandas as pd

from rdstudy.analysis.replicates import SETTING
from rdstudy.storage.schema import DIVERGED, FAILED, OK, STOPPED

_NAMED = [name for name in SETTING if name != "steps"]


def cells(table: pd.DataFrame) -> pd.DataFrame:
    """One row per cell that is in the table.

    Returns:
        The setting's columns (without `steps`), `beta seed data_seed cell_id step`, the last step it has a row of;
        `status`: `ok`, `diverged`, `failed` or `stopped` by its final rows, or `running` where it has none yet;
        `message`. A cell that failed and was then trained after all is `ok`.
    """
    named = [name for name in (*_NAMED, "beta", "seed", "data_seed") if name in table.columns]
    rows = table[["cell_id", "step", "is_final", "status", "message", *named]]
    # The best final row speaks for the cell; without one it is still running.
    standing = rows["status"].map({OK: 0, DIVERGED: 1, FAILED: 2, STOPPED: 3}).where(rows["is_final"].astype(bool), 4)
    rows = rows.assign(standing=standing).sort_values(["standing", "step"], ascending=[True, False], kind="stable")
    chosen = rows.drop_duplicates("cell_id").copy()
    chosen["status"] = chosen["status"].where(chosen["standing"] < 4, "running")
    columns = [*named, "cell_id", "step", "status", "message"]
    return chosen[columns].sort_values("cell_id", ignore_index=True)


def trouble(table: pd.DataFrame) -> pd.DataFrame:
    """Cells that diverged or failed, counted by what they said.

    Returns:
        One row per status, message and setting: `status message`, the setting's columns, `n_cells`, `betas`
        and `seeds` as text, and the `cell_id` of one of them.
    """
    found = cells(table)
    found = found[found["status"].isin([DIVERGED, FAILED])]
    named = [name for name in _NAMED if name in found.columns]
    rows = []
    for key, group in found.groupby(["status", "message", *named], dropna=False, sort=True):
        row = dict(zip(["status", "message", *named], key, strict=True))
        row |= {"n_cells": len(group), "betas": _listed(group["beta"]), "seeds": _listed(group["seed"])}
        rows.append({**row, "cell_id": group["cell_id"].iloc[0]})
    return pd.DataFrame(rows, columns=["status", "message", *named, "n_cells", "betas", "seeds", "cell_id"])


def missing(table: pd.DataFrame, planned: pd.DataFrame) -> pd.DataFrame:
    """Planned cells that are not finished: neither `ok` nor `diverged`.

    Args:
        planned: one row per planned cell, with `cell_id` and any of the table's columns.

    Returns:
        The planned rows that are missing, with `status`: `running` where earlier steps are in the table,
        `failed`, `stopped`, or `not started`.
    """
    found = cells(table).set_index("cell_id")["status"]
    status = planned["cell_id"].map(found).fillna("not started")
    return planned.assign(status=status)[~status.isin([OK, DIVERGED])].reset_index(drop=True)


def _listed(values: pd.Series) -> str:
    return ", ".join(f"{value:g}" for value in sorted(values.unique(), reverse=True))

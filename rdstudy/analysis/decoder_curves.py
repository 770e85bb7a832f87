"""Rate-distortion curves of single decoders, which no encoder limits, and where its own encoder stands above them.

Annealed importance sampling (`evaluation/ais.py`) gives for a decoder the distortion that any encoder could reach at a
rate (Huang et al. 2020). A cell's own point (R, D) lies on the curve or above it, its refitted point (R*, D*) between
the two up to errors; the distance to the curve is what its encoder costs.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from rdstudy.analysis.replicates import SETTING, final_measurements, with_setting_columns
from rdstudy.storage.schema import OK, TEST

CURVE, AMORTISED, REFITTED = "decoder", "amortised", "refitted"

_POINTS = {AMORTISED: ("rate_nats", "distortion_nats"), REFITTED: ("refit_rate_nats", "refit_distortion_nats")}
_LISTS = ("ais_curve_rate_nats", "ais_curve_distortion_nats")


def decoder_curves(table: pd.DataFrame) -> pd.DataFrame:
    """The test curve of one decoder per setting and beta, that of the first seed, and its cell's own points.

    Args:
        table: rows as `rdstudy.load_measurements` gives them.

    Returns:
        One row per point, along each curve from rate 0 up: the setting's columns, `beta seed data_seed cell_id`;
        `kind`, decoder (a point of its curve), amortised (the encoder's) or refitted; `rate_nats distortion_nats`.
        Empty where no curve was measured.
    """
    columns = [*SETTING, "beta", "seed", "data_seed", "cell_id", "kind", "rate_nats", "distortion_nats"]
    if any(name not in table.columns for name in (*_LISTS, "cell_id", "population")):
        return pd.DataFrame(columns=columns)
    chosen = table["is_final"].astype(bool) & (table["status"] == OK) & (table["population"] == TEST)
    there = with_setting_columns(table[chosen & table[_LISTS[0]].notna()])
    there = there.sort_values(["data_seed", "seed", "evaluation_id"], kind="stable")
    first = there.drop_duplicates([*SETTING, "beta"])
    if first.empty:
        return pd.DataFrame(columns=columns)
    finals = final_measurements(table[chosen & table["cell_id"].isin(first["cell_id"])]).set_index("cell_id")
    rows: list[dict[str, object]] = []
    for _, cell in first.iterrows():
        key = {name: cell[name] for name in columns[:-3]}
        points = [(CURVE, rate, distortion) for rate, distortion in zip(*(cell[name] for name in _LISTS), strict=True)]
        for kind, names in _POINTS.items():
            rate, distortion = (float(finals.loc[cell["cell_id"], name]) for name in names)
            points.append((kind, rate, distortion))
        rows += [
            {**key, "kind": kind, "rate_nats": rate, "distortion_nats": distortion}
            for kind, rate, distortion in points
            if np.isfinite([rate, distortion]).all()
        ]
    found = pd.DataFrame(rows, columns=columns)
    order = found["kind"].map({CURVE: 0, AMORTISED: 1, REFITTED: 2})
    ordered = found.assign(order=order, falling=-found["beta"])
    by = [*SETTING, "falling", "order", "rate_nats"]
    return ordered.sort_values(by, ignore_index=True, kind="stable").drop(columns=["order", "falling"])

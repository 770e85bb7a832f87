"""How far our curves are from each published point, at the point's rate.

The betas of the published points are inferred, their rates were read: so a point is compared with our curve at its
rate, whatever the betas.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rdstudy.analysis.intervals import LEVEL, mean_interval
from rdstudy.analysis.published.curves import DEPTHS
from rdstudy.analysis.published.interpolation import monotone_interpolation
from rdstudy.analysis.published.setups import CHECKERBOARD, SETUP, Setup, setups
from rdstudy.analysis.replicates import Replicates, replicates

AIM_NATS = 3.0
"""The distance aimed at, for each point."""

INSIDE, BELOW, ABOVE, NO_CURVE = "inside", "below our rates", "above our rates", "not in this study"


def published_distances(table: pd.DataFrame | Sequence[Replicates], published: pd.DataFrame) -> pd.DataFrame:
    """Our distortion minus the published one at the rate of every published point.

    Args:
        table: rows as `rdstudy.load_measurements` gives them, or their replicates.
        published: what `published_curves` returns.

    Returns:
        One row per setup and published point: the setup's columns; `network population order beta rate_nats
        published_nats`; `place`, whether the rate is inside the range of our mean rates; `ours_nats`, our mean curve
        over seeds, interpolated in the rate; `difference_nats`, ours minus published, with its 95% interval over
        seeds `difference_low difference_high` (NaN with fewer than two seeds); `n_seeds`, those whose own curve
        covers the rate. NaN where the rate is outside.
    """
    found: Sequence[Setup] = setups(replicates(table)) or [Setup(dict.fromkeys(SETUP), {})]
    rows = []
    for setup in found:
        for (network, population), points in published.groupby(["network", "population"], sort=False):
            rows.append(_compared(setup, str(network), str(population), points))
    return pd.concat(rows, ignore_index=True)


def _compared(setup: Setup, network: str, population: str, points: pd.DataFrame) -> pd.DataFrame:
    distortion = setup.values(CHECKERBOARD, DEPTHS[network], population)
    rate = setup.values(CHECKERBOARD, DEPTHS[network], population, "rate_nats").reindex(columns=distortion.columns)
    at, theirs = points["rate_nats"].to_numpy(dtype=np.float64), points["distortion_nats"].to_numpy(dtype=np.float64)
    if distortion.empty or rate.isna().all(axis=None):
        ours, of_seeds = np.full(len(at), np.nan), np.full((1, len(at)), np.nan)
        place = np.full(len(at), NO_CURVE)
    else:
        paired = rate.where(distortion.notna()), distortion.where(rate.notna())
        middle = paired[0].mean().to_numpy()
        ours = monotone_interpolation(at, middle, paired[1].mean().to_numpy())
        of_seeds = np.array(
            [monotone_interpolation(at, r, d) for r, d in zip(paired[0].to_numpy(), paired[1].to_numpy(), strict=True)]
        )
        outside = np.where(at < np.nanmin(middle), BELOW, ABOVE)
        place = np.where(np.isnan(ours), outside, INSIDE)
    spread = mean_interval(np.where(np.isnan(ours), np.nan, of_seeds), LEVEL)
    half = spread.high - spread.mean
    return pd.DataFrame(
        {
            **{name: [setup.names[name]] * len(at) for name in SETUP},
            "network": network,
            "population": population,
            "order": points["order"].to_numpy(),
            "beta": points["beta"].to_numpy(),
            "rate_nats": at,
            "published_nats": theirs,
            "place": place,
            "ours_nats": ours,
            "difference_nats": ours - theirs,
            "difference_low": ours - theirs - half,
            "difference_high": ours - theirs + half,
            "n_seeds": spread.count,
        }
    )

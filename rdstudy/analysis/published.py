"""The paper's own curves, read off its figure, in the shape of our table.

The figure gives neither betas nor seeds. Points are therefore numbered from the largest beta down, and get
the betas of the grid that fits the slopes of the training curve (5, 3, 2, 1, ...); only beta = 1, the starred
point, is known. There is one curve per network and population and no replicate: means without intervals.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from rdstudy.errors import UserError

# Slopes of the published training curve put the largest beta near 5 and the smallest near 0.001; the star is
# beta = 1.
INFERRED_BETAS = (5.0, 3.0, 2.0, 1.0, 0.9, 0.7, 0.5, 0.3, 0.1, 0.01, 0.005, 0.001)
READING_ERROR_NATS = 0.3

_NETWORKS = {"shallow": 1, "deep": 3}
_NEEDED = ("network", "split", "order_high_to_low_beta", "rate_nats", "distortion_nats", "star")


def published_curves(path: Path) -> pd.DataFrame:
    """Read curves digitised from the paper as rows that `frontier` and `shapes` understand.

    Args:
        path: a CSV file with the columns `network` (shallow, deep), `split` (train, test),
            `order_high_to_low_beta`, `rate_nats`, `distortion_nats` and `star` (1 at beta = 1).

    Raises:
        UserError: a column is missing, a network is unknown, or a curve has no star or more than one.
    """
    if not Path(path).is_file():
        raise UserError(f"no file {path} to compare with: give a CSV with the columns {', '.join(_NEEDED)}")
    read = pd.read_csv(path)
    missing = [name for name in _NEEDED if name not in read.columns]
    if missing:
        raise UserError(f"{Path(path).name} lacks the column(s) {', '.join(missing)}; it has {', '.join(read.columns)}")
    unknown = sorted(set(read["network"]) - set(_NETWORKS))
    if unknown:
        raise UserError(f"{Path(path).name} names the networks {unknown}; known are {sorted(_NETWORKS)}")
    curves = []
    for (network, population), curve in read.groupby(["network", "split"]):
        curve = curve.sort_values("order_high_to_low_beta")
        stars = np.flatnonzero(curve["star"].to_numpy() == 1)
        if len(stars) != 1:
            raise UserError(f"the {network} {population} curve has {len(stars)} stars; it needs one, at beta = 1")
        curves.append(
            pd.DataFrame(
                {
                    "cell_id": [f"published-{network}-{population}-{k}" for k in range(len(curve))],
                    "dataset": "tetrominoes",
                    "split": "checkerboard",
                    "depth": _NETWORKS[str(network)],
                    "prior": "standard_normal",
                    "beta": _betas(len(curve), int(stars[0])),
                    "seed": 0,
                    "population": population,
                    "rate_nats": curve["rate_nats"].to_numpy(),
                    "distortion_nats": curve["distortion_nats"].to_numpy(),
                }
            )
        )
    return pd.concat(curves, ignore_index=True)


def _betas(length: int, star: int) -> list[float]:
    before = INFERRED_BETAS[: INFERRED_BETAS.index(1.0)][-star:] if star else ()
    after = INFERRED_BETAS[INFERRED_BETAS.index(1.0) :][: length - star]
    if len(before) + len(after) != length:
        raise UserError(f"a curve of {length} points with its star at {star} does not fit the grid {INFERRED_BETAS}")
    return [*before, *after]

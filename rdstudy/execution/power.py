"""What a planned study will be able to decide, by the number of its seeds and settings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from rdstudy.analysis import power_table
from rdstudy.analysis.contrasts import MIN_SEEDS
from rdstudy.analysis.verdicts import MARGIN_NATS
from rdstudy.study import Study
from rdstudy.study.axes import AXES

ASSUMED_SDS = (1.0, 3.0, 15.0)
"""Assumed standard deviations between seeds of a difference of test distortion within a seed, nats.

Networks of 64 units had 0.7 to 1.0 with one hidden layer and 2.8 to 3.5 with three on 8,000 digits after 2,000 steps
(`tests/benchmarks/results/pairing.md`), 2.5 to 2.9 and 10 to 21 on 500 Tetrominoes after 1,000 steps
(`tests/benchmarks/README.md`).
"""

EFFECTS = (1.0, 2.0, 5.0)


@dataclass(frozen=True)
class Power:
    """Power of a planned study.

    Attributes:
        seeds: planned replicates of every setting: data seeds, where there are several, else seeds.
        comparisons: differences that share the rate of errors: settings, or settings and betas where depths are
            compared.
        compared: `betas` or `depths`, between which every seed has a difference.
        table: what `rdstudy.analysis.power_table` returns, for each of `ASSUMED_SDS` and `EFFECTS`.
        min_seeds: fewer seeds leave every verdict open.
        margin_nats: the smallest difference of interest, within which a difference is equivalent.
    """

    seeds: int
    comparisons: int
    compared: str
    table: pd.DataFrame
    min_seeds: int = MIN_SEEDS
    margin_nats: float = MARGIN_NATS


def study_power(study: Study) -> Power | None:
    """How often a study finds a difference of 1, 2 and 5 nats; None for a search, and where a seed compares nothing.

    Betas are compared where the grid lists several, else the deepest and the shallowest network at each beta.
    """
    lists = study.grid.listed()
    if study.search is not None:
        return None
    if len(lists["beta"]) > 1:
        compared = "betas"
    elif len(lists["depth"]) > 1:
        compared = "depths"
    else:
        return None
    apart = {"betas": "beta", "depths": "depth"}[compared]
    counts = [len(values) for name, values in lists.items() if name != apart and (name not in AXES or _tells(name))]
    comparisons = math.prod(counts)
    data_seeds = len(lists.get("data_seed", ()))
    seeds = data_seeds if data_seeds > 1 else len(lists["seed"])
    table = pd.concat([power_table(sd, seeds, comparisons, EFFECTS) for sd in ASSUMED_SDS], ignore_index=True)
    return Power(seeds, comparisons, compared, table)


def _tells(name: str) -> bool:
    """Whether values of an axis are compared apart from each other."""
    return AXES[name].setting or name == "beta"

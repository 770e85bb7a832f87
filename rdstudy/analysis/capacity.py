"""Deep against shallow networks at each beta, within a seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rdstudy.analysis.axis_pairs import differing_in, gains_at_each_beta
from rdstudy.analysis.claims import COLUMNS, Question, judge, unreliable
from rdstudy.analysis.paired import Differences
from rdstudy.analysis.replicates import CRITERIA, SETTING, Replicates, replicates
from rdstudy.analysis.verdicts import MARGIN_NATS


def capacity(
    table: pd.DataFrame | Sequence[Replicates],
    *,
    margin_nats: float = MARGIN_NATS,
    planned_seeds: int | None = None,
) -> pd.DataFrame:
    """Is the deepest network better or worse than the shallowest at the same beta, on the test set?

    Seeds are paired by their number. The verdicts are about the deep network: `better` where its criterion is lower.
    Holm's correction runs over all settings and betas of a criterion.

    Args:
        table, margin_nats, planned_seeds: as for `claims`.

    Returns:
        One row per setting (without its depth), criterion and beta: the setting's columns with the depth of the deep
        network, `reference_depth`, `criterion beta`; `difference_nats low_nats high_nats`, deep minus shallow,
        positive where the deep network is worse; `margin_nats verdict look looks seeds reason`, not measurable
        where either NLL is unreliable. No rows where only one depth was trained.
    """
    rows: list[dict[str, object]] = []
    pairs = _pairs(replicates(table))
    for criterion in CRITERIA:
        questions, depths, betas = [], [], []
        for shallow, deep in pairs:
            for beta, gained in gains_at_each_beta(shallow, deep, criterion):
                found = Differences([beta], gained[:, None])
                why = unreliable(deep, criterion, [beta]) or unreliable(shallow, criterion, [beta])
                questions.append(Question(deep, criterion, margin_nats, beta, found, beta, unasked=why))
                depths.append(shallow.setting["depth"])
                betas.append(beta)
        for row, depth, beta in zip(judge(questions, planned_seeds), depths, betas, strict=True):
            gained, low, high = (row.get(name, np.nan) for name in ("difference_nats", "low_nats", "high_nats"))
            row |= {"beta": beta, "reference_depth": depth}
            rows.append({**row, "difference_nats": -gained, "low_nats": -high, "high_nats": -low})
    columns = [name for name in COLUMNS if name not in (*SETTING, "reference_beta", "chosen_on")]
    return pd.DataFrame(rows, columns=[*SETTING, "reference_depth", *columns])


def _pairs(settings: Sequence[Replicates]) -> list[tuple[Replicates, Replicates]]:
    """The shallowest and the deepest setting of those that differ in depth alone."""
    found = []
    for group in differing_in(settings, "depth"):
        ordered = sorted(group, key=lambda one: float(one.setting["depth"] or 0))
        found.append((ordered[0], ordered[-1]))
    return found

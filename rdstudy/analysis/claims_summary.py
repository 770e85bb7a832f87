"""In how many settings a claim holds: bounds for the share of all settings, and an interval for other settings.

The share of the settings that could be decided would select large effects. So every setting counts:

    better / all  <=  share of settings with a better smaller beta  <=  (all - worse - equivalent) / all

An undecided setting may be either (partial identification; Manski 2003). Settings of one data set and split share
their images, so the interval comes from resampling these groups, and then settings within them; it is never narrower
than the exact binomial interval, as a bootstrap of few groups would be.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rdstudy.analysis.claims import UNIDENTIFIED
from rdstudy.analysis.intervals import share_interval
from rdstudy.analysis.verdicts import BETTER, EQUIVALENT, NOT_MEASURABLE, OPEN, VERDICTS, WORSE

SUPPORTED, CONTRADICTED = "supported", "contradicted"

GROUPS = ("dataset", "split")
"""Settings that are alike in these share their images; a column that is absent is left out. Data seeds are replicates
within each setting, the same for all settings of a group."""

_DRAWS = 2000


def claims_summary(found: pd.DataFrame, *, draws: int = _DRAWS) -> pd.DataFrame:
    """How many settings bear each claim out, and whether that is most.

    Args:
        found: what `claims` returns.
        draws: of the bootstrap, with a fixed generator.

    Returns:
        One row per claim and criterion: `claim criterion settings`, the number of each verdict (`better worse
        equivalent open not_measurable`); `share_low share_high`, between which the share of these settings lies;
        `share_ci_low share_ci_high`, a 95% interval for settings like these; `verdict`: `supported` where that
        interval lies above one half ("in most settings"), `contradicted` where it lies below, else `open`; `groups`,
        data sets and splits that were resampled; `difference_median_nats` of the measurable settings;
        `margin_nats`, the largest; `seeds`, the most of a setting; `look looks` of the setting with the most;
        `reason` why no setting is measurable, where they all share one.
    """
    rows = [
        {"claim": claim, "criterion": criterion, **_summary(group, draws)}
        for (claim, criterion), group in found.groupby(["claim", "criterion"], sort=False)
    ]
    columns = ["claim", "criterion", "settings", *VERDICTS, "share_low", "share_high", "share_ci_low", "share_ci_high"]
    columns += ["verdict", "groups", "difference_median_nats", "margin_nats", "seeds", "look", "looks", "reason"]
    return pd.DataFrame(rows, columns=columns)


def _summary(group: pd.DataFrame, draws: int) -> dict[str, object]:
    verdicts = group["verdict"].to_numpy()
    counts = {name: int((verdicts == name).sum()) for name in VERDICTS}
    names = [name for name in GROUPS if name in group.columns]
    groups = group.groupby(names, dropna=False, sort=True).ngroup().to_numpy()
    low, high = share_bounds(verdicts)
    ci_low, ci_high = share_bounds_interval(verdicts, groups, draws=draws)
    if counts[NOT_MEASURABLE] == len(group):
        low, high, ci_low, ci_high = 0.0, 1.0, 0.0, 1.0
    reasons = list(map(str, group.loc[group["verdict"] == NOT_MEASURABLE, "reason"].unique()))
    common = _common(reasons) if counts[NOT_MEASURABLE] == len(group) else ""
    median = group["difference_nats"].median() if group["difference_nats"].notna().any() else np.nan
    most = group.iloc[int(np.argmax(group["seeds"].to_numpy()))]
    return {
        "settings": len(group),
        **counts,
        "share_low": low,
        "share_high": high,
        "share_ci_low": ci_low,
        "share_ci_high": ci_high,
        "verdict": SUPPORTED if ci_low > 0.5 else CONTRADICTED if ci_high < 0.5 else OPEN,
        "groups": int(groups.max()) + 1,
        "difference_median_nats": float(median),
        "margin_nats": float(group["margin_nats"].max()),
        "seeds": int(most["seeds"]),
        "look": int(most["look"]),
        "looks": int(most["looks"]),
        "reason": common,
    }


def _common(reasons: Sequence[str]) -> str:
    """The reason of all settings; without the numbers, where these differ; empty where the reasons do."""
    if len(reasons) == 1:
        return reasons[0]
    return UNIDENTIFIED if all(each.startswith(UNIDENTIFIED) for each in reasons) else ""


def share_bounds(verdicts: Sequence[str] | np.ndarray) -> tuple[float, float]:
    """Between which the share of settings lies in which a smaller beta is better.

    >>> share_bounds(["better", "open", "worse", "equivalent"])
    (0.25, 0.5)
    """
    verdicts = np.asarray(verdicts)
    against = np.isin(verdicts, [WORSE, EQUIVALENT])
    return float((verdicts == BETTER).mean()), float(1 - against.mean())


def share_bounds_interval(
    verdicts: Sequence[str] | np.ndarray, groups: Sequence[int] | np.ndarray, *, draws: int = _DRAWS
) -> tuple[float, float]:
    """A 95% interval that holds both bounds, for settings like these.

    Args:
        verdicts: one per setting.
        groups: number of the group each setting belongs to, 0 to their number less 1.
    """
    verdicts, groups = np.asarray(verdicts), np.asarray(groups)
    better, against = verdicts == BETTER, np.isin(verdicts, [WORSE, EQUIVALENT])
    count = len(verdicts)
    exact_low, _ = share_interval(int(better.sum()), count)
    _, exact_high = share_interval(count - int(against.sum()), count)
    generator = np.random.default_rng(0)
    sizes = np.bincount(groups)
    total = np.zeros(draws)
    drawn = np.zeros((2, draws))
    chosen = generator.integers(len(sizes), size=(draws, len(sizes)))
    for column in chosen.T:
        size = sizes[column]
        total += size
        shares = [np.bincount(groups, part) / sizes for part in (better, against)]
        # Settings within a group, with replacement: how many of them are better, and how many of the rest are not.
        hits = generator.binomial(size, shares[0][column])
        rest = np.where(shares[0] < 1, shares[1] / np.maximum(1 - shares[0], 1e-12), 0.0)
        drawn[0] += hits
        drawn[1] += generator.binomial(size - hits, np.clip(rest, 0, 1)[column])
    low = float(np.quantile(drawn[0] / total, 0.025))
    high = float(np.quantile(1 - drawn[1] / total, 0.975))
    return min(low, exact_low), max(high, exact_high)

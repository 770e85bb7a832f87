"""Sentences about the mutual information: where its estimate is at its ceiling, and what its bounds identify."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rdstudy.analysis.identification import FALLS, GROWS, NOT_IDENTIFIED
from rdstudy.analysis.replicates import SETTING
from rdstudy.report.formatting import joined, number
from rdstudy.storage.schema import TEST, TRAIN, VALIDATION


def saturation_sentence(saturation: pd.DataFrame) -> str:
    """In how many settings the mutual information saturates within the grid, and between which betas.

    Args:
        saturation: what `rdstudy.analysis.saturation` returns; of each setting, its training row counts, else its
            test row.
    """
    rows = _of_settings(saturation)
    if rows.empty:
        return ""
    parts = []
    bracketed, below = (
        rows[(rows["saturates"] == "at") & shown] for shown in (rows["beta_low"] > 0, rows["beta_low"] == 0)
    )
    if len(bracketed):
        parts.append(f"saturates at a beta {_bracket(bracketed)} in {len(bracketed)}")
    if len(below):
        parts.append(f"saturates below beta = {below['beta_high'].max():g}, if at all, in {len(below)}")
    for word, text in (
        ("everywhere", "is saturated at every beta in"),
        ("never", "is saturated at none in"),
        ("open", "is not decided in"),
    ):
        count = int((rows["saturates"] == word).sum())
        if count:
            parts.append(f"{text} {count}")
    unknown = rows[rows["saturates"] == NOT_IDENTIFIED]
    if len(unknown):
        parts.append(f"reaches log N at a beta {_bracket(unknown)} and is not identified in {len(unknown)}")
    return f"The mutual information {joined(parts)} of {len(rows)} setting{'' if len(rows) == 1 else 's'}."


def bounds_sentence(saturation: pd.DataFrame) -> str:
    """Between which bounds mutual information and marginal KL lie at the smallest beta, and whether the KL grows.

    Args:
        saturation: as for `saturation_sentence`.
    """
    rows = _of_settings(saturation)
    bounded = rows[rows["bounded"].astype(bool)]
    if bounded.empty:
        return unbounded_sentence(saturation)
    least, most, kl_least, kl_most = (
        _span(bounded[f"{name}_nats_last"])
        for name in ("mi_lower", "mi_upper", "marginal_kl_lower", "marginal_kl_upper")
    )
    over = "" if len(bounded) == 1 else f" (lowest to highest of {len(bounded)} settings)"
    text = (
        f"At the smallest beta the mutual information is at least {least} and at most {most} nats, the marginal KL at "
        f"least {kl_least} and at most {kl_most} nats{over}."
    )
    changes = [(GROWS, "grows"), (FALLS, "falls"), (NOT_IDENTIFIED, "may grow or fall")]
    counts = [(words, int((bounded["marginal_kl_change"] == change).sum())) for change, words in changes]
    said = joined([f"{words} in {count}" for words, count in counts if count])
    if said:
        settings = f"{len(bounded)} setting{'' if len(bounded) == 1 else 's'}"
        text += (
            f" From where the estimate reaches log N, or else the largest beta, the marginal KL {said} of {settings}."
        )
    return f"{text} {unbounded_sentence(saturation)}".rstrip()


def unbounded_sentence(saturation: pd.DataFrame) -> str:
    """What is not known where the estimate is at log N and no upper bound was measured; empty where there is none such.

    Args:
        saturation: as for `saturation_sentence`.
    """
    rows = _of_settings(saturation)
    unknown = rows[(rows["saturates"] == NOT_IDENTIFIED) & ~rows["bounded"].astype(bool)]
    if unknown.empty:
        return ""
    return (
        "Without an upper bound of the mutual information, whether it or the marginal KL grows where its estimate is "
        f"at log N is not identified{_in_some(len(unknown), len(rows))}."
    )


def _in_some(count: int, of: int) -> str:
    return "" if count == of else f" in {count} of {of} settings"


def _of_settings(saturation: pd.DataFrame) -> pd.DataFrame:
    """One row per setting in which the mutual information was measured: that of the training set, else the test set."""
    measured = saturation[saturation["saturates"] != "not measured"]
    place = measured["population"].map({name: k for k, name in enumerate((TRAIN, TEST, VALIDATION))})
    rows = measured.assign(_place=place).sort_values("_place", kind="stable")
    return rows.drop_duplicates([name for name in SETTING if name in rows.columns])


def _bracket(rows: pd.DataFrame) -> str:
    """ "between 0.1 and 2", "of 0.1 or more"."""
    low, high = rows["beta_low"].min(), rows["beta_high"].max()
    return f"of {low:g} or more" if np.isinf(high) else f"between {low:g} and {high:g}"


def _span(values: Sequence[float] | pd.Series) -> str:
    """ "9.0", or "6.2 to 9.0"."""
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"

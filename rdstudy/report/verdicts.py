"""One verdict per claim, setting and criterion, in the form in which the page shows it."""

from __future__ import annotations

import pandas as pd

from rdstudy.analysis import CRITERIA, SETTING
from rdstudy.analysis.verdicts import NOT_MEASURABLE, VERDICTS
from rdstudy.report.formatting import joined

CLAIM_NAMES = {
    "lowering_beta": "lowering β",
    "underfitting": "more mutual information",
    "beyond_saturation": "beyond saturation",
}
"""The change that a claim is about, in two or three words: the head of its column in the map of verdicts."""

OWN_IMAGES = "images"
"""Name of a data set that is read from the user's own files."""


def setting_verdicts(claims: pd.DataFrame) -> pd.DataFrame:
    """What `rdstudy.analysis.claims` found, one row per claim, setting and criterion.

    Returns:
        `claim`, the setting's columns, `criterion`, `verdict` (one of `VERDICTS`), `difference_nats low_nats high_nats`
        (positive: better).
    """
    named = [name for name in SETTING if name in claims.columns]
    return claims[["claim", *named, "criterion", "verdict", "difference_nats", "low_nats", "high_nats"]]


def main_criterion(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows by distortion, which every claim is judged by first."""
    return rows[rows["criterion"] == CRITERIA[0]]


def measurable(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of each criterion by which at least one verdict could be given, distortion first."""
    found = [rows[rows["criterion"] == criterion] for criterion in CRITERIA]
    return [one for one in found if (one["verdict"] != NOT_MEASURABLE).any()]


def counts(rows: pd.DataFrame) -> dict[str, int]:
    """How many rows have each verdict, in the order of `VERDICTS`."""
    found = rows["verdict"].value_counts()
    return {verdict: int(found.get(verdict, 0)) for verdict in VERDICTS}


def counts_text(rows: pd.DataFrame) -> str:
    """ "better in 1 and open in 1 of 2 settings"."""
    parts = [f"{verdict.replace('_', ' ')} in {n}" for verdict, n in counts(rows).items() if n]
    return f"{joined(parts)} of {len(rows)} setting{'' if len(rows) == 1 else 's'}"


def asks_the_paper(frontier: pd.DataFrame) -> bool:
    """Whether the study can speak to the claims of Bozkurt et al. (2021): named data sets, and two betas or more."""
    return frontier["beta"].nunique() > 1 and not (frontier["dataset"] == OWN_IMAGES).any()

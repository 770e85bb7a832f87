"""One verdict per claim, setting and criterion, in the form in which the page shows it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rdstudy.analysis import CRITERIA, SETTING

BETTER, WORSE, EQUIVALENT, OPEN, NOT_MEASURABLE = "better", "worse", "equivalent", "open", "not_measurable"
VERDICTS = (BETTER, WORSE, EQUIVALENT, OPEN, NOT_MEASURABLE)

CLAIM_NAMES = {
    "lowering_beta": "lowering β",
    "underfitting": "less mutual information",
    "beyond_saturation": "beyond saturation",
}
"""The change that a claim is about, in two or three words."""

OWN_IMAGES = "images"
"""Name of a data set that is read from the user's own files."""


def setting_verdicts(claims: pd.DataFrame) -> pd.DataFrame:
    """What `rdstudy.analysis.claims` found, one row per claim, setting and criterion.

    Returns:
        `claim`, the setting's columns, `criterion`, `verdict` (one of `VERDICTS`), `difference_nats low_nats high_nats`
        (positive: better).
    """
    if "effect_nats" in claims.columns:
        claims = _from_effects(claims)
    named = [name for name in SETTING if name in claims.columns]
    return claims[["claim", *named, "criterion", "verdict", "difference_nats", "low_nats", "high_nats"]]


def _from_effects(claims: pd.DataFrame) -> pd.DataFrame:
    """The same from effects that speak for or against a claim."""
    # Underfitting is a claim about a loss: an effect for it makes training distortion worse.
    sign = np.where(claims["claim"] == "underfitting", -1.0, 1.0)
    ends = claims[["effect_low", "effect_high"]].to_numpy(dtype=np.float64) * sign[:, None]
    low, high = ends.min(axis=1), ends.max(axis=1)
    decided = claims["verdict"].isin(["supported", "contradicted"])
    verdict = np.select(
        [claims["n_seeds"] == 0, decided & (low > 0), decided & (high < 0), decided],
        [NOT_MEASURABLE, BETTER, WORSE, EQUIVALENT],
        OPEN,
    )
    return claims.assign(verdict=verdict, difference_nats=claims["effect_nats"] * sign, low_nats=low, high_nats=high)


def main_criterion(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows by distortion, which every claim is judged by first."""
    return rows[rows["criterion"] == CRITERIA[0]]


def counts(rows: pd.DataFrame) -> dict[str, int]:
    """How many rows have each verdict, in the order of `VERDICTS`."""
    found = rows["verdict"].value_counts()
    return {verdict: int(found.get(verdict, 0)) for verdict in VERDICTS}


def counts_text(rows: pd.DataFrame) -> str:
    """ "better in 1, open in 1 of 2 settings"."""
    parts = [f"{verdict.replace('_', ' ')} in {n}" for verdict, n in counts(rows).items() if n]
    return f"{', '.join(parts)} of {len(rows)} setting{'' if len(rows) == 1 else 's'}"


def asks_the_paper(frontier: pd.DataFrame) -> bool:
    """Whether the study can speak to the claims of Bozkurt et al. (2021): named data sets, and two betas or more."""
    return frontier["beta"].nunique() > 1 and not (frontier["dataset"] == OWN_IMAGES).any()

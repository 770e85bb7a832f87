"""Sentences about other priors than the standard normal."""

from __future__ import annotations

import pandas as pd

from rdstudy.report.analyses import Analyses
from rdstudy.report.claim_sentences import CRITERION_NAMES, nats, verdict_words
from rdstudy.report.formatting import joined
from rdstudy.report.verdicts import counts, measurable

PRIOR_CLAIM = "A prior other than the standard normal improves generalization."


def prior_sentences(analyses: Analyses) -> list[str]:
    """One sentence for each other prior: how often it is better and worse at the same beta, and its range of gains."""
    found = []
    for prior, rows in analyses.priors.groupby("prior", sort=True):
        said = [_by_criterion(one) for one in measurable(rows)]
        if said:
            found.append(f"Prior {prior} against the standard normal at the same beta is {joined(said)}.")
    return found


def _by_criterion(rows: pd.DataFrame) -> str:
    points = f"{len(rows)} point{'' if len(rows) == 1 else 's'}"
    said = [f"{verdict_words(name)} at {n}" for name, n in counts(rows).items() if n]
    low, high = nats(rows["difference_nats"].min()), nats(rows["difference_nats"].max())
    gains = low if low == high else f"{low} to {high}"
    return f"by {CRITERION_NAMES[str(rows['criterion'].iloc[0])]} {joined(said)} of {points} (gain {gains} nats)"

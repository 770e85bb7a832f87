"""Which examples a beta was chosen on, in a sentence beside every beta that the page calls best."""

from __future__ import annotations

import pandas as pd

from rdstudy.analysis.search_tables import chosen_sentence
from rdstudy.report.analyses import Analyses
from rdstudy.storage.schema import TEST, VALIDATION


def best_beta_chosen(analyses: Analyses) -> str:
    """Of the best betas of the grid; empty where there is no choice among several."""
    several = analyses.frontier["beta"].nunique() > 1
    return chosen_sentence(_population(analyses.best_beta)) if several and len(analyses.best_beta) else ""


def search_chosen(analyses: Analyses) -> str:
    """Of the betas that a search found; empty where it sought none by a test value."""
    search = analyses.search
    if search is None or search.estimates.empty or search.metric == "saturation":
        return ""
    return chosen_sentence(search.chosen_on)


def _population(best_beta: pd.DataFrame) -> str:
    return VALIDATION if (best_beta["chosen_on"] == VALIDATION).all() else TEST

"""Figures that check the training: learning curves, and the slope of the training curves."""

from __future__ import annotations

from functools import partial

import pandas as pd

from rdstudy.analysis import SETTING
from rdstudy.analysis.replicates import DATA_SEEDS
from rdstudy.report import figures, sentences
from rdstudy.report.analyses import Analyses
from rdstudy.report.drawings.selection import MAX_MINOR_PANELS, MAX_SETTINGS, evenly, left_out, of, settings_of
from rdstudy.report.drawings.spec import FigureSpec, Panel


def learning(analyses: Analyses) -> FigureSpec:
    """Distortion over training steps, one setting a panel."""
    record = analyses.learning
    steps = record.groupby(list(SETTING), dropna=False)["step"].nunique() if len(record) else pd.Series(dtype=int)
    settings = settings_of(record) if len(steps) and steps.max() > 2 else []
    panels = [
        Panel(
            partial(figures.learning_curves, rows, title=title),
            f"Distortion over training steps{of(title)}, train and test.",
        )
        for title, rows in evenly(settings, MAX_SETTINGS)
    ]
    caption = (
        "Distortion over training steps, test solid and train dashed, for up to six betas; bands span the seeds"
        f"{' of all data seeds' if DATA_SEEDS in analyses.units.values() else ''}. "
        "A curve that still falls at its end has not converged."
        f"{left_out(len(settings), MAX_SETTINGS, 'settings')}"
    )
    return FigureSpec("learning", "Learning curves", caption, panels, minor=True)


def convergence(analyses: Analyses) -> FigureSpec:
    """The slope of the training curves against beta, which converged training makes equal."""
    spread = figures.panels(analyses.convergence)
    panels = [
        Panel(
            partial(figures.convergence, rows, marks=spread.marks, title=title),
            f"Slope of the training curves against beta{of(title)}.",
        )
        for title, rows in evenly(list(spread.rows.items()), MAX_MINOR_PANELS)
        if (rows["slope"] > 0).any()
    ]
    caption = (
        "Converged training curves have the slope -dD/dR = beta, so every step should cross the diagonal; crosses mark "
        f"those that do not, with confidence. {sentences.convergence_sentence(analyses)}"
        f"{left_out(len(spread.rows), MAX_MINOR_PANELS, 'panels')}"
    )
    return FigureSpec("convergence", "Convergence of the training", caption, panels, minor=True)

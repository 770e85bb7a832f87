"""The figure of the verdicts: better, worse, equivalent or open in each setting."""

from __future__ import annotations

from functools import partial

from rdstudy.analysis.verdicts import NOT_MEASURABLE
from rdstudy.report import figures, sentences
from rdstudy.report.analyses import Analyses
from rdstudy.report.drawings.selection import evenly, left_out
from rdstudy.report.drawings.spec import FigureSpec, Panel
from rdstudy.report.verdicts import CLAIM_NAMES, main_criterion, setting_verdicts

MAX_SETTINGS = 16

_MEANINGS = {
    "lowering_beta": "Lowering \u03b2: from the beta nearest to 1 to the best smaller one.",
    "underfitting": (
        "More mutual information: from a beta with little of it to the one with most, the fall of test distortion "
        "minus the rise of the gap between test and training distortion."
    ),
    "beyond_saturation": "Beyond saturation: from the beta at which it saturates to the best smaller one.",
}
"""What each column of the map compares."""


def verdict_figure(analyses: Analyses) -> FigureSpec:
    """One mark per setting and claim; no panel where nothing could be measured."""
    rows = main_criterion(setting_verdicts(analyses.claims))
    labels = sentences.setting_names(analyses, rows)
    order = list(dict.fromkeys(labels))
    shown = set(evenly(order, MAX_SETTINGS))
    kept = [label in shown for label in labels]
    rows, labels = rows[kept], [label for label in labels if label in shown]
    asked = [
        claim
        for claim in rows["claim"].unique()
        if (rows.loc[rows["claim"] == claim, "verdict"] != NOT_MEASURABLE).any()
    ]
    claims = {claim: CLAIM_NAMES.get(claim, claim.replace("_", " ")) for claim in asked}
    drawn = rows["claim"].isin(asked).to_numpy()
    labels = [label for label, there in zip(labels, drawn, strict=True) if there]
    rows = rows[drawn]
    alt = "; ".join(
        f"{label}, {claims[claim]}: {verdict.replace('_', ' ')}"
        for label, claim, verdict in zip(labels, rows["claim"], rows["verdict"], strict=True)
    )
    panels = [Panel(partial(figures.verdict_map, rows, labels, claims), alt)] if claims else []
    texts = [_MEANINGS[claim] for claim in asked if claim in _MEANINGS]
    caption = (
        f"What a change does in each setting, with the difference of means in nats (positive: better). "
        f"{' '.join(texts)} Test distortion throughout.{left_out(len(order), MAX_SETTINGS, 'settings')}"
    )
    return FigureSpec("verdicts", "Better, worse, equivalent or open", caption, panels)

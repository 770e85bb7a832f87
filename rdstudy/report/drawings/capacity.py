"""The figure of deep against shallow networks at each beta."""

from __future__ import annotations

from functools import partial

from rdstudy.analysis import SETTING, setting_label
from rdstudy.report import figures
from rdstudy.report.analyses import Analyses
from rdstudy.report.claim_sentences import capacity_sentence
from rdstudy.report.drawings.selection import MAX_PANELS, evenly, left_out, of
from rdstudy.report.drawings.spec import FigureSpec, Panel
from rdstudy.report.verdicts import main_criterion


def capacity(analyses: Analyses) -> FigureSpec:
    """Deep minus shallow test distortion over beta, one setting a panel; no panel where one depth was trained."""
    record = main_criterion(analyses.capacity)
    names = [name for name in analyses.names if name != "depth"]
    groups = [rows for _, rows in record.groupby(list(SETTING), dropna=False, sort=True)]
    groups = [rows for rows in groups if rows["beta"].nunique() > 1]
    panels = []
    for rows in evenly(groups, MAX_PANELS):
        title = setting_label(rows.iloc[0], names)
        panels.append(Panel(partial(figures.capacity, rows, title=title), f"{capacity_sentence(rows, [])}{of(title)}"))
    caption = (
        "Test distortion of the deepest network minus that of the shallowest, within each seed, with 95% intervals; "
        f"below the line the deep network is better.{left_out(len(groups), MAX_PANELS, 'settings')}"
    )
    return FigureSpec("capacity", "Deep against shallow", caption, panels)

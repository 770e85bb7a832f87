"""The figure of other priors than the standard normal."""

from __future__ import annotations

from functools import partial

from rdstudy.analysis import SETTING, setting_label
from rdstudy.analysis.ex_post import SUFFIX
from rdstudy.report import figures
from rdstudy.report.analyses import Analyses
from rdstudy.report.claim_sentences import CRITERION_NAMES
from rdstudy.report.drawings.selection import MAX_PANELS, evenly, left_out, of
from rdstudy.report.drawings.spec import FigureSpec, Panel


def priors(analyses: Analyses, criterion: str) -> FigureSpec:
    """The gain of every other prior over beta, one setting a panel; no panel where one prior was trained."""
    record = analyses.priors[analyses.priors["criterion"] == criterion]
    others = [name for name in SETTING if name != "prior"]
    names = [name for name in analyses.names if name != "prior"]
    groups = [rows for _, rows in record.groupby(others, dropna=False, sort=True)]
    panels = []
    for rows in evenly(groups, MAX_PANELS):
        title = setting_label(rows.iloc[0], names)
        low, high = rows["difference_nats"].min(), rows["difference_nats"].max()
        alt = f"Gain of other priors over the standard normal{of(title)}: from {low:.3g} to {high:.3g} nats."
        panels.append(Panel(partial(figures.priors, rows, criterion, title=title), alt))
    what = CRITERION_NAMES[criterion]
    ex_post = " Ex post: fitted to the codes of the models with the standard normal, which stay as they are."
    ex_post = ex_post if record["prior"].astype(str).str.endswith(SUFFIX).any() else ""
    caption = (
        f"{what[:1].upper()}{what[1:]} with the standard normal prior minus that with each other prior, at the same "
        f"beta and within each {analyses.unit.removesuffix('s')}, with 95% intervals; above the line the other prior "
        f"is better.{ex_post}{left_out(len(groups), MAX_PANELS, 'settings')}"
    )
    stem = criterion.removesuffix("_nats")
    return FigureSpec(f"priors_{stem}", f"Other priors: {what}", caption, panels)

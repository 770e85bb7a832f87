"""The figure of a search: the cells it tried and its estimate."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from rdstudy.analysis import setting_label
from rdstudy.report import figures
from rdstudy.report.analyses import Analyses
from rdstudy.report.drawings.selection import MAX_PANELS, evenly, left_out, of, same_setting
from rdstudy.report.drawings.spec import FigureSpec, Panel
from rdstudy.storage.schema import TEST


def search(analyses: Analyses) -> Iterator[FigureSpec]:
    """The posterior over beta per setting, or the progress of a search for a frontier; nothing without a search."""
    tables = analyses.search
    if tables is None or tables.tried.empty:
        return
    tried, names = tables.tried, tables.names
    if tables.estimates.empty:
        if "hypervolume_nats2" not in tried or tried["hypervolume_nats2"].notna().sum() < 2:
            return
        last = tried["hypervolume_nats2"].dropna().iloc[-1]
        alt = f"Hypervolume against cells: {last:,.0f} square nats after {len(tried)} cells."
        caption = "Area above and to the right of the lower frontier, up to the worst rate and distortion seen."
        yield FigureSpec("search", "The search", caption, [Panel(partial(figures.search_progress, tried), alt)])
        return
    metric = tables.metric.replace(TEST, tables.chosen_on)
    panels = []
    for _, row in evenly(list(tables.estimates.iterrows()), MAX_PANELS):
        points, curve = (same_setting(frame, row, names) for frame in (tried, tables.curves))
        title = setting_label(row, names) if names else ""
        alt = f"beta {row['beta']:.3g}, 95% from {row['beta_high']:.3g} to {row['beta_low']:.3g}{of(title)}."
        panels.append(Panel(partial(figures.search_curve, points, curve, row, metric, title=title), alt))
    caption = (
        "The cells that the search chose, the posterior of the curve (a Gaussian process in log beta, 95%), and the "
        f"beta that is sought with its 95% interval.{left_out(len(tables.estimates), MAX_PANELS, 'settings')}"
    )
    yield FigureSpec("search", "The search", caption, panels)

"""What each prior gains over the standard normal, against beta."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rdstudy.report.figures.against_beta import CRITERION_LABELS
from rdstudy.report.figures.beta_axis import positions, set_beta_axis
from rdstudy.report.figures.drawable import drawable, dropped_note
from rdstudy.report.figures.style import (
    COLOURS,
    FAINT,
    MARKERS,
    axes_for,
    error_bars,
    figure_of,
    legend_above,
    styled,
)

MAX_PRIORS = len(COLOURS)


@styled
def priors(rows: pd.DataFrame, name: str = "distortion_nats", *, ax: Axes | None = None, title: str = "") -> Figure:
    """The gain of a criterion over the standard normal at the same beta, a curve per prior, with 95% intervals.

    Args:
        rows: what `rdstudy.analysis.priors` returns, for one setting but for its prior.
        name: the criterion.
    """
    axes = axes_for(ax, height=2.4)
    points, dropped = drawable(rows[rows["criterion"] == name], ["beta", "difference_nats"])
    axes.axhline(0, color=FAINT, linewidth=0.7, zorder=0)
    handles = []
    for k, (prior, own) in enumerate(list(points.groupby("prior", sort=True))[:MAX_PRIORS]):
        own = own.sort_values("beta")
        x, y = positions(own["beta"].to_numpy()), own["difference_nats"].to_numpy(dtype=np.float64)
        ends = (own[end].to_numpy(dtype=np.float64) for end in ("low_nats", "high_nats"))
        colour, marker = COLOURS[k], MARKERS[k]
        axes.errorbar(x, y, error_bars(y, *ends), color=colour, marker=marker, elinewidth=0.9)
        handles.append(Line2D([], [], color=colour, marker=marker, label=str(prior)))
    set_beta_axis(axes, points["beta"].to_numpy())
    axes.set_ylabel(f"gain in {CRITERION_LABELS[name]}\nover the standard normal (nats)")
    legend_above(axes, [*handles, *dropped_note(dropped)], title)
    return figure_of(axes)

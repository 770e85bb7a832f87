"""What each prior gains over the standard normal, against beta."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rdstudy.analysis.ex_post import SUFFIX
from rdstudy.analysis.replicates import CRITERIA
from rdstudy.report.figures.against_beta import CRITERION_LABELS
from rdstudy.report.figures.beta_axis import positions, set_beta_axis
from rdstudy.report.figures.drawable import drawable, dropped_note
from rdstudy.report.figures.far_points import leave_out_far_points, name_far_points
from rdstudy.report.figures.style import (
    COLOURS,
    FAINT,
    MARKERS,
    PAPER,
    axes_for,
    error_bars,
    figure_of,
    legend_above,
    styled,
)

MAX_PRIORS = len(COLOURS)


@styled
def priors(rows: pd.DataFrame, criterion: str = CRITERIA[0], *, ax: Axes | None = None, title: str = "") -> Figure:
    """The gain of a criterion over the standard normal at the same beta, a curve per prior, with 95% intervals.

    Dashed and hollow: a prior that was fitted ex post.

    Args:
        rows: what `rdstudy.analysis.priors` returns, for one setting but for its prior.
        criterion: such as `negative_elbo_nats`.
    """
    axes = axes_for(ax, height=2.4)
    points, dropped = drawable(rows[rows["criterion"] == criterion], ["beta", "difference_nats"])
    axes.axhline(0, color=FAINT, linewidth=0.7, zorder=0)
    names = sorted(points["prior"].astype(str).unique(), key=lambda name: (name.endswith(SUFFIX), name))
    bases = list(dict.fromkeys(name.removesuffix(SUFFIX) for name in names))[:MAX_PRIORS]
    handles = []
    curves = []
    for name in names:
        if name.removesuffix(SUFFIX) not in bases:
            continue
        k, ex_post = bases.index(name.removesuffix(SUFFIX)), name.endswith(SUFFIX)
        own = points[points["prior"] == name].sort_values("beta")
        x, y = positions(own["beta"].to_numpy()), own["difference_nats"].to_numpy(dtype=np.float64)
        ends = (own[end].to_numpy(dtype=np.float64) for end in ("low_nats", "high_nats"))
        colour, marker, style, face = COLOURS[k], MARKERS[k], "--" if ex_post else "-", PAPER if ex_post else COLOURS[k]
        bars = error_bars(y, *ends)
        axes.errorbar(x, y, bars, color=colour, marker=marker, ls=style, markerfacecolor=face, elinewidth=0.9)
        handles.append(Line2D([], [], color=colour, marker=marker, ls=style, markerfacecolor=face, label=name))
        curves.append((x, y, colour))
    leave_out_far_points(axes, points["difference_nats"].to_numpy(dtype=np.float64))
    set_beta_axis(axes, points["beta"].to_numpy())
    for x, y, colour in curves:
        name_far_points(axes, x, y, colour)
    axes.set_ylabel(f"gain in {CRITERION_LABELS[criterion]}\nover the standard normal (nats)")
    legend_above(axes, [*handles, *dropped_note(dropped)], title, columns=2)
    return figure_of(axes)

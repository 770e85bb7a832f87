"""A check of the training: the slope of every training curve against the beta it was trained with."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rdstudy.report.figures.beta_axis import positions, set_beta_axis
from rdstudy.report.figures.drawable import drawable, dropped_note
from rdstudy.report.figures.panels import Marks, curves
from rdstudy.report.figures.style import FAINT, INK, axes_for, figure_of, legend_above, styled


@styled
def convergence(record: pd.DataFrame, *, ax: Axes | None = None, marks: Marks | None = None, title: str = "") -> Figure:
    """-dD/dR between neighbouring betas, as a step from one to the other; it should cross the diagonal in
    between.

    Args:
        record: what `rdstudy.analysis.convergence` returns, for the settings to draw together.
    """
    axes = axes_for(ax)
    points, dropped = drawable(record[record["slope"].notna()], ["beta", "beta_next", "slope"])
    points = points[points["slope"] > 0]  # the axis is logarithmic
    betas = np.unique(points[["beta", "beta_next"]].to_numpy(dtype=np.float64))
    place = dict(zip(betas, positions(betas), strict=True))
    handles = []
    for mark, curve in curves(points, marks):
        for _, row in curve.iterrows():
            span = np.array([place[row["beta_next"]], place[row["beta"]]])
            axes.plot(span, [row["slope"]] * 2, color=mark.colour, linewidth=2, solid_capstyle="butt")
            if row["slope_fits"] is False or row["slope_fits"] is np.False_:
                axes.plot(np.sqrt(span.prod()), row["slope"], marker="x", markersize=6, color=INK, linestyle="none")
        if mark.label:
            handles.append(Line2D([], [], color=mark.colour, linewidth=2, label=mark.label))
    if len(points):
        ends = [place[betas[0]], place[betas[-1]]]
        axes.plot(ends, ends, color=FAINT, linewidth=0.8, zorder=0)
        handles.append(Line2D([], [], color=FAINT, linewidth=0.8, label="slope = β"))
        handles.append(Line2D([], [], color=INK, marker="x", linestyle="none", label="does not fit"))
    set_beta_axis(axes, betas)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylabel("slope \u2212dD/dR of the training curve")
    legend_above(axes, [*handles, *dropped_note(dropped)], title)
    return figure_of(axes)

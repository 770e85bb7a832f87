"""Deep minus shallow against beta."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rdstudy.report.figures.against_beta import CRITERION_LABELS
from rdstudy.report.figures.beta_axis import positions, set_beta_axis
from rdstudy.report.figures.drawable import drawable, dropped_note
from rdstudy.report.figures.style import FAINT, INK, PAPER, axes_for, error_bars, figure_of, legend_above, styled
from rdstudy.report.figures.verdict_map import VERDICT_MARKS


@styled
def capacity(rows: pd.DataFrame, name: str = "distortion_nats", *, ax: Axes | None = None, title: str = "") -> Figure:
    """A criterion of the deep network minus that of the shallow one, with 95% intervals, marked by its verdict.

    Args:
        rows: what `rdstudy.analysis.capacity` returns, for one setting.
        name: the criterion.
    """
    axes = axes_for(ax, height=2.4)
    points, dropped = drawable(rows[rows["criterion"] == name], ["beta", "difference_nats"])
    points = points.sort_values("beta")
    x, y = positions(points["beta"].to_numpy()), points["difference_nats"].to_numpy(dtype=np.float64)
    ends = (points[end].to_numpy(dtype=np.float64) for end in ("low_nats", "high_nats"))
    axes.axhline(0, color=FAINT, linewidth=0.7, zorder=0)
    axes.errorbar(x, y, error_bars(y, *ends), color=INK, linewidth=0.9, elinewidth=0.9)
    handles = []
    for verdict, (colour, marker) in VERDICT_MARKS.items():
        chosen = (points["verdict"] == verdict).to_numpy()
        if not chosen.any():
            continue
        mark = Line2D(
            [],
            [],
            color=colour,
            marker=marker,
            markersize=6,
            markerfacecolor=PAPER if verdict == "open" else colour,
            linestyle="none",
            label=f"deep {verdict.replace('_', ' ')}",
        )
        [drawn] = axes.plot(x[chosen], y[chosen], zorder=3)
        drawn.update_from(mark)
        handles.append(mark)
    set_beta_axis(axes, points["beta"].to_numpy())
    axes.set_ylabel(f"{CRITERION_LABELS[name]},\ndeep \u2212 shallow (nats)")
    legend_above(axes, [*handles, *dropped_note(dropped)], title)
    return figure_of(axes)

"""The encoder's and the decoder's part of the generalization gap, against beta."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rdstudy.report.figures.beta_axis import positions, set_beta_axis
from rdstudy.report.figures.drawable import drawable, dropped_note, ends
from rdstudy.report.figures.style import COLOURS, DASHED, FAINT, INK, axes_for, figure_of, legend_above, styled

_PARTS = (
    ("encoder", "encoder's part", COLOURS[1], "s"),
    ("decoder", "decoder's part", COLOURS[0], "o"),
)


@styled
def gap_parts(record: pd.DataFrame, *, ax: Axes | None = None, title: str = "") -> Figure:
    """Both parts of the gap in D + beta R with their 95% bands over seeds, and their sum, dashed.

    Args:
        record: what `rdstudy.analysis.gap_parts` returns, for one setting.
    """
    axes = axes_for(ax)
    points, dropped = drawable(record, ["beta", "encoder_nats", "decoder_nats"])
    points = points.sort_values("beta")
    x = positions(points["beta"].to_numpy())
    handles = []
    for name, label, colour, marker in _PARTS:
        axes.plot(x, points[f"{name}_nats"], color=colour, marker=marker)
        axes.fill_between(x, *ends(points, name), color=colour, alpha=0.2, linewidth=0)
        handles.append(Line2D([], [], color=colour, marker=marker, label=label))
    axes.plot(x, points["gap_nats"], color=INK, linestyle=DASHED, linewidth=1)
    handles.append(Line2D([], [], color=INK, linestyle=DASHED, linewidth=1, label="sum"))
    axes.axhline(0, color=FAINT, linewidth=0.7, zorder=0)
    set_beta_axis(axes, points["beta"].to_numpy())
    axes.set_ylabel("gap in D + βR,\ntest \u2212 train (nats)")
    legend_above(axes, [*handles, *dropped_note(dropped)], title)
    return figure_of(axes)

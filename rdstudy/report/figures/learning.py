"""Learning curves: whether training had ended, and when the test set began to suffer."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rdstudy.report.figures.drawable import drawable, dropped_note, ends
from rdstudy.report.figures.style import DASHED, INK, axes_for, figure_of, legend_above, styled
from rdstudy.storage.schema import TEST, TRAIN

_MAX_BETAS = 6


@styled
def learning_curves(record: pd.DataFrame, *, ax: Axes | None = None, title: str = "") -> Figure:
    """Distortion over training steps of one setting: test solid, train dashed, colour by beta; bands span the
    seeds.

    Args:
        record: what `rdstudy.analysis.learning` returns, for one setting. Of more than six betas, six spread
        over the
            grid are drawn.
    """
    axes = axes_for(ax)
    record, dropped = drawable(record[record["distortion_nats"].notna()], ["beta", "step", "distortion_nats"])
    betas = np.sort(record["beta"].unique())[::-1]
    chosen = betas[np.unique(np.linspace(0, len(betas) - 1, min(_MAX_BETAS, len(betas))).round().astype(int))]
    handles = []
    for k, beta in enumerate(chosen):
        colour = colormaps["viridis"](0.05 + 0.8 * k / max(len(chosen) - 1, 1))
        for population, line in ((TRAIN, DASHED), (TEST, "-")):
            points = record[(record["beta"] == beta) & (record["population"] == population) & (record["step"] > 0)]
            points = points.sort_values("step")
            axes.plot(points["step"], points["distortion_nats"], color=colour, linestyle=line, linewidth=1.1)
            axes.fill_between(points["step"], *ends(points, "distortion"), color=colour, alpha=0.15, linewidth=0)
        handles.append(Line2D([], [], color=colour, label=f"β = {beta:g}"))
    handles.append(Line2D([], [], color=INK, label="test"))
    handles.append(Line2D([], [], color=INK, linestyle=DASHED, label="train"))
    if len(record):  # a logarithmic axis without data has no limits
        axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.set_xlabel("training steps (log scale)")
    axes.set_ylabel("distortion (nats per example)")
    legend_above(axes, [*handles, *dropped_note(dropped)], title, columns=4)
    return figure_of(axes)

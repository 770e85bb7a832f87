"""The claims at a glance: one effect and interval per setting."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from rdstudy.analysis.replicates import setting_label, varying
from rdstudy.report.figures.style import COLOURS, FAINT, PAPER, axes_for, figure_of, legend_above, styled

# Told apart by shape and by side of the line as well as by colour.
VERDICT_MARKS = {
    "better": (COLOURS[0], "o"),
    "worse": (COLOURS[1], "s"),
    "equivalent": (COLOURS[2], "^"),
    "open": (FAINT, "D"),
    "not_measurable": (FAINT, "x"),
}

_LINEAR_UP_TO_NATS = 20


@styled
def claim_effects(claims: pd.DataFrame, *, ax: Axes | None = None, title: str = "") -> Figure:
    """The difference of one claim in every setting, with its 95% interval: right of the line the smaller beta is
    better.

    Args:
        claims: what `rdstudy.analysis.claims` returns, for one claim and criterion. Settings that are not
            measurable keep their line, empty.
    """
    names = varying(claims)
    claims = claims.iloc[::-1]
    axes = axes_for(ax, height=1.0 + 0.31 * max(len(claims), 2))
    for y, (_, row) in enumerate(claims.iterrows()):
        colour, marker = VERDICT_MARKS[row["verdict"]]
        if np.isfinite(row["low_nats"]):
            axes.plot([row["low_nats"], row["high_nats"]], [y, y], color=colour, linewidth=2, alpha=0.6)
        axes.plot(row["difference_nats"], y, color=colour, marker=marker, markersize=5, linestyle="none")
        # Over its line and not beside the axis: names are long and a column is narrow.
        label = setting_label(row, names)
        ground = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.5}  # no line runs through the words
        across = axes.get_yaxis_transform()
        axes.text(0.0, y + 0.25, label, transform=across, va="bottom", fontsize=7.5, bbox=ground)
    axes.axvline(0, color=FAINT, linewidth=0.8, zorder=0)
    ends = claims[["difference_nats", "low_nats", "high_nats"]].to_numpy(dtype=np.float64)
    largest = float(np.nanmax(np.abs(ends), initial=0.0))
    if largest > _LINEAR_UP_TO_NATS:
        axes.set_xscale("symlog", linthresh=1, linscale=0.6)
        axes.xaxis.set_major_locator(
            FixedLocator([0, *(sign * nats for sign in (-1, 1) for nats in (1, 3, 10, 30, 100, 300))])
        )
        axes.xaxis.set_minor_locator(NullLocator())
        left, right = min(0.0, float(np.nanmin(ends))), max(0.0, float(np.nanmax(ends)))
        axes.set_xlim(1.6 * left - 0.5, 1.6 * right + 0.5)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "\u2212"))
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_ylim(-0.5, len(claims) - 0.2)
    for y in range(len(claims) - 1):
        axes.axhline(y + 0.72, color=FAINT, linewidth=0.3, alpha=0.5, zorder=0)
    axes.set_xlabel("gain from the smaller beta (nats per example)")
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="none", label=verdict.replace("_", " "))
        for verdict, (colour, marker) in VERDICT_MARKS.items()
        if (claims["verdict"] == verdict).any()
    ]
    legend_above(axes, handles, title)
    return figure_of(axes)

"""Our rate-distortion curves over the published ones."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rdstudy.report.figures.far_points import limits, name_far_points
from rdstudy.report.figures.rate_distortion import arrows
from rdstudy.report.figures.style import (
    COLOURS,
    DASHED,
    INK,
    PAPER,
    Look,
    axes_for,
    error_bars,
    figure_of,
    legend_above,
    styled,
)
from rdstudy.storage.schema import TEST, TRAIN

_NETWORKS = {1: "shallow (1 hidden layer)", 3: "deep (3 hidden layers)"}
_MAX_STRETCH = 1.3
"""Our points at more than this times the largest published rate are outside of the panels, and named at the edge."""

_OURS: Look = {"color": COLOURS[0], "marker": "o", "linewidth": 1.2}
_THEIRS: Look = {"color": COLOURS[1], "marker": "s", "linewidth": 2.4, "markersize": 5.0}
"""The published curves are behind ours and wider, so that both are seen where they are the same."""


@styled
def published_figure(
    frontier: pd.DataFrame, published: pd.DataFrame, depth: int, *, ax: Axes | None = None, title: str = ""
) -> Figure:
    """Distortion over rate of one network: test solid and filled, train dashed and hollow, a star at beta = 1.

    The axes are the same for all depths, so that panels can be put side by side (`grid`: two columns of a paper).

    Args:
        frontier: what `rdstudy.analysis.frontier` returns, for one setup of the checkerboard split, all depths. Bars
            are its 95% intervals over seeds.
        published: the same for the published curves.
        depth: of the network to draw, 1 (shallow) or 3 (deep).
    """
    axes = axes_for(ax, height=3.1)
    ours = frontier[frontier["depth"] == depth]
    _curves(axes, published[published["depth"] == depth], _THEIRS, zorder=2.0)
    _curves(axes, ours, _OURS, zorder=3.0)
    if ours.empty:
        axes.text(0.97, 0.95, "not in this study", transform=axes.transAxes, ha="right", va="top", fontsize=7)
    both = pd.concat([frontier[["rate_nats", "distortion_nats"]], published[["rate_nats", "distortion_nats"]]]).dropna()
    both = both[both["rate_nats"] <= _MAX_STRETCH * published["rate_nats"].max()]
    axes.set_xlim(*limits(both["rate_nats"].to_numpy()))
    axes.set_ylim(*limits(both["distortion_nats"].to_numpy()))
    rate, distortion = (ours[name].to_numpy(dtype=float) for name in ("rate_nats", "distortion_nats"))
    name_far_points(axes, rate, distortion, _OURS["color"])
    arrows(axes, ours, _OURS["color"], 1.0)
    _name_betas(axes, ours)
    axes.set_xlabel("rate (nats per example)")
    axes.set_ylabel("distortion (nats per example)")
    legend_above(axes, _handles(), f"{_NETWORKS[depth]}{f', {title}' if title else ''}")
    return figure_of(axes)


def _curves(axes: Axes, curves: pd.DataFrame, look: Look, zorder: float) -> None:
    colour = look["color"]
    for population in (TRAIN, TEST):
        points = curves[curves["population"] == population].dropna(subset=["rate_nats", "distortion_nats"])
        if points.empty:
            continue
        points = points.sort_values("beta", ascending=False)
        face = colour if population == TEST else PAPER
        line: Any = "-" if population == TEST else DASHED
        rate, distortion = ([points[f"{stem}_{end}"].to_numpy(dtype=float) for end in ("nats", "low", "high")]
                            for stem in ("rate", "distortion"))  # fmt: skip
        axes.errorbar(
            rate[0],
            distortion[0],
            xerr=error_bars(*rate),
            yerr=error_bars(*distortion),
            **look,
            linestyle=line,
            markerfacecolor=face,
            elinewidth=0.7,
            zorder=zorder,
        )
        star = points["beta"].to_numpy(dtype=float) == 1
        axes.plot(
            rate[0][star],
            distortion[0][star],
            color=colour,
            marker="*",
            markersize=8,
            markerfacecolor=face,
            linestyle="none",
            zorder=zorder + 0.5,
        )


def _name_betas(axes: Axes, ours: pd.DataFrame) -> None:
    """The largest and the smallest beta at the ends of our test curve, of which the order is then clear."""
    test = ours[ours["population"] == TEST].dropna(subset=["rate_nats", "distortion_nats"]).sort_values("beta")
    test = test[test["rate_nats"] <= axes.get_xlim()[1]]
    for k in (0, -1) if len(test) > 1 else ():
        end = test.iloc[k]
        at = (float(end["rate_nats"]), float(end["distortion_nats"]))
        look: Look = {"ha": "right" if k == 0 else "left", "va": "top" if k == 0 else "bottom", "fontsize": 6}
        axes.annotate(
            f"β {end['beta']:g}",
            at,
            (0, -4) if k == 0 else (4, 2),
            textcoords="offset points",
            color=_OURS["color"],
            **look,
        )


def _handles() -> list[Line2D]:
    return [
        Line2D([], [], **_OURS, label="this study"),
        Line2D([], [], **_THEIRS, label="published"),
        Line2D([], [], color=INK, marker="o", label="test"),
        Line2D([], [], color=INK, marker="o", markerfacecolor=PAPER, linestyle=DASHED, label="train"),
        Line2D([], [], color=INK, marker="*", markersize=8, linestyle="none", label="β = 1"),
    ]

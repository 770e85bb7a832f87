"""Curves over beta: test criteria, generalization gaps, information."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rdstudy.report.figures.beta_axis import positions, set_beta_axis
from rdstudy.report.figures.drawable import drawable, dropped_note, ends, finite
from rdstudy.report.figures.far_points import leave_out_far_points, name_far_points
from rdstudy.report.figures.panels import Marks, curves
from rdstudy.report.figures.style import (
    COLOURS,
    DASHED,
    DOTTED,
    FAINT,
    INK,
    PAPER,
    axes_for,
    figure_of,
    legend_above,
    new_figure,
    styled,
)
from rdstudy.storage.schema import TEST, VALIDATION
from rdstudy.study.axes import AXES

UNRELIABLE = "nll_unreliable"
"""Column of the frontier: the NLL of this point has unreliable importance weights."""

CRITERION_LABELS = {
    "distortion_nats": "test distortion",
    "negative_elbo_nats": "test \u2212ELBO",
    "nll_nats": "test NLL",
    "refit_distortion_nats": "refitted test distortion",
}

MAX_LABEL = 20
"""Letters of a criterion's name that leave room for its unit on the same line of the axis."""


@styled
def criterion(
    frontier: pd.DataFrame,
    name: str = "distortion_nats",
    *,
    ax: Axes | None = None,
    marks: Marks | None = None,
    title: str = "",
) -> Figure:
    """A test criterion against beta, one curve per setting, with its 95% band over seeds and a ring at its best beta.

    Points too far from all others are named at the edge; an NLL whose importance weights are unreliable is hollow.

    Args:
        frontier: what `rdstudy.analysis.frontier` returns, for the settings to draw together; `nll_unreliable`, if it
            has that column, marks the points whose NLL is unreliable.
        name: one of `rdstudy.analysis.CRITERIA`.
    """
    axes = axes_for(ax)
    stem = name.removesuffix("_nats")
    handles = []
    asked = frontier[(frontier["population"] == TEST) & frontier[name].notna()]
    points, dropped = drawable(asked, ["beta", name])
    rough = np.zeros(len(points), dtype=bool)
    if name == "nll_nats" and UNRELIABLE in points.columns:
        rough = points[UNRELIABLE].to_numpy(dtype=bool)
    points = points.assign(rough=rough, choose=_chosen_by(frontier, points, name))
    for mark, curve in curves(points, marks):
        curve = curve.sort_values("beta")
        x, y = positions(curve["beta"].to_numpy()), curve[name].to_numpy(dtype=np.float64)
        axes.plot(x, y, color=mark.colour, marker=mark.marker)
        hollow = curve["rough"].to_numpy(dtype=bool)
        axes.plot(x[hollow], y[hollow], color=mark.colour, marker=mark.marker, markerfacecolor=PAPER, linestyle="none")
        axes.fill_between(x, *ends(curve, stem), color=mark.colour, alpha=0.2, linewidth=0)
        best = int(np.argmin(curve["choose"].to_numpy(dtype=np.float64)))
        axes.plot(x[best], y[best], marker="o", markersize=8, markerfacecolor="none", color=INK, linestyle="none")
        if mark.label:
            handles.append(Line2D([], [], color=mark.colour, marker=mark.marker, label=mark.label))
    ring = Line2D([], [], marker="o", markersize=7, markerfacecolor="none", color=INK, linestyle="none")
    ring.set_label("best β")
    set_beta_axis(axes, points["beta"].to_numpy())
    _leave_out_far_points(axes, points, name, marks)
    axes.set_ylabel(_label(name))
    if rough.any():
        hollow_mark = Line2D([], [], marker="o", markerfacecolor=PAPER, color=INK, linestyle="none", label="unreliable")
        handles.append(hollow_mark)
    legend_above(axes, [*handles, ring, *dropped_note(dropped)], title)
    return figure_of(axes)


def _label(name: str) -> str:
    text = CRITERION_LABELS[name]
    separator = "\n" if len(text) > MAX_LABEL else " "
    return f"{text}{separator}(nats per example)"


def _chosen_by(frontier: pd.DataFrame, points: pd.DataFrame, name: str) -> np.ndarray:
    """Values by which the best beta of these points was chosen: those of the validation examples, if there are any."""
    by = [*(name for name, axis in AXES.items() if axis.setting and name in points.columns), "beta"]
    validation = frontier[frontier["population"] == VALIDATION]
    found = points[by].merge(validation[[*by, name]], on=by, how="left")[name].to_numpy(dtype=np.float64)
    return np.where(np.isfinite(found).any(), np.nan_to_num(found, nan=np.inf), points[name].to_numpy(np.float64))


@styled
def gap(
    gaps: pd.DataFrame,
    name: str = "distortion_nats",
    *,
    ax: Axes | None = None,
    marks: Marks | None = None,
    title: str = "",
) -> Figure:
    """The generalization gap, test minus train, against beta, with its 95% band over seeds.

    Points too far from all others are named at the edge.

    Args:
        gaps: what `rdstudy.analysis.gaps` returns, for the settings to draw together.
        name: the criterion.
    """
    axes = axes_for(ax)
    handles = []
    points, dropped = drawable(gaps[gaps["criterion"] == name], ["beta", "gap_nats"])
    for mark, curve in curves(points, marks):
        curve = curve.sort_values("beta")
        x = positions(curve["beta"].to_numpy())
        axes.plot(x, curve["gap_nats"], color=mark.colour, marker=mark.marker)
        axes.fill_between(x, *ends(curve, "gap"), color=mark.colour, alpha=0.2, linewidth=0)
        if mark.label:
            handles.append(Line2D([], [], color=mark.colour, marker=mark.marker, label=mark.label))
    axes.axhline(0, color=FAINT, linewidth=0.7, zorder=0)
    set_beta_axis(axes, points["beta"].to_numpy())
    _leave_out_far_points(axes, points, "gap_nats", marks)
    quantity = CRITERION_LABELS[name].removeprefix("test ")
    axes.set_ylabel(f"gap in {quantity}, test \u2212 train (nats)")
    legend_above(axes, [*handles, *dropped_note(dropped)], title)
    return figure_of(axes)


def _leave_out_far_points(axes: Axes, points: pd.DataFrame, name: str, marks: Marks | None) -> None:
    leave_out_far_points(axes, points[name].to_numpy(dtype=np.float64))
    for mark, curve in curves(points, marks):
        at = positions(curve["beta"].to_numpy())
        name_far_points(axes, at, curve[name].to_numpy(dtype=np.float64), mark.colour)


_BOUNDS = {
    "mi_nats": ("mi_lower_nats", "mi_upper_nats"),
    "marginal_kl_nats": ("marginal_kl_lower_nats", "marginal_kl_upper_nats"),
}
"""Columns of the bounds between which the distribution's value lies."""

_INFORMATION = (
    ("rate_nats", "rate R", COLOURS[1], "s"),
    ("mi_nats", "mutual information I", COLOURS[0], "o"),
    ("marginal_kl_nats", "marginal KL = R \u2212 I", COLOURS[2], "^"),
)


@styled
def information(
    record: pd.DataFrame, *, ax: Axes | None = None, saturation: pd.DataFrame | None = None, title: str = ""
) -> Figure:
    """Rate, mutual information, its ceiling log N and the marginal KL against beta, of one setting.

    Where bounds were measured, the bands of the mutual information and the marginal KL run from the lower to the upper.

    Args:
        record: what `rdstudy.analysis.information` returns, for one setting and population.
        saturation: the row of `rdstudy.analysis.saturation` for it, to mark between which betas I saturates.
    """
    axes = axes_for(ax)
    points, dropped = drawable(record, ["beta", "rate_nats"])
    points = points.sort_values("beta")
    x = positions(points["beta"].to_numpy())
    handles = []
    bounded = False
    for name, label, colour, marker in _INFORMATION:
        stem = name.removesuffix("_nats")
        # A logarithmic axis has no place for a marginal KL that Monte-Carlo error made negative.
        y = points[name].where((points[name] > 0) & finite(points[name])).to_numpy(dtype=np.float64)
        axes.plot(x, y, color=colour, marker=marker)
        low, high = (end.clip(min=1e-3) for end in ends(points, stem))
        axes.fill_between(x, low, high, where=np.isfinite(y), color=colour, alpha=0.2, linewidth=0)
        handles.append(Line2D([], [], color=colour, marker=marker, label=label))
        bounds = _bounds(points, name)
        if bounds is not None:
            axes.fill_between(x, *bounds, color=colour, alpha=0.12, linewidth=0)
            for bound in bounds:
                axes.plot(x, bound, color=colour, linestyle=DOTTED, linewidth=1)
            bounded = True
    if bounded:
        handles.append(Line2D([], [], color=INK, linestyle=DOTTED, linewidth=1, label="their bounds"))
    axes.plot(x, points["mi_ceiling_nats"], color=INK, linestyle=DASHED, linewidth=1)
    handles.append(Line2D([], [], color=INK, linestyle=DASHED, linewidth=1, label="ceiling log N"))
    axes.set_yscale("log")
    values = points[["rate_nats", "mi_ceiling_nats"]].to_numpy(dtype=np.float64)
    largest = float(values[finite(values)].max(initial=1e-3))
    axes.set_ylim(max(axes.get_ylim()[0] if len(points) else 0.0, largest / 1e3), largest * 1.5)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    set_beta_axis(axes, points["beta"].to_numpy())
    axes.set_ylabel("nats per example (log scale)")
    _mark_saturation(axes, saturation)
    legend_above(axes, [*handles, *dropped_note(dropped)], title, columns=2)
    return figure_of(axes)


def _bounds(points: pd.DataFrame, name: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Lower and upper bounds of a quantity, at least 0.001 nats for a logarithmic axis; None where there are none."""
    columns = [column for column in _BOUNDS.get(name, ()) if column in points.columns]
    if not columns or not all(finite(points[column]).any() for column in columns):
        return None
    low, high = (
        np.where(finite(points[column]), points[column].clip(lower=1e-3), np.nan).astype(np.float64)
        for column in columns
    )
    return low, high


@styled
def saturation(
    record: pd.DataFrame, frontier: pd.DataFrame, saturation: pd.DataFrame | None = None, *, title: str = ""
) -> Figure:
    """Information against beta, and below it, over the same axis, the test distortion: what still changes to
    the right, below the beta at which the mutual information saturates.

    Args:
        record, saturation: as for `information`.
        frontier: what `rdstudy.analysis.frontier` returns, for that setting.
    """
    figure = new_figure(height=4.2)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    information(record, ax=above, saturation=saturation, title=title)
    points, _ = drawable(frontier[frontier["population"] == TEST], ["beta", "distortion_nats"])
    points = points.sort_values("beta")
    x = positions(points["beta"].to_numpy())
    below.plot(x, points["distortion_nats"], color=INK, marker="o")
    below.fill_between(x, *ends(points, "distortion"), color=INK, alpha=0.15, linewidth=0)
    set_beta_axis(below, record["beta"].to_numpy())
    below.set_ylabel("test distortion\n(nats)")
    _mark_saturation(below, saturation)
    above.set_xlabel("")
    return figure


def _mark_saturation(axes: Axes, saturation: pd.DataFrame | None) -> None:
    """A band between the betas where I comes within 0.1 nats of its ceiling."""
    if saturation is None or saturation.empty:
        return
    row = saturation.iloc[0]
    right, left = axes.get_xlim()
    low, high = float(row["beta_low"]), float(row["beta_high"])
    if np.isfinite(low):
        axes.axvspan(max(low, left), min(high, right), color=FAINT, alpha=0.25, linewidth=0, zorder=0)
    axes.set_xlim(right, left)

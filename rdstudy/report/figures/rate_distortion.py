"""The published figure: train and test curves in the plane of rate and distortion."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from rdstudy.report.figures.drawable import drawable, dropped_note, ends
from rdstudy.report.figures.far_points import STRETCH, limits, name_far_points
from rdstudy.report.figures.image_grid import as_picture
from rdstudy.report.figures.panels import Mark, Marks, curves
from rdstudy.report.figures.style import (
    COLOURS,
    DASHED,
    FAINT,
    INK,
    MARKERS,
    PAPER,
    Look,
    axes_for,
    error_bars,
    figure_of,
    legend_above,
    styled,
)
from rdstudy.storage.schema import TEST, TRAIN

Image = UInt8[np.ndarray, "height width channels"]


@styled
def rate_distortion(
    frontier: pd.DataFrame,
    *,
    ax: Axes | None = None,
    marks: Marks | None = None,
    title: str = "",
    published: pd.DataFrame | None = None,
    reconstructions: Mapping[float, Image] | None = None,
    bits: bool = False,
) -> Figure:
    """Distortion over rate: test solid and filled, train dashed and hollow, one colour per setting, a star at beta = 1.

    Grey lines join points of equal -ELBO = D + R; the grey number at their end is its value. Bars are 95% intervals
    over seeds; an arrowhead marks a bar that ends outside the panel. Points too far from all others are named at the
    edge.

    Args:
        frontier: what `rdstudy.analysis.frontier` returns, for the settings to draw together (at most six).
        marks: the look of each capacity, where several panels share one (`panels`).
        published: the same for the published curves, drawn in grey behind.
        reconstructions: one image per beta, all of one test example and of the first setting drawn; at most seven
            are shown, above the curves and tied to their points.
        bits: bits per example on both axes instead of nats.
    """
    axes = axes_for(ax, height=3.4)
    scale = 1 / np.log(2) if bits else 1.0
    frontier, dropped = drawable(frontier, ["beta", "rate_nats", "distortion_nats"])
    if published is not None:
        published, _ = drawable(published, ["rate_nats", "distortion_nats"])
    handles = [] if published is None else [_behind(axes, published, scale)]
    drawn = list(curves(frontier, marks))
    for mark, curve in drawn:
        for population in (TRAIN, TEST):
            points = curve[curve["population"] == population].sort_values("beta", ascending=False)
            _curve(axes, points, scale, mark, population)
    named = [Line2D([], [], color=m.colour, marker=m.marker, label=m.label) for m, _ in drawn if m.label]
    if (frontier["beta"] == 1).any():
        handles.append(Line2D([], [], color=INK, marker="*", markersize=8, linestyle="none", label="β = 1"))
    handles = [
        *named,
        Line2D([], [], color=INK, label="test"),
        Line2D([], [], color=INK, linestyle=DASHED, label="train"),
        *handles,
        *dropped_note(dropped),
    ]
    unit = "bits" if bits else "nats"
    axes.set_xlabel(f"rate ({unit} per example)")
    axes.set_ylabel(f"distortion ({unit} per example)")
    _frame(axes, [frontier] if published is None else [frontier, published], scale)
    top = axes.get_ylim()[1]
    if reconstructions and drawn:
        _thumbnails(axes, drawn[0][1], drawn[0][0].colour, reconstructions, scale)
    _iso_lines(axes)
    for mark, curve in drawn:
        arrows(axes, curve, mark.colour, scale)
        rate, distortion = (curve[name].to_numpy(dtype=np.float64) * scale for name in ("rate_nats", "distortion_nats"))
        name_far_points(axes, rate, distortion, mark.colour, top)
    legend_above(axes, handles, title)
    return figure_of(axes)


@styled
def two_studies(frontiers: Mapping[str, pd.DataFrame], *, ax: Axes | None = None, title: str = "") -> Figure:
    """The curves of one setting in two studies: one colour per study, test solid and filled, train dashed and hollow.

    Grey lines, arrowheads and the names of far points are those of `rate_distortion`.

    Args:
        frontiers: study -> what `rdstudy.analysis.frontier` returns for the setting; may be empty.
    """
    axes = axes_for(ax, height=3.4)
    handles, dropped, drawn = [], 0, []
    for k, (name, frontier) in enumerate(frontiers.items()):
        mark = Mark(COLOURS[k], MARKERS[k], name)
        points, left_out = drawable(frontier, ["beta", "rate_nats", "distortion_nats"])
        dropped += left_out
        if points.empty:
            continue
        drawn.append((mark, points))
        for population in (TRAIN, TEST):
            rows = points[points["population"] == population].sort_values("beta", ascending=False)
            _curve(axes, rows, 1.0, mark, population)
        handles.append(Line2D([], [], color=mark.colour, marker=mark.marker, label=name))
    handles.append(Line2D([], [], color=INK, label="test"))
    handles.append(Line2D([], [], color=INK, linestyle=DASHED, label="train"))
    axes.set_xlabel("rate (nats per example)")
    axes.set_ylabel("distortion (nats per example)")
    if drawn:
        _frame(axes, [points for _, points in drawn], 1.0)
        _iso_lines(axes)
        for mark, points in drawn:
            arrows(axes, points, mark.colour, 1.0)
            rate, distortion = (points[name].to_numpy(dtype=np.float64) for name in ("rate_nats", "distortion_nats"))
            name_far_points(axes, rate, distortion, mark.colour)
    legend_above(axes, [*handles, *dropped_note(dropped)], title, columns=2)
    return figure_of(axes)


def _curve(axes: Axes, points: pd.DataFrame, scale: float, mark: Mark, population: str) -> None:
    if points.empty:
        return
    rate, rate_low, rate_high = _triple(points, "rate", scale)
    distortion, low, high = _triple(points, "distortion", scale)
    face = mark.colour if population == TEST else PAPER
    axes.errorbar(
        rate,
        distortion,
        xerr=error_bars(rate, rate_low, rate_high),
        yerr=error_bars(distortion, low, high),
        color=mark.colour,
        linestyle="-" if population == TEST else DASHED,
        marker=mark.marker,
        markerfacecolor=face,
        elinewidth=0.7,
    )
    star = points["beta"].to_numpy(dtype=np.float64) == 1.0
    look: Look = {"color": mark.colour, "markerfacecolor": face, "linestyle": "none", "zorder": 5}
    axes.plot(rate[star], distortion[star], marker="*", markersize=10, **look)


def _triple(points: pd.DataFrame, stem: str, scale: float) -> list[np.ndarray]:
    middle = points[f"{stem}_nats"].to_numpy(dtype=np.float64)
    return [values * scale for values in (middle, *ends(points, stem))]


def _behind(axes: Axes, published: pd.DataFrame, scale: float) -> Line2D:
    for (_, population), curve in published.groupby(["depth", "population"]):
        points = curve.sort_values("beta", ascending=False)
        rate, distortion = points["rate_nats"] * scale, points["distortion_nats"] * scale
        line: object = "-" if population == TEST else DASHED
        axes.plot(rate, distortion, color=FAINT, linestyle=line, linewidth=0.9, marker=".", zorder=1)
        star = points["beta"] == 1
        axes.plot(rate[star], distortion[star], color=FAINT, marker="*", markersize=7, linestyle="none", zorder=1)
        end = points.iloc[-1]
        name = {1: "shallow", 3: "deep"}.get(int(end["depth"]), "")
        if population == TEST:
            at = (float(end["rate_nats"]) * scale, float(end["distortion_nats"]) * scale)
            axes.annotate(name, at, (0, 3), textcoords="offset points", ha="center", color=FAINT, fontsize=6)
    return Line2D([], [], color=FAINT, marker=".", label="published")


def _frame(axes: Axes, tables: list[pd.DataFrame], scale: float) -> None:
    """Limits around the points and their intervals.

    Intervals that would leave the curves less than a third of the axis (those of two seeds, say) do not set its scale.
    """
    for stem, set_limits in (("rate", axes.set_xlim), ("distortion", axes.set_ylim)):
        middle = np.concatenate([table[f"{stem}_nats"].to_numpy(dtype=np.float64) for table in tables]) * scale
        whole = [middle, *(end * scale for table in tables for end in ends(table, stem))]
        narrow, wide = limits(middle), limits(np.concatenate(whole))
        set_limits(*(wide if wide[1] - wide[0] <= STRETCH * (narrow[1] - narrow[0]) else narrow))


def arrows(axes: Axes, curve: pd.DataFrame, colour: str, scale: float) -> None:
    """An arrowhead at the edge of the panel for every interval that ends beyond it."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    rate, *rates = _triple(curve, "rate", scale)
    distortion, *distortions = _triple(curve, "distortion", scale)
    inside = (rate >= left) & (rate <= right) & (distortion >= bottom) & (distortion <= top)
    look: Look = {"color": colour, "markersize": 4, "linestyle": "none", "clip_on": False}
    for marker, beyond, x, y in (
        ("<", rates[0] < left, np.full_like(rate, left), distortion),
        (">", rates[1] > right, np.full_like(rate, right), distortion),
        ("v", distortions[0] < bottom, rate, np.full_like(rate, bottom)),
        ("^", distortions[1] > top, rate, np.full_like(rate, top)),
    ):
        axes.plot(x[inside & beyond], y[inside & beyond], marker=marker, **look)


def _iso_lines(axes: Axes) -> None:
    """Lines of equal -ELBO = D + R, each with its value where it leaves the panel."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    span = (right + top) - (left + bottom)
    magnitude = 10 ** np.floor(np.log10(span / 7))
    step = float(next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= span / 7))
    for total in np.arange(np.ceil((left + bottom) / step) * step, right + top, step):
        axes.plot([left, right], [total - left, total - right], color=FAINT, linewidth=0.5, alpha=0.6, zorder=0)
        at_right = bottom <= total - right <= top
        at = (right, total - right) if at_right else (total - bottom, bottom)
        if total - left < bottom + 0.06 * (top - bottom):
            continue  # cuts off a corner only
        axes.annotate(
            f"{total:g}",
            at,
            (2, 0) if at_right else (0, 1),
            textcoords="offset points",
            ha="left" if at_right else "center",
            va="center" if at_right else "bottom",
            color=FAINT,
            fontsize=6,
            annotation_clip=False,
        )
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)


_MAX_THUMBNAILS = 7


def _thumbnails(axes: Axes, curve: pd.DataFrame, colour: str, images: Mapping[float, Image], scale: float) -> None:
    """A row of reconstructions above the curves, in the order of their rates, each tied to its point."""
    points = curve[(curve["population"] == TEST) & curve["beta"].isin(list(images))].sort_values("rate_nats")
    points = points[np.isfinite(points["rate_nats"].to_numpy(dtype=np.float64))]
    if points.empty:
        return
    chosen = np.unique(np.linspace(0, len(points) - 1, min(_MAX_THUMBNAILS, len(points))).round().astype(int))
    points = points.iloc[chosen]
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top + 0.24 * (top - bottom))
    places: Float[np.ndarray, " points"] = (np.arange(len(points)) + 0.5) / len(points)
    for place, (_, point) in zip(places, points.iterrows(), strict=True):
        image = images[float(point["beta"])]
        shown = as_picture(image)
        box = AnnotationBbox(
            OffsetImage(shown, zoom=22 / shown.shape[0], interpolation="nearest"),
            (float(point["rate_nats"]) * scale, float(point["distortion_nats"]) * scale),
            xybox=(float(place), 0.985),
            boxcoords="axes fraction",
            box_alignment=(0.5, 1.0),
            pad=0.1,
            bboxprops={"edgecolor": colour, "linewidth": 0.8, "facecolor": "none"},
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "alpha": 0.45},
        )
        box.set_zorder(0.5)
        axes.add_artist(box)
        ground = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.6}  # no line runs through the words
        look: Look = {"ha": "center", "va": "top", "fontsize": 5.5, "bbox": ground}
        axes.text(float(place), 0.845, f"β {point['beta']:g}", transform=axes.transAxes, **look)

"""What each decoder allows: its own rate-distortion curve, with the encoder's and the refitted point."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rdstudy.analysis.decoder_curves import AMORTISED, CURVE, REFITTED
from rdstudy.report.figures.drawable import drawable, dropped_note
from rdstudy.report.figures.far_points import limits
from rdstudy.report.figures.style import COLOURS, INK, PAPER, axes_for, figure_of, legend_above, styled

MAX_CURVES = len(COLOURS)
HEADROOM = 2.0
"""The axes end this many times beyond the points' own spread: a curve begins at rate 0, far above them."""


@styled
def decoder_curves(record: pd.DataFrame, *, ax: Axes | None = None, title: str = "") -> Figure:
    """Distortion over rate: a line per decoder, filled where its encoder stands, hollow where refitted posteriors do.

    Args:
        record: what `rdstudy.analysis.decoder_curves` returns, for one setting and at most six betas.
    """
    axes = axes_for(ax)
    points, dropped = drawable(record, ["rate_nats", "distortion_nats"])
    handles = []
    for colour, (beta, own) in zip(COLOURS, points.groupby("beta", sort=False), strict=False):
        curve = own[own["kind"] == CURVE]
        axes.plot(curve["rate_nats"], curve["distortion_nats"], color=colour, linewidth=1.2)
        handles.append(Line2D([], [], color=colour, label=f"β = {beta:g}"))
        for kind, face in ((AMORTISED, colour), (REFITTED, PAPER)):
            one = own[own["kind"] == kind]
            axes.plot(
                one["rate_nats"], one["distortion_nats"], color=colour, marker="o", markerfacecolor=face, ls="none"
            )
    looks = (("encoder", INK), ("refitted", PAPER))
    handles += [Line2D([], [], color=INK, marker="o", markerfacecolor=face, ls="none", label=s) for s, face in looks]
    stands = points[points["kind"] != CURVE]
    if len(stands):
        _, right = limits(stands["rate_nats"].to_numpy())
        low, high = limits(stands["distortion_nats"].to_numpy())
        least = float(points["distortion_nats"].min())
        axes.set_xlim(0, right)
        axes.set_ylim(min(low, least - 0.05 * (high - low)), low + HEADROOM * (high - low))
    axes.set_xlabel("rate (nats per example)")
    axes.set_ylabel("test distortion\n(nats per example)")
    legend_above(axes, [*handles, *dropped_note(dropped)], title, columns=3)
    return figure_of(axes)

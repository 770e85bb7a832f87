"""The verdicts at a glance: one field per setting and claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rdstudy.report.figures.drawable import finite
from rdstudy.report.figures.style import COLOURS, FAINT, INK, axes_for, figure_of, legend_above, styled

# Told apart by shape as well as by colour.
VERDICT_MARKS = {
    "better": (COLOURS[0], "^"),
    "worse": (COLOURS[1], "v"),
    "equivalent": (COLOURS[2], "s"),
    "open": (FAINT, "o"),
    "not_measurable": (FAINT, "x"),
}


@styled
def verdict_map(
    rows: pd.DataFrame,
    labels: Sequence[str],
    claims: Mapping[str, str],
    *,
    ax: Axes | None = None,
    title: str = "",
) -> Figure:
    """A mark for each verdict, settings down and claims across, with the difference in nats under it.

    Args:
        rows: `claim verdict difference_nats`, one per claim and setting.
        labels: the setting of each row.
        claims: the claims to draw, and the heading of each.
    """
    order = list(dict.fromkeys(labels))
    axes = axes_for(ax, height=1.05 + 0.42 * max(len(order), 1))
    for (_, row), label in zip(rows.iterrows(), labels, strict=True):
        x, y = list(claims).index(row["claim"]), order.index(label)
        colour, marker = VERDICT_MARKS[row["verdict"]]
        hollow = row["verdict"] == "open"
        face = "none" if hollow else colour
        axes.plot(x, y - 0.1, color=colour, marker=marker, markersize=7, markerfacecolor=face, linestyle="none")
        if finite(np.array([row["difference_nats"]]))[0]:
            words = f"{row['difference_nats']:+.1f}".replace("-", "\u2212")
            axes.text(x, y + 0.17, words, ha="center", va="top", fontsize=6.5, color=INK)
    for y in range(len(order) - 1):
        axes.axhline(y + 0.5, color=FAINT, linewidth=0.3, alpha=0.5, zorder=0)
    axes.set_xticks(range(len(claims)), [name.replace(" ", "\n", 1) for name in claims.values()])
    axes.set_yticks(range(len(order)), [_wrapped(label) for label in order])
    axes.set_xlim(-0.6, len(claims) - 0.4)
    axes.set_ylim(max(len(order), 1) - 0.4, -0.6)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    handles = [
        Line2D(
            [],
            [],
            color=colour,
            marker=marker,
            markersize=6,
            markerfacecolor="none" if verdict == "open" else colour,
            linestyle="none",
            label=verdict.replace("_", " "),
        )
        for verdict, (colour, marker) in VERDICT_MARKS.items()
        if (rows["verdict"] == verdict).any()
    ]
    legend_above(axes, handles, title)
    return figure_of(axes)


def _wrapped(label: str, most: int = 24) -> str:
    """The label in lines of about `most` characters, broken after commas."""
    lines = [""]
    for part in label.split(", "):
        if lines[-1] and len(lines[-1]) + len(part) > most:
            lines.append("")
        lines[-1] += f", {part}" if lines[-1] else part
    return ",\n".join(lines)

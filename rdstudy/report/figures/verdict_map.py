"""The verdicts at a glance: one field per setting and claim."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import blended_transform_factory

from rdstudy.report.figures.drawable import finite
from rdstudy.report.figures.style import COLOURS, FAINT, INK, axes_for, figure_of, styled

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
    """A mark for each verdict, settings down and claims across, with the difference in nats beside it.

    Args:
        rows: `claim verdict difference_nats`, one per claim and setting.
        labels: the setting of each row.
        claims: the claims to draw, and the heading of each.
    """
    order = list(dict.fromkeys(labels))
    names = [_wrapped(label) for label in order]
    lines = max((name.count("\n") + 1 for name in names), default=1)
    axes = axes_for(ax, height=1.15 + (0.1 + 0.14 * lines) * max(len(order), 1))
    for (_, row), label in zip(rows.iterrows(), labels, strict=True):
        x, y = list(claims).index(row["claim"]), order.index(label)
        colour, marker = VERDICT_MARKS[row["verdict"]]
        face = "none" if row["verdict"] == "open" else colour
        axes.plot(x - 0.22, y, color=colour, marker=marker, markersize=6, markerfacecolor=face, linestyle="none")
        if finite(np.array([row["difference_nats"]]))[0]:
            words = f"{round(row['difference_nats'], 1) + 0.0:+.1f}".replace("-", "\u2212").replace("+0.0", "0.0")
            axes.text(x - 0.04, y, words, ha="left", va="center", fontsize=7, color=INK)
    for y in range(len(order) - 1):
        axes.axhline(y + 0.5, color=FAINT, linewidth=0.3, alpha=0.5, zorder=0)
    axes.set_xticks(range(len(claims)), ["\n".join(textwrap.wrap(name, 11)) for name in claims.values()])
    axes.set_yticks(range(len(order)), names)
    axes.set_xlim(-0.5, len(claims) - 0.5)
    axes.set_ylim(max(len(order), 1) - 0.5, -0.5)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
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
    across = blended_transform_factory(figure_of(axes).transFigure, axes.transAxes)  # names of settings take its left
    axes.legend(
        handles=handles,
        title=title or None,
        loc="upper left",
        bbox_to_anchor=(0.02, 0.0),
        bbox_transform=across,
        ncols=3,
        handlelength=1.0,
    )
    return figure_of(axes)


def _wrapped(label: str, most: int = 24) -> str:
    """The label in lines of about `most` characters, broken after commas."""
    lines = [""]
    for part in label.split(", "):
        if lines[-1] and len(lines[-1]) + len(part) > most:
            lines.append("")
        lines[-1] += f", {part}" if lines[-1] else part
    return ",\n".join(lines)

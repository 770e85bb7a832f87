"""The rate of every latent dimension, and images along the most informative ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from rdstudy.report.figures.image_grid import Images, labelled_grid
from rdstudy.report.figures.style import COLOURS, MARKERS, axes_for, figure_of, legend_above, styled


@styled
def latent_rates(rates: Mapping[float, np.ndarray], *, ax: Axes | None = None, title: str = "") -> Figure:
    """The rate of each latent dimension, largest first, one curve per beta.

    Args:
        rates: beta -> nats of each dimension.
    """
    axes = axes_for(ax, height=2.2)
    handles = []
    for k, (beta, values) in enumerate(rates.items()):
        colour, marker = COLOURS[k % len(COLOURS)], MARKERS[k % len(MARKERS)]
        axes.plot(np.arange(1, len(values) + 1), -np.sort(-values), color=colour, marker=marker)
        handles.append(Line2D([], [], color=colour, marker=marker, label=f"\u03b2 = {beta:g}"))
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("latent dimensions, by their rate")
    axes.set_ylabel("rate (nats per example)")
    legend_above(axes, handles, title)
    return figure_of(axes)


@styled
def traversal_grid(
    columns: Mapping[float, Images], rows: Sequence[str], *, ax: Axes | None = None, title: str = ""
) -> Figure:
    """Decoded images: latents down, their values across.

    Args:
        columns: value -> the images of all latents at it.
        rows: a label for each latent.
    """
    labels = [f"{value:+.1f}".replace("-", "\u2212") if abs(value) > 1e-9 else "0" for value in columns]
    return labelled_grid(list(columns.values()), labels, ax, title, "value of the latent", rows)

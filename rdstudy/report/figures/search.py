"""The cells that a search tried, and its estimate."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rdstudy.report.figures.beta_axis import set_beta_axis
from rdstudy.report.figures.drawable import drawable, dropped_note
from rdstudy.report.figures.style import INK, axes_for, figure_of, legend_above, styled

BLUE, ORANGE = "#0072b2", "#d55e00"  # Okabe & Ito 2008
LABELS = {
    "validation_distortion": "validation distortion (nats per example)",
    "validation_elbo": "validation -ELBO (nats per example)",
    "validation_nll": "validation NLL (nats per example)",
    "test_distortion": "test distortion (nats per example)",
    "test_elbo": "test -ELBO (nats per example)",
    "test_nll": "test NLL (nats per example)",
    "saturation": "mutual information / log N",
}


@styled
def search_curve(
    tried: pd.DataFrame,
    posterior: pd.DataFrame,
    estimate: pd.Series,
    of: str,
    *,
    ax: Axes | None = None,
    title: str = "",
) -> Figure:
    """The cells of one setting over beta, the posterior of the curve, and the beta that is sought.

    Args:
        tried: `beta`, `value`, `stopped` of the setting's cells; of those that were stopped early, the last value.
        posterior: `beta median low high` of the curve.
        estimate: `beta beta_low beta_high`.
        of: what the values are: a search's `metric`, or with `validation` for `test` that of the validation examples.
        ax: to draw into.
        title: of the panel.
    """
    axes = axes_for(ax)
    posterior = posterior.sort_values("beta")
    tried, dropped = drawable(tried[tried["value"].notna()], ["beta", "value"])
    posterior, _ = drawable(posterior, ["beta", "median", "low", "high"])
    axes.fill_between(posterior["beta"], posterior["low"], posterior["high"], color=BLUE, alpha=0.2, linewidth=0)
    axes.plot(posterior["beta"], posterior["median"], color=BLUE, linewidth=1.3)
    whole, stopped = tried[~tried["stopped"]], tried[tried["stopped"]]
    axes.plot(whole["beta"], whole["value"], ".", color=INK, markersize=4, alpha=0.7)
    axes.plot(stopped["beta"], stopped["value"], "x", color=INK, markersize=4, alpha=0.7)
    axes.axvspan(estimate["beta_low"], estimate["beta_high"], color=ORANGE, alpha=0.15, linewidth=0)
    axes.axvline(estimate["beta"], color=ORANGE, linewidth=1.3)
    values = tried["value"]
    if len(values):
        margin = 0.1 * (float(values.max() - values.min()) or 1.0)
        axes.set_ylim(values.min() - margin, values.max() + margin)
    set_beta_axis(axes, tried["beta"].to_numpy())
    axes.set_ylabel(LABELS[of])
    handles = [
        Line2D([], [], color=INK, marker=".", linestyle="", label="a cell"),
        Patch(color=BLUE, alpha=0.35, label="curve, 95%"),
        Patch(color=ORANGE, alpha=0.35, label="β sought, 95%"),
    ]
    if len(stopped):
        handles.insert(1, Line2D([], [], color=INK, marker="x", linestyle="", label="stopped early"))
    legend_above(axes, [*handles, *dropped_note(dropped)], title, columns=2)
    return figure_of(axes)


@styled
def search_progress(tried: pd.DataFrame, *, ax: Axes | None = None, title: str = "") -> Figure:
    """The frontier's hypervolume against the cells that it took.

    Args:
        tried: `hypervolume_nats2` of the cells in the order in which they were told.
        ax: to draw into.
        title: of the panel.
    """
    axes = axes_for(ax)
    shown = drawable(tried, ["hypervolume_nats2"])[0]["hypervolume_nats2"]
    axes.plot(range(1, len(shown) + 1), shown, color=BLUE, linewidth=1.3, drawstyle="steps-post")
    axes.set_xlabel("cells")
    axes.set_ylabel("hypervolume (nats²)")
    axes.set_ylim(bottom=0)
    axes.set_title(title)
    return figure_of(axes)

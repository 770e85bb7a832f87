"""The best beta over capacity and amount of training data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from rdstudy.analysis.replicates import setting_label, varying
from rdstudy.report.figures.against_beta import CRITERION_LABELS
from rdstudy.report.figures.beta_axis import positions
from rdstudy.report.figures.drawable import drawable
from rdstudy.report.figures.panels import CAPACITY
from rdstudy.report.figures.style import axes_for, figure_of, styled


@styled
def best_beta(
    record: pd.DataFrame,
    name: str = "distortion_nats",
    *,
    ax: Axes | None = None,
    title: str = "",
    betas: Sequence[float] = (),
) -> Figure:
    """A map of the beta that is best on the test set: capacity down, training examples across.

    Each field says the best beta of the grid and, under it, the interval of those that may be as good.

    Args:
        record: what `rdstudy.analysis.best_beta` returns, for settings that differ in capacity and train size only.
        name: the criterion.
        betas: other betas that the colours must cover, for several maps on one scale.
    """
    rows, _ = drawable(record[record["criterion"] == name], ["best_beta"])
    names = [column for column in CAPACITY if column in varying(rows)] or ["depth"]
    labels = rows.apply(setting_label, axis=1, columns=names) if len(rows) else pd.Series(dtype=str)
    order = rows.assign(label=labels).sort_values(names)["label"].unique()
    sizes = np.sort(rows["train_size"].unique())
    axes = axes_for(ax, height=0.9 + 0.45 * max(len(order), 1))
    scale = np.array([*rows["best_beta"], *betas], dtype=np.float64)
    norm = _norm(positions(scale))
    for (_, row), label in zip(rows.iterrows(), labels, strict=True):
        x = int(np.searchsorted(sizes, row["train_size"]))
        y = int(np.flatnonzero(order == label)[0])
        colour = colormaps["cividis"](norm(positions([row["best_beta"], *scale])[0]))
        axes.fill([x - 0.48, x + 0.48, x + 0.48, x - 0.48], [y - 0.46, y - 0.46, y + 0.46, y + 0.46], color=colour)
        ink = "black" if np.dot(colour[:3], (0.299, 0.587, 0.114)) > 0.5 else "white"
        interval = "" if np.isnan(row["beta_low"]) else f"{row['beta_high']:g} to {row['beta_low']:g}"
        axes.text(x, y - 0.12, f"{row['best_beta']:g}", ha="center", va="center", color=ink, fontsize=8)
        axes.text(x, y + 0.24, interval, ha="center", va="center", color=ink, fontsize=6)
    axes.set_xticks(range(len(sizes)), [f"{size:,}" for size in sizes])
    axes.set_yticks(range(len(order)), list(order))
    axes.set_xlim(-0.5, max(len(sizes), 1) - 0.5)
    axes.set_ylim(max(len(order), 1) - 0.5, -0.5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("training examples")
    axes.set_title((f"{title}\n" if title else "") + f"best β by {CRITERION_LABELS[name]}")
    return figure_of(axes)


def _norm(at: Float[np.ndarray, " betas"]) -> LogNorm:
    low, high = (float(at.min()), float(at.max())) if len(at) else (1.0, 1.0)
    return LogNorm(low, high) if low < high else LogNorm(low / 2, high * 2)

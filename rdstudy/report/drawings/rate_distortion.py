"""The figure of rate and distortion."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

from rdstudy.analysis import SETTING
from rdstudy.report import figures
from rdstudy.report.analyses import Analyses
from rdstudy.report.drawings.selection import MAX_PANELS, curve_text, evenly, left_out, of
from rdstudy.report.drawings.spec import FigureSpec, Panel
from rdstudy.report.image_grids import images_along
from rdstudy.storage.paths import StoragePath


def rate_distortion(analyses: Analyses, results: StoragePath) -> FigureSpec:
    """Distortion over rate, one panel per difficulty, one curve per capacity."""
    spread = figures.panels(analyses.frontier)
    panels = []
    any_images = False
    for title, rows in evenly(list(spread.rows.items()), MAX_PANELS):
        images = _reconstructions(analyses, results, rows)
        any_images |= images is not None
        published = analyses.published if _is_published_setting(analyses, rows) else None
        draw = partial(
            figures.rate_distortion, rows, marks=spread.marks, title=title, published=published, reconstructions=images
        )
        panels.append(Panel(draw, f"Distortion over rate{of(title)}. {curve_text(rows, 'distortion_nats')}"))
    caption = (
        "Each point is a beta: the largest on the left, where the rate is small, the smallest on the right. Test set "
        "solid and filled, training set dashed and hollow; the star is beta = 1. Bars are 95% intervals over "
        f"{analyses.unit}; an arrowhead marks one that ends outside the panel. Along a grey line -ELBO = distortion + "
        "rate is constant; the grey number is its value in nats."
    )
    if any_images:
        caption += (
            " The images on top are one test example as the models of the first curve reconstruct it, each tied to its "
            "point, with its beta below."
        )
    if analyses.published is not None:
        caption += " Grey curves are the paper's, read off its figure to about 0.3 nats; they have no replicates."
    caption += left_out(len(spread.rows), MAX_PANELS, "panels")
    return FigureSpec("rate_distortion", "Rate and distortion", caption, panels)


def _reconstructions(analyses: Analyses, results: StoragePath, rows: pd.DataFrame) -> dict[float, Any] | None:
    first = rows.sort_values(list(SETTING)).iloc[0]
    found = images_along(results, analyses.cells, first)
    if found is None:
        return None
    return {beta: images[0] for beta, images in found.test_reconstructions.items()}


def _is_published_setting(analyses: Analyses, rows: pd.DataFrame) -> bool:
    """Whether a panel is the published figure's: checkerboard, the most training data; or all are."""
    if analyses.published is None:
        return False
    like = analyses.frontier
    like = like[(like["dataset"] == "tetrominoes") & (like["split"] == "checkerboard")]
    if like.empty:
        return True
    row = rows.iloc[0]
    same = (row["dataset"], row["split"]) == ("tetrominoes", "checkerboard")
    return bool(same and row["train_size"] == like["train_size"].max())

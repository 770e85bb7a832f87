"""The figure of this study's curves over the published ones."""

from __future__ import annotations

from functools import partial

from rdstudy.analysis.published.curves import DEPTHS
from rdstudy.analysis.published.setups import CHECKERBOARD
from rdstudy.analysis.replicates import SEEDS
from rdstudy.report import figures
from rdstudy.report.analyses import Analyses
from rdstudy.report.drawings.selection import MAX_PANELS
from rdstudy.report.drawings.spec import FigureSpec, Panel
from rdstudy.report.formatting import in_units
from rdstudy.report.published import by_setup, of_setup, published_outcome

CAPTION = (
    "Distortion over rate on the checkerboard split: this study's curves (blue circles, with 95% intervals over seeds) "
    "over those read off the paper's figure (orange squares, no replicates). Test solid and filled, train dashed and "
    "hollow, stars at beta = 1; an arrowhead marks an interval that ends outside the panel."
)


def published(analyses: Analyses) -> FigureSpec:
    """Our curves over the published ones, one panel per network; no panel where nothing can be compared."""
    ours = analyses.frontier
    ours = ours[(ours["dataset"] == "tetrominoes") & (ours["split"] == CHECKERBOARD)]
    panels: list[Panel] = []
    if analyses.published is not None and not ours.empty:
        for label, rows in by_setup(analyses.published_predictions):
            curves = of_setup(ours, rows.iloc[0])
            if curves.empty or len(panels) >= MAX_PANELS:
                continue
            for network, depth in DEPTHS.items():
                draw = partial(figures.published_figure, curves, analyses.published, depth, title=label)
                of = f", {label}" if label else ""
                alt = f"Distortion over rate, {network}, this study and the published curves{of}. "
                panels.append(Panel(draw, alt + published_outcome(analyses)))
    return FigureSpec(
        "published",
        "The published figure and this study",
        in_units(CAPTION, analyses.units.get("tetrominoes", SEEDS)),
        panels,
    )

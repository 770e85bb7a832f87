"""The figure of the decoders' own rate-distortion curves."""

from __future__ import annotations

from functools import partial

import pandas as pd

from rdstudy.analysis.decoder_curves import AMORTISED, CURVE
from rdstudy.report import figures
from rdstudy.report.analyses import Analyses
from rdstudy.report.drawings.selection import MAX_PANELS, evenly, left_out, of, settings_of
from rdstudy.report.drawings.spec import FigureSpec, Panel
from rdstudy.report.figures.decoder_curves import MAX_CURVES


def decoder_curves(analyses: Analyses) -> FigureSpec:
    """One setting a panel, one curve per beta."""
    settings = settings_of(analyses.decoder_curves, analyses.names)
    panels = []
    for title, rows in evenly(settings, MAX_PANELS):
        betas = evenly(list(rows["beta"].unique()), MAX_CURVES)
        shown = rows[rows["beta"].isin(betas)]
        panels.append(Panel(partial(figures.decoder_curves, shown, title=title), _alt(shown, title)))
    caption = (
        "Lines: the rate-distortion curve of each beta's decoder by annealed importance sampling, which no encoder "
        "limits (test examples, the first seed; rates are upper bounds, looser where they are large). Filled: where "
        "the cell's encoder stands; hollow: with posteriors refitted for each example. The distance of a filled point "
        "from its line is what the encoder costs. Lines are of fewer examples than points, so a hollow point may lie "
        f"below its line by their error.{left_out(len(settings), MAX_PANELS, 'settings')}"
    )
    return FigureSpec("decoder_curves", "What the decoders allow", caption, panels, minor=True)


def _alt(rows: pd.DataFrame, title: str) -> str:
    texts = []
    for beta, own in rows.groupby("beta", sort=False):
        curve, stands = own[own["kind"] == CURVE], own[own["kind"] == AMORTISED].iloc[0]
        texts.append(
            f"at beta = {beta:g} the decoder's curve ends at rate {curve['rate_nats'].iloc[-1]:.3g} and distortion "
            f"{curve['distortion_nats'].iloc[-1]:.4g}, the encoder stands at {stands['rate_nats']:.3g} and "
            f"{stands['distortion_nats']:.4g}"
        )
    return f"Decoders' rate-distortion curves{of(title)}: {'; '.join(texts)}."

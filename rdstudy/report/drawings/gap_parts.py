"""The figure of the generalization gap's two parts."""

from __future__ import annotations

from functools import partial

from rdstudy.report import figures
from rdstudy.report.analyses import Analyses
from rdstudy.report.drawings.selection import evenly, left_out, of, settings_of
from rdstudy.report.drawings.spec import FigureSpec, Panel
from rdstudy.report.gap_sentences import unconverged_sentence

MAX_PANELS = 8


def gap_parts(analyses: Analyses) -> FigureSpec:
    """The encoder's and the decoder's part of the gap over beta, one setting a panel."""
    settings = settings_of(analyses.gap_parts)
    panels = []
    for title, rows in evenly(settings, MAX_PANELS):
        if rows["beta"].nunique() < 2:
            continue
        ends = "; ".join(
            f"at beta = {row['beta']:g} the encoder's part is {row['encoder_nats']:.3g} nats, the decoder's "
            f"{row['decoder_nats']:.3g}"
            for row in (rows.iloc[0], rows.iloc[-1])
        )
        panels.append(Panel(partial(figures.gap_parts, rows, title=title), f"Parts of the gap{of(title)}: {ends}."))
    caption = (
        "Gap in D + beta R, the training objective at the cell's own beta, between test and training set. Encoder's "
        "part: what the encoder misses of the best Gaussian posterior of each example, more on the test set than on "
        "the training set. Decoder's part: the gap that remains with the best posteriors. Dashed: their sum, the gap. "
        f"95% bands over "
        f"{analyses.unit}. {unconverged_sentence(analyses)}{left_out(len(settings), MAX_PANELS, 'settings')}"
    ).rstrip()
    return FigureSpec("gap_parts", "Generalization gap: encoder or decoder", caption, panels)

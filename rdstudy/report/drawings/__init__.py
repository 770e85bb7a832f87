"""The figures of the page: which settings each shows, its caption, its files."""

from __future__ import annotations

from collections.abc import Iterator

from rdstudy.analysis import CRITERIA
from rdstudy.report.analyses import Analyses
from rdstudy.report.drawings.capacity import capacity
from rdstudy.report.drawings.decoder_curves import decoder_curves
from rdstudy.report.drawings.gap_parts import gap_parts
from rdstudy.report.drawings.image_grids import image_grids
from rdstudy.report.drawings.latents import latents
from rdstudy.report.drawings.over_beta import best_beta, criterion, gap, saturation
from rdstudy.report.drawings.priors import priors
from rdstudy.report.drawings.published import published
from rdstudy.report.drawings.rate_distortion import rate_distortion
from rdstudy.report.drawings.search import search
from rdstudy.report.drawings.spec import FigureSpec, Panel, RenderedFigure, remove_figures, render
from rdstudy.report.drawings.training import convergence, learning
from rdstudy.report.drawings.verdicts import verdict_figure
from rdstudy.storage.paths import StoragePath


def figure_specs(analyses: Analyses, results: StoragePath) -> Iterator[FigureSpec]:
    """The report's figures in their order, without those that have nothing to show."""
    specs = (
        published(analyses),
        rate_distortion(analyses, results),
        *search(analyses),
        verdict_figure(analyses),
        *(criterion(analyses, name) for name in CRITERIA),
        gap_parts(analyses),
        *(priors(analyses, name) for name in CRITERIA[:2]),
        capacity(analyses),
        *image_grids(analyses, results),
        latents(analyses, results),
        gap(analyses),
        decoder_curves(analyses),
        saturation(analyses),
        best_beta(analyses),
        learning(analyses),
        convergence(analyses),
    )
    yield from sorted((spec for spec in specs if spec.panels or spec.missing), key=lambda spec: spec.minor)


__all__ = ["FigureSpec", "Panel", "RenderedFigure", "figure_specs", "remove_figures", "render"]

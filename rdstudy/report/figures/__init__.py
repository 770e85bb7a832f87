"""Draws the results of `rdstudy.analysis`, and computes nothing. The only part of rdstudy that imports
matplotlib.

    points = rdstudy.analysis.frontier(table)
    figure = rdstudy.report.figures.rate_distortion(points)
    rdstudy.report.figures.save(figure, Path("rate_distortion"))     # .svg, .pdf and .png

Every function takes a record, an optional `ax` to draw into, and returns the figure.
"""

from __future__ import annotations

from rdstudy.report.figures.against_beta import criterion, gap, information, saturation
from rdstudy.report.figures.best_beta import best_beta
from rdstudy.report.figures.capacity import capacity
from rdstudy.report.figures.convergence import convergence
from rdstudy.report.figures.decoder_curves import decoder_curves
from rdstudy.report.figures.gap_parts import gap_parts
from rdstudy.report.figures.image_grid import cell_grid, reconstruction_grid, sample_grid
from rdstudy.report.figures.latents import latent_rates, traversal_grid
from rdstudy.report.figures.learning import learning_curves
from rdstudy.report.figures.panels import Panels, panels
from rdstudy.report.figures.priors import priors
from rdstudy.report.figures.published import published_figure
from rdstudy.report.figures.rate_distortion import rate_distortion, two_studies
from rdstudy.report.figures.search import search_curve, search_progress
from rdstudy.report.figures.style import grid, inline_svg, laid_out, pdf_pages, png_bytes, save, standalone_svg
from rdstudy.report.figures.verdict_map import verdict_map

__all__ = [
    "Panels",
    "best_beta",
    "capacity",
    "cell_grid",
    "convergence",
    "criterion",
    "decoder_curves",
    "gap",
    "gap_parts",
    "grid",
    "information",
    "inline_svg",
    "laid_out",
    "latent_rates",
    "learning_curves",
    "panels",
    "pdf_pages",
    "png_bytes",
    "priors",
    "published_figure",
    "rate_distortion",
    "reconstruction_grid",
    "sample_grid",
    "saturation",
    "save",
    "search_curve",
    "search_progress",
    "standalone_svg",
    "traversal_grid",
    "two_studies",
    "verdict_map",
]

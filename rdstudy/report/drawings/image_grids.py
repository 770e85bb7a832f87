"""Figures of images: reconstructions and samples along beta."""

from __future__ import annotations

from functools import partial

from rdstudy.report import figures
from rdstudy.report.analyses import Analyses
from rdstudy.report.drawings.selection import evenly, of, settings_of
from rdstudy.report.drawings.spec import FigureSpec, Panel
from rdstudy.report.image_grids import ImageGrids, images_along
from rdstudy.storage.paths import StoragePath

MAX_GRIDS = 3


def image_grids(analyses: Analyses, results: StoragePath) -> tuple[FigureSpec, FigureSpec]:
    """Reconstructions and samples of a few settings, one seed each."""
    settings = settings_of(analyses.frontier)
    found: list[tuple[str, ImageGrids]] = []
    for title, rows in evenly(settings, MAX_GRIDS):
        grids = images_along(results, analyses.cells, rows.iloc[0])
        if grids is not None:
            found.append((title, grids))
    reconstructions = [
        Panel(
            partial(figures.reconstruction_grid, grids.test_images, grids.test_reconstructions, title=title),
            f"Test examples and their reconstructions{of(title)}, from the largest beta to the smallest.",
        )
        for title, grids in found
    ]
    sampled = [
        Panel(
            partial(figures.sample_grid, grids.samples, title=title),
            f"Samples from the prior, decoded{of(title)}, from the largest beta to the smallest.",
        )
        for title, grids in found
        if grids.samples
    ]
    several = len(found) < len(settings)
    shown = f" {len(found)} of {len(settings)} settings are shown." if several else ""
    channels = found[0][1].test_images.shape[-1] if found else 3
    if channels not in (1, 3):
        shown += f" The {channels} channels of an image are side by side, in grey."
    return (
        FigureSpec(
            "reconstructions",
            "Reconstructions",
            f"Test examples (left) and their reconstructions by one seed, large to small beta.{shown}",
            reconstructions,
        ),
        FigureSpec(
            "samples",
            "Samples",
            "Codes drawn from the prior, decoded, large to small beta. Where the marginal KL is large, codes of the "
            f"prior are unlike those of any example.{shown}",
            sampled,
            minor=True,
        ),
    )

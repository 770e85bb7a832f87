"""A figure of the page: its panels, its caption, and how it is rendered and written."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rdstudy.report import figures


@dataclass(frozen=True)
class Panel:
    """One drawing, a column wide, and a description for those who do not see it."""

    draw: Callable[[], Any]
    alt: str


@dataclass(frozen=True)
class FigureSpec:
    """A figure of one or more panels, each of one column's width, and a caption that states what they show.

    A minor one is folded away on the page. One without panels is left out, unless
    its caption says why it has none (`missing`).
    """

    name: str
    heading: str
    caption: str
    panels: Sequence[Panel]
    minor: bool = False
    missing: bool = False


@dataclass(frozen=True)
class RenderedFigure:
    """A rendered figure: its panels as `<svg>` elements, and the files they were written to."""

    spec: FigureSpec
    svgs: Sequence[str]
    pictures: Sequence[Path]
    files: Sequence[Path]


def render(spec: FigureSpec, folder: Path) -> RenderedFigure:
    """Draw each panel once, if there are any, and write it as SVG, as PNG, and as a page of the figure's one PDF."""
    if not spec.panels:
        return RenderedFigure(spec, [], [], [])
    svgs: list[str] = []
    pictures: list[Path] = []
    files = [folder / f"{spec.name}.pdf"]
    with figures.pdf_pages(files[0]) as add_page:
        for k, panel in enumerate(spec.panels, start=1):
            stem = folder / (spec.name if len(spec.panels) == 1 else f"{spec.name}-{k}")
            with figures.laid_out(panel.draw()) as figure:
                svgs.append(figures.inline_svg(figure, panel.alt, stem.name))
                pictures += figures.save(figure, stem, ("png",))
                add_page(figure)
            stem.with_suffix(".svg").write_text(figures.standalone_svg(svgs[-1]), encoding="utf-8")
            files += [stem.with_suffix(".svg"), pictures[-1]]
    return RenderedFigure(spec, svgs, pictures, files)


_WRITTEN = re.compile(
    r"(published|rate_distortion|criterion_\w+|gap|gap_parts|priors_\w+|decoder_curves|saturation|best_beta|capacity|traversals|search|learning|convergence|reconstructions|samples"
    r"|verdicts|comparison|claim_\w+)(-\d+)?\.(svg|pdf|png)"
)


def remove_figures(folder: Path) -> None:
    """Remove the figures of an earlier report, and nothing else: this one may have fewer panels."""
    for path in folder.iterdir():
        if _WRITTEN.fullmatch(path.name):
            path.unlink()

"""One style for all figures: sizes, colours that colour-blind readers can tell apart, and the file formats.

Figures are made with matplotlib's objects and never with `pyplot`, so that nothing depends on a display or on
a global current figure. On a page a figure must be readable on white and on black: `inline_svg` turns its
colours into the page's own (CSS variables), so that one drawing follows the reader's theme.
"""

from __future__ import annotations

import functools
import io
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from matplotlib.legend import Legend

COLUMN_INCHES = 3.5  # one column of a two-column paper
INK = "#1b1d21"
PAPER = "#fefefe"
FAINT = "#8a8f98"  # readable on white and on black alike

# Okabe & Ito (2008), without black and yellow, which vanish on a black or a white page.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHED = (0, (3, 1.5))
DOTTED = (0, (1, 1.5))

Look = dict[str, Any]
"""Keywords of a line or a text of matplotlib."""

STYLE: Any = {
    "font.size": 8,
    "font.family": ["DejaVu Sans"],
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.title_fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "legend.columnspacing": 1.2,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.6,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.titlelocation": "left",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "pdf.fonttype": 42,
    "svg.hashsalt": "rdstudy",
    "text.parse_math": False,  # a dollar sign in a data set's name is a dollar sign
    "image.cmap": "cividis",
}

Given = ParamSpec("Given")
Made = TypeVar("Made")


def styled(draw: Callable[Given, Made]) -> Callable[Given, Made]:
    """Run a drawing function under this module's style, and leave the caller's settings as they were."""

    @functools.wraps(draw)
    def drawn(*args: Given.args, **kwargs: Given.kwargs) -> Made:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return drawn


@styled
def new_figure(width: float = COLUMN_INCHES, height: float = 2.8) -> Figure:
    figure = Figure(figsize=(width, height), layout="tight")
    FigureCanvasAgg(figure)
    return figure


def axes_for(ax: Axes | None, height: float = 2.8) -> Axes:
    """The given axes, or those of a new figure of one column's width."""
    return new_figure(height=height).subplots() if ax is None else ax


def figure_of(axes: Axes) -> Figure:
    figure = axes.get_figure(root=True)
    assert isinstance(figure, Figure)
    return figure


def legend_above(axes: Axes, handles: Sequence[Artist], title: str = "", columns: int = 3) -> Legend:
    """A legend over the axes, where it can hide no data; its title is the panel's."""
    return axes.legend(
        handles=list(handles),
        title=title or None,
        alignment="left",
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        borderaxespad=0.0,
        ncols=columns,
    )


@styled
def grid(draw: Sequence[Callable[[Axes], object]], columns: int = 2, height: float = 2.8) -> Figure:
    """Several panels in one figure for print: each function draws into the axes it is given."""
    columns = min(columns, len(draw))
    rows = -(-len(draw) // columns)
    figure = new_figure(COLUMN_INCHES * columns, height * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, ax in itertools.zip_longest(draw, axes):
        if panel is None:
            ax.set_axis_off()
        else:
            panel(ax)
    return figure


@contextmanager
def laid_out(figure: Figure) -> Iterator[Figure]:
    """Arrange the figure once, for all that is written within: arranging costs as much as drawing."""
    engine = figure.get_layout_engine()
    if engine is None or isinstance(engine, PlaceHolderLayoutEngine):
        yield figure
        return
    with mpl.rc_context(STYLE):
        engine.execute(figure)
    figure.set_layout_engine("none")
    try:
        yield figure
    finally:
        figure.set_layout_engine(engine)


def save(figure: Figure, stem: Path, formats: Sequence[str] = ("svg", "pdf", "png")) -> list[Path]:
    """Write `stem.svg`, `stem.pdf` and `stem.png` (200 dots per inch), on white and without a date."""
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in formats]
    with laid_out(figure):
        for path, kind in zip(paths, formats, strict=True):
            _write(figure, path, kind)
    return paths


def png_bytes(figure: Figure) -> bytes:
    """The figure as the contents of a PNG file (200 dots per inch), on white."""
    buffer = io.BytesIO()
    with laid_out(figure):
        _write(figure, buffer, "png")
    return buffer.getvalue()


@contextmanager
def pdf_pages(path: Path) -> Iterator[Callable[[Figure], None]]:
    """One PDF for several figures, each a page of it, so that its fonts are in it once."""
    from matplotlib.backends.backend_pdf import PdfPages

    with PdfPages(path, metadata={"CreationDate": None}) as document:

        def add(figure: Figure) -> None:
            with laid_out(figure):
                _write(figure, document, "pdf")

        yield add


_DPI = 200
# Imported when they are needed: PDF's alone takes a tenth of a second.
_CANVASES = {"svg": "FigureCanvasSVG", "pdf": "FigureCanvasPdf", "png": "FigureCanvasAgg"}
_BACKENDS = {"svg": "backend_svg", "pdf": "backend_pdf", "png": "backend_agg"}


def _write(figure: Figure, to: Any, kind: str, ground: str = "white") -> None:
    """Draw once. `Figure.savefig` draws twice, the first time only to arrange what is arranged already."""
    if kind not in _CANVASES:
        raise ValueError(f"no figure format {kind!r}; known are svg, pdf and png")
    before = figure.canvas, figure.get_dpi(), figure.get_facecolor()
    text = "none" if isinstance(to, io.StringIO) else "path"
    try:
        figure.set_facecolor(ground)
        with mpl.rc_context({**STYLE, "svg.fonttype": text}):
            # Typed as Any: matplotlib's stubs have no print_* of their own.
            backend = import_module(f"matplotlib.backends.{_BACKENDS[kind]}")
            canvas: Any = getattr(backend, _CANVASES[kind])(figure)
            if kind == "svg":
                canvas.print_svg(to, metadata={"Date": None, "Creator": None})
            elif kind == "pdf":
                canvas.print_pdf(to, metadata={"CreationDate": None} if isinstance(to, Path) else None)
            else:
                figure.set_dpi(_DPI)
                canvas.print_png(to)
    finally:
        figure.set_canvas(before[0])
        figure.set_dpi(before[1])
        figure.set_facecolor(before[2])


def inline_svg(figure: Figure, alt: str, name: str) -> str:
    """The figure as an `<svg>` element: transparent, in the page's colours, its text as text.

    Args:
        alt: what it shows, for those who do not see it.
        name: put before every id, so that several drawings can share a page.
    """
    text = io.StringIO()
    with laid_out(figure):
        _write(figure, text, "svg", ground="none")
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = svg.replace(_RULE, "")  # the page has it: its content policy allows no other <style>
    svg = re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\g<1>{name}-", svg)
    for colour, variable in _variables():
        svg = svg.replace(colour, f"var(--{variable})")
    end = svg.index(">")
    head = re.sub(r'\s(width|height)="[^"]*pt"', "", svg[:end])
    return f'{head} role="img" aria-label="{escape(alt, quote=True)}">{svg[end + 1 :]}'


def standalone_svg(inline: str) -> str:
    """What `inline_svg` made, as a file of its own: its colours written out, on white, in its own size."""
    for colour, variable in _variables():
        inline = inline.replace(f"var(--{variable})", colour)
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', inline)
    assert box is not None
    size = f'width="{box[1]}pt" height="{box[2]}pt" style="background: white"'
    start, rest = inline.replace("<svg", f"<svg {size}", 1).split(">", 1)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{start}>\n{_RULE}{rest}'


_RULE = """ <defs>
  <style type="text/css">*{stroke-linejoin: round; stroke-linecap: butt}</style>
 </defs>
"""
"""What matplotlib writes into every SVG file."""


def _variables() -> list[tuple[str, str]]:
    colours = [(colour, f"colour-{k}") for k, colour in enumerate(COLOURS)]
    return [(INK, "ink"), (PAPER, "page"), (FAINT, "faint"), *colours]


def error_bars(middle: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray | None:
    """Lengths for `errorbar`, none where there is no interval."""
    lengths = np.stack([middle - low, high - middle])
    return np.nan_to_num(lengths).clip(min=0) if np.isfinite(lengths).any() else None

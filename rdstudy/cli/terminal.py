"""Text for terminals of any width and encoding: tables, sparklines, and whether output can be redrawn."""

from __future__ import annotations

import math
import os
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from rdstudy.cli.boundary import printable

BLOCKS, ASCII_BLOCKS = "▁▂▃▄▅▆▇█", "_.-~=+*#"
_KEPT = "\N{NO-BREAK SPACE}"
UNLIMITED = 10_000
"""Width in columns where no terminal limits it."""


class _PlainTextConsole(Console):
    """A console that writes control characters of what it prints as escapes, so that none reaches the terminal."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def console_for(*, stderr: bool = False) -> Console:
    """A console on standard output or error. In a file or a pipe, lines are not wrapped."""
    stream = sys.stderr if stderr else sys.stdout
    limited = stream.isatty() or os.environ.get("COLUMNS", "").isdigit()
    return _PlainTextConsole(
        stderr=stderr, highlight=False, markup=False, emoji=False, width=None if limited else UNLIMITED
    )


def speaks_unicode(console: Console) -> bool:
    """Whether the console's encoding has block elements and the plus-minus sign."""
    return console.encoding.lower().replace("_", "-").startswith("utf")


def can_redraw(console: Console) -> bool:
    """Whether printed text can be replaced by moving the cursor.

    It cannot in a file, whatever `FORCE_COLOR` says, nor in the output of a notebook's `!command`, which looks like a
    terminal to the command but appends every redraw.
    """
    return (
        console.is_terminal
        and not console.is_dumb_terminal
        and console.file.isatty()
        and "JPY_PARENT_PID" not in os.environ
    )


def sparkline(values: Sequence[float | int], *, width: int = 60, unicode: bool = True) -> str:
    """A curve as one line of text; values that are not finite are gaps.

    Of more than `width` values, `width` are shown, evenly spaced, including the first and the last.
    """
    if len(values) > width:
        values = [values[round(i * (len(values) - 1) / max(1, width - 1))] for i in range(width)]
    blocks = BLOCKS if unicode else ASCII_BLOCKS
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return " " * len(values)
    low, high = min(finite), max(finite)
    scale = (len(blocks) - 1) / (high - low) if high > low else 0.0
    return "".join(blocks[round((v - low) * scale)] if math.isfinite(v) else " " for v in values)


class Rows:
    """A table if it fits the width; else each row is a paragraph of named values. Nothing is cut."""

    def __init__(self, *columns: str, left: Sequence[str] = (), header: bool = True) -> None:
        """
        Args:
            columns: headings.
            left: headings of the columns with words, aligned left; the others are aligned right.
            header: whether the headings are shown.
        """
        self.columns, self.left, self.header = columns, set(left), header
        self.rows: list[tuple[str, ...]] = []

    def add(self, *values: str) -> None:
        """Add a row."""
        assert len(values) == len(self.columns)
        self.rows.append(values)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table | Text]:
        table = Table(box=None, header_style="bold", pad_edge=False, show_header=self.header)
        for name in self.columns:
            table.add_column(name, justify="left" if name in self.left else "right", overflow="fold")
        for row in self.rows:
            table.add_row(*map(Text, row))
        if Measurement.get(console, options.update(max_width=UNLIMITED), table).maximum <= options.max_width:
            yield table
        else:
            yield from self._paragraphs(options.max_width)

    def _paragraphs(self, width: int) -> Iterator[Text]:
        for row in self.rows:
            named = zip(self.columns, row, strict=True)
            words = [f"{name} {value}".strip() if self.header else value for name, value in named if value]
            indent = "  " if width > 12 else ""
            # A name and its value are kept on one line if they fit.
            kept = [word.replace(" ", _KEPT) if len(word) < width - len(indent) else word for word in words]
            text = (", " if self.header else "  ").join(kept)
            for line in textwrap.wrap(text, width, subsequent_indent=indent, break_on_hyphens=False):
                yield Text(line.replace(_KEPT, " "))

"""Text for terminals of any width and encoding: tables that fold, sparklines, and where a display may redraw itself."""

from __future__ import annotations

import math
import os
import sys
import textwrap
from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

BLOCKS, ASCII_BLOCKS = "▁▂▃▄▅▆▇█", "_.-~=+*#"
_KEPT = "\N{NO-BREAK SPACE}"
UNLIMITED = 10_000
"""Columns where no terminal limits them."""


def console_for(*, stderr: bool = False) -> Console:
    """A console on standard output or error. In a file or a pipe lines are as long as they are."""
    stream = sys.stderr if stderr else sys.stdout
    limited = stream.isatty() or os.environ.get("COLUMNS", "").isdigit()
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=None if limited else UNLIMITED)


def speaks_unicode(console: Console) -> bool:
    """Whether the console's encoding has block elements and the plus-minus sign."""
    return console.encoding.lower().replace("_", "-").startswith("utf")


def can_redraw(console: Console) -> bool:
    """Whether what is shown can be replaced by moving the cursor.

    Not in a file, whatever `FORCE_COLOR` says, and not in the output area of a notebook's `!command`, which looks like
    a terminal to the command and shows every redrawing below the last.
    """
    return (
        console.is_terminal
        and not console.is_dumb_terminal
        and console.file.isatty()
        and "JPY_PARENT_PID" not in os.environ
    )


def sparkline(values: Sequence[float | int], *, width: int = 60, unicode: bool = True) -> str:
    """A curve in a line of text, its least value lowest and its largest highest; what is not finite is a gap.

    Of more than `width` values, `width` are shown, evenly spaced, the first and the last among them.
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
    """A table where it fits; else every row is a paragraph that names its values. Nothing is cut."""

    def __init__(self, *columns: str, left: Sequence[str] = (), header: bool = True) -> None:
        """
        Args:
            columns: headings.
            left: those of them that are words; the others are numbers, which stand to the right.
            header: whether the headings are shown.
        """
        self.columns, self.left, self.header = columns, set(left), header
        self.rows: list[tuple[str, ...]] = []

    def add(self, *values: str) -> None:
        """One more row."""
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
            # A name and its value stay in one line, if there is one that holds both.
            kept = [word.replace(" ", _KEPT) if len(word) < width - len(indent) else word for word in words]
            text = (", " if self.header else "  ").join(kept)
            for line in textwrap.wrap(text, width, subsequent_indent=indent, break_on_hyphens=False):
                yield Text(line.replace(_KEPT, " "))

"""Text at the boundary: nothing that a table, a study or a folder's name contains can act on what shows it."""

from __future__ import annotations

import re

import pandas as pd

# C0 (but tab and line feed), DEL, C1, bidirectional overrides, lone surrogates: none is legible, several are commands.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|~$&])")

_BLOCK = re.compile(r"([-+](\s|$)|#|=+$|-+$)")  # what would begin a list, a heading or a rule


def clean(text: str) -> str:
    """The text without control characters and lone surrogates.

    >>> clean("\\x1b[2Jred\\x07")
    '[2Jred'
    """
    return _CONTROL.sub("", text)


def clean_table(table: pd.DataFrame) -> pd.DataFrame:
    """The table with every text in it cleaned; the others as they are."""
    changed = {}
    for name in table.columns:
        if pd.api.types.is_object_dtype(table[name]) or pd.api.types.is_string_dtype(table[name]):
            column = table[name]
            dirty = column.map(lambda value: isinstance(value, str) and _CONTROL.search(value) is not None)
            if dirty.any():
                changed[name] = column.where(~dirty, column.map(lambda v: clean(v) if isinstance(v, str) else v))
    return table.assign(**changed) if changed else table


def markdown(text: str) -> str:
    """The text for Markdown: on one line, every character that Markdown or HTML would read as markup escaped.

    >>> markdown("<b> | *x*")
    '\\\\<b\\\\> \\\\| \\\\*x\\\\*'
    """
    line = _MARKDOWN.sub(r"\\\1", " ".join(clean(text).split()))
    return f"\\{line}" if _BLOCK.match(line) else line

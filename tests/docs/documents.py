"""The project's documents, read as Markdown: headings, links, commands, paragraphs and tables."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "cluster/README.md",
    "results/README.md",
    "rdstudy/information/README.md",
    "tests/benchmarks/README.md",
)
PROGRAMS = ("rdstudy", "make", "python")


def text(name: str) -> str:
    return (ROOT / name).read_text()


def prose(document: str) -> str:
    """Without code that stands on lines of its own."""
    document = re.sub(r"(?ms)^```.*?^```\n", "", document)
    return re.sub(r"(?m)^ {4}\S.*\n", "", document)


def links(document: str) -> list[str]:
    """Where links lead: `[text](target)` and `<https://...>`."""
    document = re.sub(r"`[^`\n]*`", "", prose(document))
    return re.findall(r"\]\(([^()\s]+)\)", document) + re.findall(r"<(https?:[^>\s]+)>", document)


def anchors(document: str) -> set[str]:
    """What a link may name after `#`, by GitHub's rule: lower case, dashes for spaces, no points, -1 for a second."""
    seen: dict[str, int] = {}
    found = set()
    for heading in re.findall(r"(?m)^#+ +(.*?) *$", prose(document)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        times = seen.get(slug, 0)
        seen[slug] = times + 1
        found.add(f"{slug}-{times}" if times else slug)
    return found


def commands(document: str) -> Iterator[list[str]]:
    """Commands of ours in code blocks and in backquotes, as words; the program without its folder."""
    blocks = re.findall(r"(?ms)^```(?:bash|sh|console)?\n(.*?)^```", document) + re.findall(
        r"(?m)^ {4}(\S.*)$", document
    )
    inline = re.findall(r"`([^`\n]+)`", prose(document))
    for line in [*"\n".join(blocks).splitlines(), *inline]:
        first, _, _ = line.removeprefix("$ ").partition(" ")
        if first.rpartition("/")[2] in PROGRAMS and not first.endswith("/"):
            words = shlex.split(line.removeprefix("$ "), comments=True)
            yield [words[0].rpartition("/")[2], *words[1:]]


@dataclass(frozen=True)
class Block:
    """A paragraph, list item or table, and where its source may be named.

    That is all that stands between the same two comments; else the block itself, with a table the one before it too.
    """

    text: str
    region: str


def blocks(document: str) -> Iterator[Block]:
    """The document's blocks; the table of columns is left out, for it is made from `measurement.py`."""
    document = re.sub(r"(?s)<!-- columns -->.*?<!-- /columns -->", "", prose(document))
    for part in re.split(r"(?s)(<!-- (?:\w+) -->.*?<!-- /(?:\w+) -->)", document):
        marked, before = part.startswith("<!--"), ""
        for block in map(str.strip, re.split(r"\n\s*\n|\n(?=- )", re.sub(r"<!--.*?-->", "", part))):
            if block and not block.startswith("#"):
                own = f"{before}\n\n{block}" if block.startswith("|") else block
                yield Block(block, part if marked else own)
            before = block


def table(block: str) -> list[dict[str, str]]:
    """The rows of a Markdown table."""
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        for line in block.splitlines()
        if line.startswith("|")
    ]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]] if len(rows) > 2 else []

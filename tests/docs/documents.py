"""The project's documents, read as Markdown: headings, links, commands and tables."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "cluster/README.md",
    "results/README.md",
    "rdstudy/evaluation/README.md",
    "tests/benchmarks/README.md",
)
PROGRAMS = ("rdstudy", "make", "python")


def text(name: str) -> str:
    return (ROOT / name).read_text()


def prose(document: str) -> str:
    """The document without its code blocks."""
    document = re.sub(r"(?ms)^```.*?^```\n", "", document)
    return re.sub(r"(?m)^ {4}\S.*\n", "", document)


def links(document: str) -> list[str]:
    """The targets of all links: `[text](target)` and `<https://...>`."""
    document = re.sub(r"`[^`\n]*`", "", prose(document))
    return re.findall(r"\]\(([^()\s]+)\)", document) + re.findall(r"<(https?:[^>\s]+)>", document)


def anchors(document: str) -> set[str]:
    """The anchors of all headings, by GitHub's rule: lower case, dashes for spaces, no punctuation, -1 for a repeat."""
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
    """The commands of `PROGRAMS` in code blocks and in backquotes, as words; the program without its folder."""
    blocks = re.findall(r"(?ms)^```(?:bash|sh|console)?\n(.*?)^```", document) + re.findall(
        r"(?m)^ {4}(\S.*)$", document
    )
    inline = re.findall(r"`([^`\n]+)`", prose(document))
    for line in [*"\n".join(blocks).splitlines(), *inline]:
        first, _, _ = line.removeprefix("$ ").partition(" ")
        if first.rpartition("/")[2] in PROGRAMS and not first.endswith("/"):
            words = shlex.split(line.removeprefix("$ "), comments=True)
            yield [words[0].rpartition("/")[2], *words[1:]]


def table(block: str) -> list[dict[str, str]]:
    """The rows of a Markdown table."""
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])]
        for line in block.splitlines()
        if line.startswith("|")
    ]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]] if len(rows) > 2 else []


def tables(document: str) -> list[list[dict[str, str]]]:
    """All Markdown tables of a document, in their order."""
    return [rows for block in re.split(r"\n\s*\n", document) if (rows := table(block))]

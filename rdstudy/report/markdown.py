"""The report as Markdown, for a repository or a chat; its figures are the files beside it.

Every text is escaped by the function that writes its block.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rdstudy.report import provenance
from rdstudy.report.content import Content
from rdstudy.report.drawings import RenderedFigure
from rdstudy.report.tables import Shown
from rdstudy.report.text import clean, markdown


def document(content: Content) -> str:
    """The whole report, for the folder that holds `figures/`."""
    blocks = [_heading(1, content.title), _paragraph(content.question), *map(_item, content.answer)]
    blocks = [*blocks[:2], "\n".join(blocks[2:]), f"**{markdown(content.state)}**", *map(_paragraph, content.notices)]
    for k, figure in enumerate(content.leading):
        blocks += _figure(figure, heading=k > 0)
    if content.claims:
        blocks.append(_heading(2, "Claims"))
        if content.asks_the_paper:
            blocks.append(
                f"The claims of [Bozkurt et al. (AISTATS 2021)]({provenance.PAPER_URL}), Rate-Regularization and "
                "Generalization in VAEs, as far as this study can test them, and what else it says."
            )
        for claim in content.claims:
            blocks += [_heading(3, claim.statement), *map(_paragraph, claim.sentences)]
            for table in claim.tables:
                blocks += [_heading(4, table.heading), _paragraph(table.note), _table(table)]
        blocks.append(_paragraph(content.method))

    blocks += [_heading(2, "Figures"), "Axes of beta run from large to small: the rate rises to the right."]
    for figure in content.figures:
        blocks += _figure(figure)

    blocks.append(_heading(2, "Tables"))
    for shown in content.tables:
        blocks += _titled(shown)

    blocks += [_heading(2, "Cells"), _paragraph(content.state)]
    if not content.cell_tables:
        blocks.append("No cell failed or diverged.")
    for shown in content.cell_tables:
        blocks += _titled(shown)
    blocks += [_heading(2, "Provenance"), _facts(content.facts)]
    blocks += [_heading(2, "Data"), "In Python, from the folder of this file:", _code("python", provenance.loading())]
    cited = [provenance.PAPER] if content.asks_the_paper else []
    blocks += [_heading(2, "Cite"), _code("bibtex", "\n\n".join([*cited, provenance.tool()]))]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _heading(level: int, text: str) -> str:
    return f"{'#' * level} {markdown(text)}"


def _paragraph(text: str) -> str:
    """The text escaped, but for code in backticks, in which nothing is markup."""
    parts = re.split(r"(`[^`]+`)", " ".join(clean(text).split()))
    return "".join(part if k % 2 else _spaced(part) for k, part in enumerate(parts))


def _spaced(part: str) -> str:
    """The part escaped, with the spaces at its ends."""
    before, after = part[: len(part) - len(part.lstrip())], part[len(part.rstrip()) :]
    return f"{before}{markdown(part)}{after}" if part.strip() else part


def _item(text: str) -> str:
    return f"- {_paragraph(text)}"


def _figure(figure: RenderedFigure, heading: bool = True) -> list[str]:
    pictures = [
        f"![{markdown(panel.alt)}](figures/{path.name})"
        for panel, path in zip(figure.spec.panels, figure.pictures, strict=True)
    ]
    head = [_heading(3, figure.spec.heading)] if heading else []
    return [*head, *pictures, _paragraph(figure.spec.caption)]


def _titled(shown: Shown) -> list[str]:
    return [_heading(3, shown.heading), _paragraph(shown.note), _table(shown)]


def _table(shown: Shown) -> str:
    lines = [
        _row(map(markdown, shown.header)),
        _row("---:" if numeric else "---" for numeric in shown.numeric),
        *(_row(map(markdown, row)) for row in shown.rows),
    ]
    if shown.left_out:
        lines.append(f"\n{shown.left_out:,} more rows in analyses/{shown.name}.csv.")
    return "\n".join(lines)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f"- {markdown(name)}: {markdown(value)}" for name, value in facts)


def _code(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"

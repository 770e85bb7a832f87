"""The report as Markdown, for a repository or a chat; its figures are the files beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rdstudy.analysis import CLAIMS, CRITERIA
from rdstudy.report import provenance, sentences, tables
from rdstudy.report.analyses import Analyses
from rdstudy.report.illustrations import Drawn


def document(
    analyses: Analyses,
    study: Mapping[str, Any],
    *,
    name: str,
    claims: Mapping[str, Drawn],
    drawn: Sequence[Drawn],
) -> str:
    """The whole report, for the folder that holds `figures/`."""
    blocks = [f"# {study.get('name') or name}", str(study.get("question") or sentences.QUESTION)]
    blocks.append(f"**{sentences.state(analyses, study)}**")
    if sentences.running(analyses, study):
        blocks.append("The study is still running: everything here is about the cells that have finished.")
    blocks += [notice for notice in (sentences.seeds(analyses), sentences.not_measured(analyses)) if notice]

    blocks.append("## Verdicts")
    for claim, statement in CLAIMS.items():
        rows = analyses.claims_summary[analyses.claims_summary["claim"] == claim]
        if rows.empty:
            continue
        first = rows[rows["criterion"] == CRITERIA[0]].iloc[0]
        blocks += [f"### {statement} {first['verdict'].capitalize()}", sentences.summary_sentence(first)]
        if claim in claims:
            blocks += _pictures(claims[claim])
        blocks.append(_table(tables.claim_table(analyses, claim)))
    published = tables.published_table(analyses)
    if published.rows:
        blocks += [f"### {published.heading}", published.note, _table(published)]
    blocks.append(f"{sentences.RULES} {sentences.INTERVALS} {sentences.priors_sentence(analyses)}")

    blocks.append("## Figures")
    for one in drawn:
        blocks += [f"### {one.illustration.heading}", *_pictures(one), one.illustration.caption]

    blocks.append("## Tables")
    for shown in tables.tables(analyses):
        if shown.name != "frontier":  # every point of every curve: in analyses/frontier.csv
            blocks += [f"### {shown.heading}", shown.note, _table(shown)]

    blocks.append("## Cells")
    for shown in (tables.trouble_table(analyses), tables.missing_table(analyses)):
        if shown.rows:
            blocks += [f"### {shown.heading}", shown.note, _table(shown)]
    blocks += ["## Provenance", _facts(provenance.facts(analyses, study))]
    blocks += ["## Data", f"```python\n{provenance.loading(name)}\n```"]
    blocks += ["## Cite", f"```bibtex\n{provenance.PAPER}\n\n{provenance.tool()}\n```"]
    return "\n\n".join(blocks) + "\n"


def _pictures(drawn: Drawn) -> list[str]:
    return [
        f"![{panel.alt.replace('[', '(').replace(']', ')')}](figures/{path.name})"
        for panel, path in zip(drawn.illustration.panels, drawn.pictures, strict=True)
    ]


def _table(table: tables.Shown) -> str:
    rows = [table.header, ["---:" if n else "---" for n in table.numeric], *table.rows]
    lines = [_line(row if k == 1 else [_escaped(text) for text in row]) for k, row in enumerate(rows)]
    if table.left_out:
        lines.append(f"\n{table.left_out:,} more rows in analyses/{table.name}.csv.")
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in facts)

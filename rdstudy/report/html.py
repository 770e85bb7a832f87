"""The report as one HTML file: everything in it, nothing fetched, readable without its script."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from rdstudy.analysis import CLAIMS, CRITERIA
from rdstudy.report import provenance, sentences, tables
from rdstudy.report.analyses import ANALYSES, Analyses
from rdstudy.report.illustrations import Drawn

# Nothing may be loaded from anywhere: a page that tries is broken, and says so in the console.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"

_SECTIONS = (
    ("verdicts", "Verdicts"),
    ("figures", "Figures"),
    ("tables", "Tables"),
    ("cells", "Cells"),
    ("provenance", "Provenance"),
    ("data", "Data"),
    ("cite", "Cite"),
)


def page(
    analyses: Analyses,
    study: Mapping[str, Any],
    *,
    name: str,
    claims: Mapping[str, Drawn],
    drawn: Sequence[Drawn],
) -> str:
    """The whole page.

    Args:
        name: the results folder's name, for the commands that read it.
        claims: the effects of each claim, by claim.
        drawn: the other figures, in their order.
    """
    title = escape(str(study.get("name") or name))
    body = [
        _head(analyses, study, title),
        _verdicts(analyses, claims),
        _section("figures", "Figures", map(_figure, drawn)),
        _section("tables", "Tables", map(_details, tables.tables(analyses))),
        _cells(analyses, study),
        _section("provenance", "Provenance", [_facts(provenance.facts(analyses, study)), _study(study)]),
        _section("data", "Data", [_data(name)]),
        _section("cite", "Cite", [_code(provenance.PAPER), _code(provenance.tool())]),
    ]
    here = files("rdstudy.report")
    style, script = ((here / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<link rel="icon" href="data:,">\n<title>{title}: what the study shows</title>\n'
        f"<style>\n{style}</style>\n"
        f"</head>\n<body>\n{''.join(body)}\n<script>\n{script}</script>\n</body>\n</html>\n"
    )


def _head(analyses: Analyses, study: Mapping[str, Any], title: str) -> str:
    links = "".join(f'<a href="#{anchor}">{heading}</a>' for anchor, heading in _SECTIONS)
    notices = [sentences.seeds(analyses), sentences.not_measured(analyses)]
    if sentences.running(analyses, study):
        notices.insert(0, "The study is still running: everything here is about the cells that have finished.")
    return (
        f'<header><p class="kind">Rate-distortion study</p><h1>{title}</h1>'
        f'<p class="question">{escape(str(study.get("question") or sentences.QUESTION))}</p>'
        f'<p class="state">{escape(sentences.state(analyses, study))}</p>'
        + "".join(f'<p class="notice">{escape(notice)}</p>' for notice in notices if notice)
        + f'<nav aria-label="Sections">{links}</nav></header>'
    )


def _verdicts(analyses: Analyses, claims: Mapping[str, Drawn]) -> str:
    cards, lists = [], []
    for claim, statement in CLAIMS.items():
        rows = analyses.claims_summary[analyses.claims_summary["claim"] == claim]
        main = rows[rows["criterion"] == CRITERIA[0]]
        if main.empty:
            continue
        first = main.iloc[0]
        others = "".join(
            f"<li>By {tables.CRITERION_NAMES[row['criterion']]}: {row['verdict']}. "
            f"{escape(sentences.summary_sentence(row))}</li>"
            for _, row in rows.iterrows()
            if row["criterion"] != CRITERIA[0]
        )
        cards.append(
            '<article class="claim">'
            f'<p><span class="verdict {first["verdict"]}">{first["verdict"]}</span></p>'
            f"<h3>{escape(statement)}</h3><p>{escape(sentences.summary_sentence(first))}</p>"
            + (f"<ul>{others}</ul>" if others else "")
            + (_figure(claims[claim], heading=False) if claim in claims else "")
            + "</article>"
        )
        lists.append(_details(tables.claim_table(analyses, claim)))
    note = f'<p class="note">{sentences.RULES} {sentences.INTERVALS} {sentences.priors_sentence(analyses)}</p>'
    published = tables.published_table(analyses)
    compared = _table(published) if published.rows else ""
    parts = [f'<div class="claims">{"".join(cards)}</div>', note, *lists, compared]
    return _section("verdicts", "What the study says about the paper's claims", parts)


def _figure(drawn: Drawn, heading: bool = True) -> str:
    shown = drawn.illustration
    panels = "".join(f'<div class="panel">{svg}</div>' for svg in drawn.svgs)
    many = " many" if len(drawn.svgs) > 1 else ""
    figure = (
        f'<figure id="figure-{shown.name}"><div class="panels{many}">{panels}</div>'
        f"<figcaption>{escape(shown.caption)}</figcaption></figure>"
    )
    if shown.minor:
        return f'<details class="figure"><summary>{escape(shown.heading)}</summary>{figure}</details>'
    return f"<h3>{escape(shown.heading)}</h3>{figure}" if heading else figure


def _cells(analyses: Analyses, study: Mapping[str, Any]) -> str:
    trouble, missing = tables.trouble_table(analyses), tables.missing_table(analyses)
    parts = [f"<p>{escape(sentences.state(analyses, study))}</p>"]
    parts.append(_table(trouble) if trouble.rows else "<p>No cell failed or diverged.</p>")
    if missing.rows:
        parts.append(_table(missing))
    elif sentences.running(analyses, study):
        parts.append("<p>Which cells are missing is told by <code>rdstudy status</code>.</p>")
    return _section("cells", "What ran, what failed, what is missing", parts)


def _data(name: str) -> str:
    kept = ", ".join(f"<code>{analysis}</code>" for analysis in ANALYSES)
    return (
        "<p>The table of measurements lies in <code>measurements/</code>, one row per cell, evaluation step, "
        "population and <code>evaluation_id</code>; <code>rdstudy columns</code> says what its columns mean. Beside "
        "this page, "
        "<code>analyses/</code> "
        f"holds every analysis as Parquet and CSV ({kept}; those with rows), and <code>figures/</code> "
        "every figure "
        f"as SVG, PDF and PNG.</p>{_code(provenance.loading(escape(name)))}"
    )


def _study(study: Mapping[str, Any]) -> str:
    rows = []
    for part in ("dataset", "grid", "search", "training", "evaluation"):
        found = study.get(part)
        if isinstance(found, Mapping):
            rows += [(f"{part}: {key}", _value(value)) for key, value in found.items() if value is not None]
    return f"<h3>The study as it was planned</h3>{_facts(rows)}" if rows else ""


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_value(part)}" for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_value, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    return f"<dl>{rows}</dl>"


def _section(anchor: str, heading: str, parts: Iterable[str]) -> str:
    return f'<section id="{anchor}"><h2>{escape(heading)}</h2>{"".join(parts)}</section>'


def _details(table: tables.Shown) -> str:
    return (
        f"<details><summary>{escape(table.heading)} <small>{len(table.rows) + table.left_out:,} "
        "rows</small></summary>"
        f"{_table(table, heading=False)}</details>"
    )


def _table(table: tables.Shown, heading: bool = True) -> str:
    kinds = [
        " class=number" if numeric else " class=setting" if name == "setting" else ""
        for name, numeric in zip(table.header, table.numeric, strict=True)
    ]
    header = "".join(
        f'<th scope="col"{kind}>{escape(text)}</th>' for text, kind in zip(table.header, kinds, strict=True)
    )
    rows = "".join(
        "<tr>" + "".join(f"<td{kind}>{escape(text)}</td>" for text, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in table.rows
    )
    left = table.left_out
    more = f'<p class="note">{left:,} more rows in analyses/{table.name}.csv.</p>' if left else ""
    return (
        (f"<h3>{escape(table.heading)}</h3>" if heading else "")
        + (f'<p class="note">{escape(table.note)}</p>' if table.note else "")
        + f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.heading, quote=True)}">'
        f"<table><thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table></div>{more}"
    )


def _code(text: str) -> str:
    return f"<pre tabindex=0><code>{escape(text)}</code></pre>"


def atomic_write(path: Path, text: str) -> Path:
    """Write aside, then rename: a reader never sees half a page."""
    aside = path.with_name(f".{path.name}.new")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)
    return path

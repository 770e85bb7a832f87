"""The parts of the report that the HTML page and the Markdown document share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rdstudy.analysis import CLAIMS
from rdstudy.report import provenance, sentences, tables
from rdstudy.report.analyses import Analyses
from rdstudy.report.answer import answer
from rdstudy.report.cell_tables import missing_table, trouble_table
from rdstudy.report.drawings import RenderedFigure
from rdstudy.report.formatting import share
from rdstudy.report.tables import Shown
from rdstudy.report.verdicts import asks_the_paper, counts, counts_text, main_criterion, setting_verdicts

LEADING = ("rate_distortion", "search", "verdicts")
"""Figures that follow the answer at once, in this order."""


@dataclass(frozen=True)
class Claim:
    """A claim over all settings, and the table of each."""

    statement: str
    text: str
    table: Shown


@dataclass(frozen=True)
class Content:
    """What the report shows, in the order of its fields."""

    title: str
    question: str
    state: str
    notices: Sequence[str]
    answer: Sequence[str]
    leading: Sequence[RenderedFigure]
    asks_the_paper: bool
    claims: Sequence[Claim]
    method: str
    published: Shown | None
    figures: Sequence[RenderedFigure]
    tables: Sequence[Shown]
    cell_tables: Sequence[Shown]
    missing_unknown: bool
    facts: Sequence[tuple[str, str]]
    planned: Sequence[tuple[str, str]]


def content_of(
    analyses: Analyses, study: Mapping[str, Any], *, name: str, rendered: Sequence[RenderedFigure]
) -> Content:
    """Everything that a report of these analyses shows.

    Args:
        analyses: of the study's table.
        study: `study.json`; whatever it lacks is left out.
        name: the results folder's name.
        rendered: the figures, in their order.
    """
    unfinished = sentences.running(analyses, study)
    notices = [sentences.seeds(analyses), sentences.not_measured(analyses)]
    if unfinished:
        notices.insert(0, "The study is not finished: everything here is about the cells that have finished.")
    by_name = {figure.spec.name: figure for figure in rendered}
    paper = asks_the_paper(analyses.frontier)
    published = tables.published_table(analyses)
    missing = missing_table(analyses)
    return Content(
        title=str(study.get("name") or name),
        question=str(study.get("question") or sentences.QUESTION),
        state=sentences.state(analyses, study),
        notices=[notice for notice in notices if notice],
        answer=answer(analyses),
        leading=[by_name[one] for one in LEADING if one in by_name],
        asks_the_paper=paper,
        claims=_claims(analyses) if analyses.frontier["beta"].nunique() > 1 else [],
        method=_method(analyses, paper),
        published=published if published.rows else None,
        figures=[figure for figure in rendered if figure.spec.name not in LEADING],
        tables=list(tables.tables(analyses)),
        cell_tables=[shown for shown in (trouble_table(analyses), missing) if shown.rows],
        missing_unknown=unfinished and not missing.rows,
        facts=provenance.facts(analyses, study),
        planned=_planned(study),
    )


def _claims(analyses: Analyses) -> list[Claim]:
    """The claims that the study could test in some setting."""
    verdicts = setting_verdicts(analyses.claims)
    found = []
    for claim, statement in CLAIMS.items():
        rows = main_criterion(verdicts[verdicts["claim"] == claim])
        if rows.empty or counts(rows)["not_measurable"] == len(rows):
            continue
        text = f"{_capital(counts_text(rows))}.{_share(analyses.claims_summary, claim)}"
        found.append(Claim(statement, text, tables.claim_table(analyses, claim)))
    return found


def _share(summary: pd.DataFrame, claim: str) -> str:
    """The share of settings for which the claim is true, between what is shown and what is possible."""
    rows = summary[summary["claim"] == claim]
    if rows.empty or not {"share_ci_low", "share_ci_high"} <= set(rows.columns):
        return ""
    row = rows.iloc[0]
    text = f" Better in {share(row['share_low'])} to {share(row['share_high'])} of the settings"
    if pd.notna(row["share_ci_low"]):
        text += f" (95% interval {share(row['share_ci_low'])} to {share(row['share_ci_high'])})"
    return f"{text}."


def _method(analyses: Analyses, paper: bool) -> str:
    parts = [sentences.VERDICTS, sentences.INTERVALS]
    if paper:
        parts.append(sentences.priors_sentence(analyses))
    return " ".join(parts)


def _planned(study: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for part in ("dataset", "grid", "search", "training", "evaluation"):
        found = study.get(part)
        if isinstance(found, Mapping):
            rows += [(f"{part}: {key}", _value(value)) for key, value in found.items() if value is not None]
    return rows


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_value(part)}" for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_value, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]

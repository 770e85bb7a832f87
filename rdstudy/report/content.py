"""The parts of the report that the HTML page and the Markdown document share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rdstudy.analysis.replicates import SEEDS
from rdstudy.report import provenance, sentences, tables
from rdstudy.report.analyses import Analyses
from rdstudy.report.answer import answer
from rdstudy.report.cell_tables import missing_table, trouble_table
from rdstudy.report.claim_articles import Claim, claim_articles
from rdstudy.report.claim_sentences import RULES
from rdstudy.report.drawings import RenderedFigure
from rdstudy.report.formatting import in_units
from rdstudy.report.tables import Shown
from rdstudy.report.verdicts import asks_the_paper

LEADING = ("published", "rate_distortion", "search", "verdicts")
"""Figures that follow the answer at once, in this order."""


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
    figures: Sequence[RenderedFigure]
    tables: Sequence[Shown]
    cell_tables: Sequence[Shown]
    missing_unknown: bool
    facts: Sequence[tuple[str, str]]
    planned: Sequence[tuple[str, str]]
    analyses: Sequence[str]


def content_of(
    analyses: Analyses, study: Mapping[str, object], *, name: str, rendered: Sequence[RenderedFigure]
) -> Content:
    """Everything that a report of these analyses shows.

    Args:
        analyses: of the study's table.
        study: `study.json`; whatever it lacks is left out.
        name: the results folder's name.
        rendered: the figures, in their order.
    """
    unfinished = sentences.running(analyses, study)
    notices = [sentences.data_seeds(analyses), sentences.seeds(analyses)]
    notices += [sentences.epochs(analyses), sentences.not_measured(analyses)]
    if unfinished:
        notices.insert(0, "The study is not finished: everything here is about the cells that have finished.")
    by_name = {figure.spec.name: figure for figure in rendered}
    paper = asks_the_paper(analyses.frontier)
    missing = missing_table(analyses)
    return Content(
        title=str(study.get("name") or name),
        question=str(study.get("question") or (sentences.QUESTION if paper else sentences.OWN_QUESTION)),
        state=sentences.state(analyses, study),
        notices=[notice for notice in notices if notice],
        answer=answer(analyses),
        leading=[by_name[one] for one in LEADING if one in by_name],
        asks_the_paper=paper,
        claims=claim_articles(analyses),
        method=_method(analyses, paper),
        figures=[figure for figure in rendered if figure.spec.name not in LEADING],
        tables=list(tables.tables(analyses)),
        cell_tables=[shown for shown in (trouble_table(analyses), missing) if shown.rows],
        missing_unknown=unfinished and not missing.rows,
        facts=provenance.facts(analyses, study),
        planned=_planned(study),
        analyses=analyses.with_rows,
    )


def _method(analyses: Analyses, paper: bool) -> str:
    told = sentences.data_seeds(analyses)
    parts = [in_units(RULES, analyses.unit), *([told] if told else [])]
    if SEEDS in analyses.units.values():
        parts.append(sentences.INTERVALS)
    if paper:
        parts.append(sentences.priors_sentence(analyses))
    return " ".join(parts)


def _planned(study: Mapping[str, object]) -> list[tuple[str, str]]:
    rows = []
    for part in ("dataset", "grid", "search", "training", "evaluation"):
        found = study.get(part)
        if isinstance(found, Mapping):
            rows += [(f"{part}: {key}", _value(value)) for key, value in found.items() if value is not None]
    return rows


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_value(part)}" for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_value, value))
    return f"{value:g}" if isinstance(value, float) else str(value)

"""The plain answer at the top of the page: three to five lines."""

from __future__ import annotations

import pandas as pd

from rdstudy.analysis import CRITERIA, setting_label
from rdstudy.report import sentences
from rdstudy.report.analyses import Analyses
from rdstudy.report.chosen import best_beta_chosen, search_chosen
from rdstudy.report.claim_sentences import CRITERION_NAMES, by_criterion, capacity_counts, depths
from rdstudy.report.formatting import beta_range, joined, number, short
from rdstudy.report.gap_sentences import gap_answer
from rdstudy.report.prior_sentences import prior_sentences
from rdstudy.report.verdicts import measurable
from rdstudy.storage.schema import TEST, TRAIN, VALIDATION

MAX_LISTED = 2
MAX_PRIORS = 3

_SOUGHT = {
    "test_distortion": "with the lowest test distortion",
    "test_elbo": "with the lowest test -ELBO",
    "test_nll": "with the lowest test NLL",
    "saturation": "at which the mutual information saturates",
}


def answer(analyses: Analyses) -> list[str]:
    """The study's findings in short sentences, the most asked first."""
    several = analyses.frontier["beta"].nunique() > 1
    chosen = best_beta_chosen(analyses) or search_chosen(analyses)
    trade = _trade(analyses) if several else ""
    if analyses.search is not None:  # its cells were chosen for one question, which its own lines answer
        found, effects = _search(analyses), ""
    else:
        found, effects = _best_beta(analyses) if several else _one_beta(analyses), _effects(analyses)
    if found and chosen:
        found = [*found[:-1], f"{found[-1]} {chosen}"]
    lines = [*found, trade, effects, _trust(analyses, several)]
    return [line for line in lines if line]


def _search(analyses: Analyses) -> list[str]:
    search = analyses.search
    if search is None:
        return []
    sought = _SOUGHT.get(search.metric, "that is sought")
    found = search.estimates
    if found.empty:
        n = len(search.tried)
        return [f"The search has tried {n:,} cell{'' if n == 1 else 's'}; the figure shows its frontier."]
    lines = []
    for _, row in found.head(MAX_LISTED).iterrows():
        where = setting_label(row, search.names) if search.names else ""
        between = beta_range(row["beta_low"], row["beta_high"])
        lines.append(
            f"{where + ': ' if where else ''}the beta {sought} is {short(row['beta'])} (95% interval {between})."
        )
    if len(found) > MAX_LISTED:
        low, high = found["beta"].min(), found["beta"].max()
        lines = [f"The beta {sought} lies between {short(high)} and {short(low)}, by setting ({len(found)} settings)."]
    return [line[:1].upper() + line[1:] for line in lines]


def _best_beta(analyses: Analyses) -> list[str]:
    rows = analyses.best_beta[analyses.best_beta["criterion"] == CRITERIA[0]]
    if rows.empty or len(rows) > MAX_LISTED:
        return [sentences.best_sentence(analyses)]
    lines = []
    for (_, row), name in zip(rows.iterrows(), sentences.setting_names(analyses, rows), strict=True):
        where = f"{name}: test" if len(rows) > 1 else "Test"
        line = f"{where} distortion is lowest at beta = {row['best_beta']:g} ({number(row['best_nats'])} nats)"
        if row["chosen_on"] == VALIDATION:
            where = where[: -len("test")] + "validation" if len(rows) > 1 else "Validation"
            line = f"{where} distortion is lowest at beta = {row['best_beta']:g}, where test distortion is "
            line += f"{number(row['best_nats'])} nats"
        if pd.notna(row["beta_low"]) and row["beta_low"] != row["beta_high"]:
            line += f"; betas from {short(row['beta_high'])} to {short(row['beta_low'])} cannot be told from it (95%)"
        if row["at_edge"]:
            line += "; it is at the edge of the grid, and a better one may lie beyond"
        lines.append(line[:1].upper() + line[1:] + ".")
    return lines


def _one_beta(analyses: Analyses) -> list[str]:
    points = analyses.frontier[analyses.frontier["population"] == TEST]
    lines = []
    for _, row in points.head(MAX_LISTED).iterrows():
        where = setting_label(row, analyses.names)
        lines.append(
            f"{where + ', beta' if where else 'Beta'} = {row['beta']:g}: test distortion "
            f"{number(row['distortion_nats'])}, rate {number(row['rate_nats'])}, "
            f"-ELBO {number(row['negative_elbo_nats'])} nats per example."
        )
    if len(points) > MAX_LISTED:
        lines.append(f"{len(points) - MAX_LISTED} more settings are in the table of points.")
    return lines


def _trade(analyses: Analyses) -> str:
    """How far rate and distortion move from the largest beta to the smallest."""
    rows = analyses.frontier[analyses.frontier["population"] == TRAIN]
    rows = rows if len(rows) else analyses.frontier
    first, last = rows[rows["beta"] == rows["beta"].max()], rows[rows["beta"] == rows["beta"].min()]
    rates = [_span(frame, "rate_nats") for frame in (first, last)]
    distortions = [_span(frame, "distortion_nats") for frame in (first, last)]
    population = "training" if (rows["population"] == TRAIN).all() else "test"
    return (
        f"From beta = {rows['beta'].max():g} down to {rows['beta'].min():g} the {population} rate goes from "
        f"{rates[0]} to {rates[1]} nats and the {population} distortion from {distortions[0]} to {distortions[1]} nats."
    )


def _span(frame: pd.DataFrame, name: str) -> str:
    values = frame[name].dropna()
    if values.empty:
        return "unknown"
    low, high = number(values.min()), number(values.max())
    return low if low == high else f"{low}\u2013{high}"


def _effects(analyses: Analyses) -> str:
    """The verdicts on lowering beta, on the parts of the gap, and on depth, by every criterion that could be judged."""
    lowering = measurable(analyses.claims[analyses.claims["claim"] == "lowering_beta"])
    said = []
    if lowering:
        start = lowering[0]["reference_beta"].dropna().unique()
        said.append(f"Lowering beta{f' from {start[0]:g}' if len(start) == 1 else ''} is {by_criterion(lowering)}.")
    parts = gap_answer(analyses.gap_changes)
    if parts:
        said.append(parts)
    said += prior_sentences(analyses)[:MAX_PRIORS]
    depth = measurable(analyses.capacity)
    if depth:
        versus = depths(depth[0])
        counted = [f"by {CRITERION_NAMES[str(rows['criterion'].iloc[0])]} {capacity_counts(rows)}" for rows in depth]
        said.append(f"{versus[:1].upper()}{versus[1:]} is {joined(counted)}.")
    return " ".join(said)


def _trust(analyses: Analyses, several: bool) -> str:
    """What limits the numbers: training that may not have converged, which other betas show, and unreliable NLLs."""
    parts = []
    if several and len(analyses.convergence):
        parts.append(sentences.convergence_counts(analyses))
    marked = analyses.frontier["nll_unreliable"]
    if marked.any():
        parts.append(
            f"the NLL is unreliable at {int(marked.sum())} of {int(analyses.frontier['nll_nats'].notna().sum())} points"
        )
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""

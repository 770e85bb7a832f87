"""The page's claims: what is asked, the answer over all settings, and the table behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rdstudy.analysis import CLAIMS, CRITERIA
from rdstudy.analysis.claims import UNIDENTIFIED
from rdstudy.analysis.gap_parts import ASKED
from rdstudy.report.analyses import Analyses
from rdstudy.report.claim_sentences import by_criterion, capacity_sentence, claim_sentence, depths, summary_sentence
from rdstudy.report.claim_tables import capacity_table, claim_table, gap_table, prior_table
from rdstudy.report.gap_sentences import GAP_QUESTION, gap_answer, part_sentence, unconverged_sentence
from rdstudy.report.information_sentences import bounds_sentence
from rdstudy.report.prior_sentences import PRIOR_CLAIM, prior_sentences
from rdstudy.report.published import published_outcome, published_tables
from rdstudy.report.sentences import setting_names
from rdstudy.report.tables import Shown
from rdstudy.report.verdicts import asks_the_paper, counts, main_criterion, measurable, setting_verdicts

MAX_SENTENCES = 2
"""Settings of which each has a sentence of its own above the table."""

QUESTIONS = {
    "lowering_beta": "Does lowering beta improve test distortion?",
    "underfitting": "Does test distortion gain more than the generalization gap widens?",
    "beyond_saturation": "Does test distortion improve after the mutual information has saturated?",
}
"""The same as `CLAIMS`, for studies that do not ask about the paper."""


@dataclass(frozen=True)
class Claim:
    """What is asked, sentences about it, and the tables behind them."""

    statement: str
    sentences: Sequence[str]
    tables: Sequence[Shown]


def claim_articles(analyses: Analyses) -> list[Claim]:
    """What the study speaks to: the published figure, the paper's claims, the parts of the gap, priors, depth."""
    found = []
    outcome = published_outcome(analyses)
    if outcome:
        found.append(Claim("The published figure", [outcome], published_tables(analyses)))
    if analyses.frontier["beta"].nunique() > 1:
        found += _claims(analyses)
    answered = gap_answer(analyses.gap_changes)
    if answered:
        said = [answered, *(part_sentence(analyses.gap_changes, part) for part in ASKED)]
        said += [text for text in [unconverged_sentence(analyses)] if text]
        found.append(Claim(GAP_QUESTION, said, [gap_table(analyses)]))
    said = prior_sentences(analyses)
    if said:
        found.append(Claim(PRIOR_CLAIM, said, [prior_table(analyses)]))
    rows = main_criterion(analyses.capacity)
    if rows["difference_nats"].notna().any():
        said = [capacity_sentence(one, analyses.names) for one in measurable(analyses.capacity)]
        found.append(Claim(f"Depth at each beta: {depths(rows)}", said, [capacity_table(analyses)]))
    return found


def _claims(analyses: Analyses) -> list[Claim]:
    """The claims that can be measured in some setting, or would be, were the mutual information identified."""
    paper = asks_the_paper(analyses.frontier)
    verdicts = setting_verdicts(analyses.claims)
    found = []
    for claim, statement in CLAIMS.items():
        rows = main_criterion(verdicts[verdicts["claim"] == claim])
        asked = main_criterion(analyses.claims[analyses.claims["claim"] == claim])
        unknown = asked["reason"].str.startswith(UNIDENTIFIED).any()
        if rows.empty or (counts(rows)["not_measurable"] == len(rows) and not unknown):
            continue
        summary = analyses.claims_summary
        of_claim = summary[(summary["claim"] == claim) & (summary["criterion"] == CRITERIA[0])]
        said = _each(analyses, claim) or [summary_sentence(of_claim.iloc[0])]
        others = measurable(verdicts[verdicts["claim"] == claim])[1:]
        if others:
            text = by_criterion(others)
            said = [*said, f"{text[:1].upper()}{text[1:]}."]
        if unknown:
            said = [*said, bounds_sentence(analyses.saturation)]
        found.append(Claim(statement if paper else QUESTIONS[claim], said, [claim_table(analyses, claim)]))
    return found


def _each(analyses: Analyses, claim: str) -> list[str]:
    """A sentence for every setting, where there are few."""
    rows = main_criterion(analyses.claims[analyses.claims["claim"] == claim])
    if len(rows) > MAX_SENTENCES:
        return []
    texts = [claim_sentence(row, analyses.units[str(row["dataset"])]) for _, row in rows.iterrows()]
    if len(rows) == 1:
        return texts
    names = setting_names(analyses, rows)
    joined = [f"{name}: {text[:1].lower()}{text[1:]}" for name, text in zip(names, texts, strict=True)]
    return [f"{text[:1].upper()}{text[1:]}" for text in joined]

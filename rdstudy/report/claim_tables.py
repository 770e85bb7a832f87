"""Tables of verdicts: one row per setting and criterion of a claim, one per beta of comparisons."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from rdstudy.report.analyses import Analyses
from rdstudy.report.claim_sentences import CRITERION_NAMES, reasons_sentence, verdict_words, with_interval
from rdstudy.report.formatting import NOTHING, short
from rdstudy.report.gap_sentences import gap_verdict
from rdstudy.report.tables import Shown, shown


def claim_table(analyses: Analyses, claim: str) -> Shown:
    """All settings and criteria of one claim."""
    rows = analyses.claims[analyses.claims["claim"] == claim]
    return shown(
        f"claim_{claim}",
        "Each setting and criterion",
        f"Gain: difference of means, and the 95% interval. {reasons_sentence(rows)}".strip(),
        rows,
        {
            "criterion": lambda r: CRITERION_NAMES[r["criterion"]],
            "verdict": lambda r: verdict_words(r["verdict"]),
            "from beta": lambda r: short(r["reference_beta"]),
            "to beta": lambda r: short(r["beta"]),
            "gain (nats)": lambda r: with_interval(r["difference_nats"], r["low_nats"], r["high_nats"]),
            analyses.unit: lambda r: str(r["seeds"]) if r["seeds"] else NOTHING,
            "look": lambda r: f"{r['look']} of {r['looks']}" if r["looks"] else NOTHING,
        },
        text=("criterion", "verdict"),
        names=analyses.names,
    )


def capacity_table(analyses: Analyses) -> Shown:
    """Deep minus shallow at every beta, by every criterion."""
    return _differences(
        analyses,
        "capacity",
        "Each beta and criterion",
        "Deep minus shallow: difference of means within {unit}, and its 95% interval; the verdict is about the deep "
        "network, and positive is worse.",
        {
            "criterion": lambda r: CRITERION_NAMES[r["criterion"]],
            "depths": lambda r: f"{r['depth']:g} and {r['reference_depth']:g}",
            "beta": lambda r: short(r["beta"]),
        },
        "deep minus shallow (nats)",
        names=[name for name in analyses.names if name != "depth"],
    )


def prior_table(analyses: Analyses) -> Shown:
    """Every other prior against the standard normal, at every beta, by every criterion."""
    return _differences(
        analyses,
        "priors",
        "Each beta and criterion",
        "Gain over the standard normal: difference of means within {unit}, and its 95% interval; positive is better.",
        {"criterion": lambda r: CRITERION_NAMES[r["criterion"]], "beta": lambda r: short(r["beta"])},
        "gain (nats)",
        names=analyses.names,
    )


def gap_table(analyses: Analyses) -> Shown:
    """How far each part of the gap moves with beta, in every setting."""
    return _differences(
        analyses,
        "gap_changes",
        "Each setting and part",
        "Change: of the part's mean within {unit}, and its 95% interval; positive: it widens.",
        {
            "part": lambda r: str(r["part"]),
            "from beta": lambda r: short(r["reference_beta"]),
            "to beta": lambda r: short(r["beta"]),
        },
        "change (nats)",
        names=analyses.names,
        verdict=gap_verdict,
    )


def _differences(
    analyses: Analyses,
    name: str,
    heading: str,
    note: str,
    columns: dict[str, Callable[[pd.Series], str]],
    difference: str,
    *,
    names: Sequence[str],
    verdict: Callable[[pd.Series], str] = lambda r: verdict_words(r["verdict"]),
) -> Shown:
    """The analysis of this name: columns of its own, then the difference, its verdict and the number of replicates."""
    rows: pd.DataFrame = getattr(analyses, name)
    return shown(
        name,
        heading,
        f"{note.format(unit=analyses.unit)} {reasons_sentence(rows)}".strip(),
        rows,
        {
            **columns,
            difference: lambda r: with_interval(r["difference_nats"], r["low_nats"], r["high_nats"]),
            "verdict": verdict,
            analyses.unit: lambda r: str(r["seeds"]) if r["seeds"] else NOTHING,
        },
        text=("criterion", "part", "depths", "verdict"),
        names=names,
    )

"""Tables of verdicts: one row per setting and criterion of a claim, one per beta of the comparison of depths."""

from __future__ import annotations

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
    rows = analyses.capacity
    return shown(
        "capacity",
        "Each beta and criterion",
        f"Deep minus shallow: difference of means within {analyses.unit}, and its 95% interval; the verdict is about "
        f"the deep network, and positive is worse. {reasons_sentence(rows)}".strip(),
        rows,
        {
            "criterion": lambda r: CRITERION_NAMES[r["criterion"]],
            "depths": lambda r: f"{r['depth']:g} and {r['reference_depth']:g}",
            "beta": lambda r: short(r["beta"]),
            "deep minus shallow (nats)": lambda r: with_interval(r["difference_nats"], r["low_nats"], r["high_nats"]),
            "verdict": lambda r: verdict_words(r["verdict"]),
            analyses.unit: lambda r: str(r["seeds"]) if r["seeds"] else NOTHING,
        },
        text=("criterion", "depths", "verdict"),
        names=[name for name in analyses.names if name != "depth"],
    )


def prior_table(analyses: Analyses) -> Shown:
    """Every other prior against the standard normal, at every beta, by every criterion."""
    rows = analyses.priors
    return shown(
        "priors",
        "Each beta and criterion",
        f"Gain over the standard normal: difference of means within {analyses.unit}, and its 95% interval; positive is "
        f"better. {reasons_sentence(rows)}".strip(),
        rows,
        {
            "criterion": lambda r: CRITERION_NAMES[r["criterion"]],
            "beta": lambda r: short(r["beta"]),
            "gain (nats)": lambda r: with_interval(r["difference_nats"], r["low_nats"], r["high_nats"]),
            "verdict": lambda r: verdict_words(r["verdict"]),
            analyses.unit: lambda r: str(r["seeds"]) if r["seeds"] else NOTHING,
        },
        text=("criterion", "verdict"),
        names=analyses.names,
    )


def gap_table(analyses: Analyses) -> Shown:
    """How far each part of the gap moves with beta, in every setting."""
    rows = analyses.gap_changes
    return shown(
        "gap_changes",
        "Each setting and part",
        f"Change: of the part's mean within {analyses.unit}, and its 95% interval; positive: it widens. "
        f"{reasons_sentence(rows)}".strip(),
        rows,
        {
            "part": lambda r: str(r["part"]),
            "from beta": lambda r: short(r["reference_beta"]),
            "to beta": lambda r: short(r["beta"]),
            "change (nats)": lambda r: with_interval(r["difference_nats"], r["low_nats"], r["high_nats"]),
            "verdict": gap_verdict,
            analyses.unit: lambda r: str(r["seeds"]) if r["seeds"] else NOTHING,
        },
        text=("part", "verdict"),
        names=analyses.names,
    )

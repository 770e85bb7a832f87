"""Sentences about the two parts of the generalization gap: how far each moves with beta, and whose it is."""

from __future__ import annotations

import pandas as pd

from rdstudy.analysis.gap_parts import ASKED, DECODER, ENCODER, EXCESS, PARTS
from rdstudy.analysis.verdicts import BETTER, EQUIVALENT, NOT_MEASURABLE, OPEN, WORSE
from rdstudy.report.analyses import Analyses
from rdstudy.report.claim_sentences import nats
from rdstudy.report.formatting import joined, short

GAP_QUESTION = "Whose generalization does beta change, the encoder's or the decoder's?"

_VERDICTS = {
    WORSE: "widens",
    BETTER: "narrows",
    EQUIVALENT: "stays equal within {margin:g} nats",
    OPEN: "is open",
    NOT_MEASURABLE: "is not measurable",
}


def gap_verdict(row: pd.Series) -> str:
    """ "widens", "narrows", "stays equal within 2 nats": what the verdict says of a part."""
    return _VERDICTS[str(row["verdict"])].format(margin=row["margin_nats"])


def part_sentence(changes: pd.DataFrame, part: str) -> str:
    """How one part moves from the reference to the smallest beta, over all settings.

    Args:
        changes: what `rdstudy.analysis.gap_changes` returns.
        part: `encoder`, `decoder`, or `encoder minus decoder`.
    """
    rows = changes[changes["part"] == part]
    counts = [
        f"{text.format(margin=rows['margin_nats'].iloc[0])} in {n}"
        for verdict, text in _VERDICTS.items()
        if (n := int((rows["verdict"] == verdict).sum()))
    ]
    settings = f"{len(rows)} setting{'' if len(rows) == 1 else 's'}"
    whose = "the encoder's part less the decoder's" if part == EXCESS else f"the {part}'s part"
    text = f"{_from_to(rows)}, {whose} {joined(counts)} of {settings}"
    known = rows.dropna(subset=["difference_nats"]).sort_values("difference_nats", kind="stable")
    if len(known):
        ends = [known.iloc[0]] if len(known) == 1 else [known.iloc[0], known.iloc[-1]]
        text += f": {' to '.join(_signed(float(row['difference_nats'])) for row in ends)} nats"
    return f"{text}."


def gap_answer(changes: pd.DataFrame) -> str:
    """In how many settings lowering beta changes each part, and which changes more; empty where nothing was refitted.

    Args:
        changes: what `rdstudy.analysis.gap_changes` returns.
    """
    by_part = {part: changes[changes["part"] == part] for part in ASKED}
    n = len(by_part[ENCODER])
    if not n:
        return ""
    said = [f"the {part}'s in {_changed(by_part[part])}" for part in PARTS]
    settings = f"{n} setting{'' if n == 1 else 's'}"
    more, less = (int((by_part[EXCESS]["verdict"] == verdict).sum()) for verdict in (WORSE, BETTER))
    excess = [f"the {part}'s widens by more in {k}" for part, k in ((ENCODER, more), (DECODER, less)) if k]
    text = f"Lowering beta changes the generalization gap in its two parts: {' and '.join(said)} of {settings}"
    return f"{text}; {' and '.join(excess)}." if excess else f"{text}."


def _changed(rows: pd.DataFrame) -> str:
    """ "5 (equal within 2 nats in 1, open in 2)"."""
    counts = rows["verdict"].value_counts()
    shown = int(counts.get(WORSE, 0) + counts.get(BETTER, 0))
    margin = rows["margin_nats"].iloc[0]
    words = ((EQUIVALENT, f"equal within {margin:g} nats"), (OPEN, "open"), (NOT_MEASURABLE, "not measurable"))
    others = [f"{text} in {k}" for verdict, text in words if (k := int(counts.get(verdict, 0)))]
    return f"{shown} ({', '.join(others)})" if others else f"{shown}"


def unconverged_sentence(analyses: Analyses) -> str:
    """At how many points a refit had not converged; empty where all had."""
    points = analyses.gap_parts
    count = int((points["n_unconverged"] > 0).sum())
    if not count:
        return ""
    return (
        f"At {count} of {len(points)} points the search for the best posteriors still gained more than the error of "
        "the inference gap in its second half, in one cell or more: there the encoder's part may be larger than drawn."
    )


def _from_to(rows: pd.DataFrame) -> str:
    starts, ends = (rows[name].dropna().unique() for name in ("reference_beta", "beta"))
    start = f"beta = {short(starts[0])}" if len(starts) == 1 else "the reference beta"
    end = short(ends[0]) if len(ends) == 1 else "the smallest"
    return f"From {start} to {end}"


def _signed(value: float) -> str:
    text = nats(value)
    return f"+{text}" if value > 0 and float(text) != 0 else text

"""Sentences about the claims: the difference of means, then its interval, then what follows from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from rdstudy.analysis import setting_label
from rdstudy.analysis.claims import OTHER_SEEDS, VALIDATION_IMAGES
from rdstudy.analysis.replicates import SEEDS
from rdstudy.analysis.verdicts import BETTER, EQUIVALENT, NOT_MEASURABLE, OPEN, VERDICTS, WORSE
from rdstudy.report.formatting import NOTHING, joined
from rdstudy.report.verdicts import counts_text

RULES = (
    "A gain is the difference of means over seeds from the reference beta to the smaller beta, taken within seeds; "
    "positive: the smaller beta is better. Its interval is that of the best smaller beta, which is chosen for each "
    "seed from the other seeds, or from their validation images where there are some. Better: shown to be above 0. "
    "Worse: every smaller beta is shown to be worse. Equivalent: shown to lie within the margin, the smallest "
    "difference of interest. Open: none of these. Each kind of false verdict has a rate of 2.5% over all settings of a "
    "claim (Holm) and over all looks at 3, 6, 12 and 20 seeds (Lan & DeMets). Standard deviations are moderated over "
    "settings (Smyth 2004). Most settings: the interval of the share of all settings, undecided ones counted either "
    "way, lies above one half."
)

CRITERION_NAMES = {
    "distortion_nats": "test distortion",
    "negative_elbo_nats": "test -ELBO",
    "nll_nats": "test NLL",
    "refit_distortion_nats": "refitted test distortion",
}

_HOLDS = {
    "lowering_beta": "a smaller beta is better",
    "underfitting": "the test distortion falls by more than the gap widens",
    "beyond_saturation": "a still smaller beta is better",
}
"""What is so in a setting with the verdict `better`."""

MAX_REASONS = 4


def verdict_words(verdict: str) -> str:
    """The verdict as it is printed: "not measurable"."""
    return verdict.replace("_", " ")


def nats(value: float | None) -> str:
    """One decimal, two below one nat; a real minus sign, and none before 0."""
    if pd.isna(value):
        return NOTHING
    digits = 1 if abs(value) >= 1 else 2
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "\u2212")


def with_interval(difference: float, low: float, high: float) -> str:
    """ "3.1 (1.2 to 5.0)", or the difference alone where there is no interval."""
    return nats(difference) if pd.isna(low) else f"{nats(difference)} ({nats(low)} to {nats(high)})"


def claim_sentence(row: pd.Series, unit: str = SEEDS) -> str:
    """One setting's answer: the difference of means, its interval, and what follows from it.

    Args:
        row: of what `rdstudy.analysis.claims` returns.
        unit: what `seeds` of the row counts.
    """
    verdict = str(row["verdict"])
    if verdict == NOT_MEASURABLE:
        return f"Not measurable: {row['reason']}."
    name = CRITERION_NAMES[str(row["criterion"])]
    if row["claim"] == "underfitting":
        name = "test distortion minus the rise of the gap"
    difference = float(row["difference_nats"])
    size = nats(abs(difference))
    text = f"From beta = {row['reference_beta']:g} to {row['beta']:g}, {name} "
    if float(size) == 0:
        text += "changes by 0 nats"
    else:
        text += f"{'falls' if difference > 0 else 'rises'} by {size} nats"
    if not pd.isna(row["low_nats"]):
        best = {OTHER_SEEDS: " of the best smaller beta", VALIDATION_IMAGES: " of the best smaller beta"}
        which = best.get(str(row["chosen_on"]), "")
        text += f" (gain{which}: 95% interval {nats(row['low_nats'])} to {nats(row['high_nats'])})"
    text += {
        BETTER: ": better",
        WORSE: ": worse",
        EQUIVALENT: f": equivalent within {row['margin_nats']:g} nats",
        OPEN: f": open, {row['reason']}",
    }[verdict]
    seeds = int(row["seeds"])
    return f"{text}; {seeds} {unit.removesuffix('s') if seeds == 1 else unit}."


def by_criterion(found: Sequence[pd.DataFrame]) -> str:
    """ "by test distortion better in 2 of 2 settings and by test -ELBO worse in 1 and open in 1 of 2 settings".

    Args:
        found: the rows of each criterion, of one claim.
    """
    return joined([f"by {CRITERION_NAMES[str(rows['criterion'].iloc[0])]} {counts_text(rows)}" for rows in found])


def summary_sentence(row: pd.Series) -> str:
    """In how many settings a claim holds, between which bounds, and whether that is most.

    Args:
        row: of what `rdstudy.analysis.claims_summary` returns.
    """
    settings = int(row["settings"])
    of = f"{settings} setting{'' if settings == 1 else 's'}"
    if row[NOT_MEASURABLE] == settings:
        why = f": {row['reason']}" if row["reason"] else ""
        return f"Not measurable in {'the one setting' if settings == 1 else f'any of {of}'}{why}."
    counts = [f"{verdict_words(name)} in {int(row[name])}" for name in VERDICTS if row[name]]
    text = f"{joined(counts)} of {of}."
    text = text[:1].upper() + text[1:]
    low, high = f"{row['share_low']:.0%}", f"{row['share_high']:.0%}"
    share = f"in {low} of them" if low == high else f"in {low} to {high} of them"
    holds = _HOLDS[str(row["claim"])]
    most = {"supported": "so in most settings", "contradicted": "so not in most settings"}
    return (
        f"{text} {holds[:1].upper()}{holds[1:]} {share} "
        f"(95% interval for settings like these: {row['share_ci_low']:.0%} to {row['share_ci_high']:.0%}), "
        f"{most.get(str(row['verdict']), 'and whether in most is open')}."
    )


def reasons_sentence(rows: pd.DataFrame) -> str:
    """Why verdicts are open or cannot be measured: each reason once, with the number of its rows."""
    parts = []
    for verdict in (OPEN, NOT_MEASURABLE):
        found = Counter(str(reason) for reason in rows.loc[rows["verdict"] == verdict, "reason"] if reason)
        if not found:
            continue
        named = [f"{reason} ({n})" for reason, n in found.most_common(MAX_REASONS)]
        rest = sum(found.values()) - sum(n for _, n in found.most_common(MAX_REASONS))
        if rest:
            named.append(f"other reasons ({rest})")
        words = verdict_words(verdict)
        parts.append(f"{words[:1].upper()}{words[1:]}: {'; '.join(named)}.")
    return " ".join(parts)


def depths(rows: pd.DataFrame) -> str:
    """ "depth 3 against depth 1", or "the deepest against the shallowest network" where settings differ.

    Args:
        rows: of what `rdstudy.analysis.capacity` returns.
    """
    deep, shallow = rows["depth"].unique(), rows["reference_depth"].unique()
    if len(deep) == 1 and len(shallow) == 1:
        return f"depth {deep[0]:g} against depth {shallow[0]:g}"
    return "the deepest against the shallowest network"


def capacity_counts(rows: pd.DataFrame) -> str:
    """ "better at 4, worse at 2 of 6 betas".

    Args:
        rows: of what `rdstudy.analysis.capacity` returns, of one criterion.
    """
    found = rows["verdict"].value_counts()
    counts = [f"{verdict_words(name)} at {int(found[name])}" for name in VERDICTS if found.get(name, 0)]
    several = len(rows) > rows["beta"].nunique()
    what = "points (settings and betas)" if several else "beta" if len(rows) == 1 else "betas"
    return f"{joined(counts)} of {len(rows)} {what}"


def capacity_sentence(rows: pd.DataFrame, names: list[str]) -> str:
    """How the deep network compares with the shallow one: where it is worst and best, and how often each verdict came.

    Args:
        rows: of what `rdstudy.analysis.capacity` returns, of one criterion.
        names: columns that tell the settings apart.
    """
    name = CRITERION_NAMES[str(rows["criterion"].iloc[0])]
    ordered = rows[rows["difference_nats"].notna()].sort_values("difference_nats", kind="stable")
    text = f"{name[:1].upper()}{name[1:]}, {depths(rows)}: "
    ends = [ordered.iloc[0]] if len(ordered) == 1 else [ordered.iloc[-1], ordered.iloc[0]]
    text += joined([_capacity_end(row, names) for row in ends])
    return f"{text}. The deep network is {capacity_counts(rows)}."


def _capacity_end(row: pd.Series, names: list[str]) -> str:
    where = setting_label(row, [name for name in names if name != "depth"])
    where = f" ({where})" if where else ""
    difference = float(row["difference_nats"])
    size = nats(abs(difference))
    said = "equal" if float(size) == 0 else f"{size} nats {'higher' if difference > 0 else 'lower'}"
    if not pd.isna(row["low_nats"]):
        said += f" (95% interval {nats(row['low_nats'])} to {nats(row['high_nats'])})"
    return f"{said} at beta = {row['beta']:g}{where}"

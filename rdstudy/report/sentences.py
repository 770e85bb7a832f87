"""The page's sentences about the analyses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from rdstudy.analysis.claims import OTHER_SEEDS, VALIDATION_IMAGES
from rdstudy.analysis.contrasts import MIN_SEEDS
from rdstudy.analysis.replicates import setting_label
from rdstudy.analysis.verdicts import BETTER, EQUIVALENT, NOT_MEASURABLE, OPEN, VERDICTS, WORSE
from rdstudy.report.analyses import MAX_UNRELIABLE_SHARE, Analyses
from rdstudy.report.formatting import number
from rdstudy.storage.schema import TEST

QUESTION = "Does regularizing the rate of a variational autoencoder improve how it generalizes?"

INTERVALS = (
    "Intervals are 95% t intervals over seeds. A seed is a replicate of a whole curve, so betas, and train "
    "and test, "
    "are compared within a seed. They say what other seeds would give on this training and test set, not "
    "what "
    "another test set would."
)

UNRELIABLE_MARK = "~"
"""Before an NLL whose importance weights are unreliable."""

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

_CRITERIA = {
    "distortion_nats": "test distortion",
    "negative_elbo_nats": "test -ELBO",
    "nll_nats": "test NLL",
}


def verdict_words(verdict: str) -> str:
    """The verdict as it is printed: "not measurable"."""
    return verdict.replace("_", " ")


def nats(value: Any) -> str:
    """One decimal, two below one nat; a real minus sign, and none before 0."""
    if pd.isna(value):
        return "\u2013"
    digits = 1 if abs(value) >= 1 else 2
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "\u2212")


def with_interval(difference: float, low: float, high: float) -> str:
    """ "3.1 (1.2 to 5.0)", or the difference alone where there is no interval."""
    return nats(difference) if pd.isna(low) else f"{nats(difference)} ({nats(low)} to {nats(high)})"


def claim_sentence(row: pd.Series) -> str:
    """One setting's answer: the difference of means, its interval, and what follows from it.

    Args:
        row: of what `rdstudy.analysis.claims` returns.
    """
    verdict = str(row["verdict"])
    if verdict == NOT_MEASURABLE:
        return f"Not measurable: {row['reason']}."
    name = _CRITERIA[str(row["criterion"])]
    if row["claim"] == "underfitting":
        name = "test distortion, less what the gap widens,"
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
    return f"{text}; {seeds} seed{'' if seeds == 1 else 's'}."


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
    low, high = f"{row['share_low']:.0%}", f"{row['share_high']:.0%}"
    share = f"{low}" if low == high else f"between {low} and {high}"
    text = (
        f"A smaller beta is {_joined(counts)} of {of}: it is better in {share} of them "
        f"(95% interval for settings like these: {row['share_ci_low']:.0%} to {row['share_ci_high']:.0%})"
    )
    most = {"supported": "most settings", "contradicted": "not most settings"}
    return f"{text}; {most.get(str(row['verdict']), 'whether in most is open')}."


def state(analyses: Analyses, study: Mapping[str, Any]) -> str:
    """How far the study is: "96 of 120 cells finished, 2 of them diverged; 24 are missing"."""
    counts = analyses.cells["status"].value_counts()
    ok, diverged = int(counts.get("ok", 0)), int(counts.get("diverged", 0))
    total = len(analyses.planned) if analyses.planned is not None else study.get("n_cells")
    done, stopped = ok + diverged, _stopped(analyses)
    text = f"{done:,} of {total:,} cells finished" if isinstance(total, int) else f"{done:,} cells finished"
    if diverged:
        text += f", {diverged:,} of them diverged"
    parts = [f"{stopped:,} stopped early"] if stopped else []
    parts += [f"{int(counts[s]):,} {s}" for s in ("failed", "running") if counts.get(s, 0)]
    if isinstance(total, int) and total > done + stopped:
        parts.append(f"{total - done - stopped:,} missing")
    return "; ".join([text, *parts]) + "."


def running(analyses: Analyses, study: Mapping[str, Any]) -> bool:
    """Whether cells of the study are missing from the table."""
    done = int(analyses.cells["status"].isin(["ok", "diverged"]).sum())
    total = len(analyses.planned) if analyses.planned is not None else study.get("n_cells")
    return isinstance(total, int) and total > done + _stopped(analyses)


def stopped(analyses: Analyses) -> str:
    """How many cells the search stopped early, and what becomes of them."""
    n = _stopped(analyses)
    if not n:
        return ""
    were = "1 cell was" if n == 1 else f"{n:,} cells were"
    return (
        f"{were} stopped early because they could not become the best: the search uses their last value, every other "
        "analysis leaves them out."
    )


def _stopped(analyses: Analyses) -> int:
    """Cells that the search stopped early, less those that another study has since trained in full."""
    if analyses.search is None:
        return 0
    marked = analyses.cells.loc[analyses.cells["status"] == "stopped", "cell_id"]
    return len(analyses.search.stopped & set(marked))


def seeds(analyses: Analyses) -> str:
    """What follows from too few seeds, where every setting has too few."""
    most = int(analyses.frontier["n_seeds"].max()) if len(analyses.frontier) else 0
    if most >= MIN_SEEDS:
        return ""
    have = "one seed" if most == 1 else f"{most} seeds"
    return (
        f"No setting has more than {have}: every verdict is open, and what intervals there are say little. "
        f"At least {MIN_SEEDS} seeds are needed."
    )


def not_measured(analyses: Analyses) -> str:
    """The measures that the study did not ask for."""
    absent = []
    if analyses.information.empty:
        absent.append("the mutual information (and with it saturation)")
    if analyses.frontier["nll_nats"].isna().all():
        absent.append("the NLL")
    if not absent:
        return ""
    return f"Not measured in this study: {' and '.join(absent)}."


def shape_sentence(analyses: Analyses, criterion: str = "distortion_nats") -> str:
    """ "Test distortion is U-shaped in 4 of 8 settings and falling in 4." """
    rows = analyses.shapes
    rows = rows[(rows["population"] == TEST) & (rows["criterion"] == criterion)]
    if rows.empty:
        return ""
    counts = rows["shape"].value_counts()
    words = [f"{name} in {count}" for name, count in counts.items()]
    name = {"distortion_nats": "Test distortion", "negative_elbo_nats": "Test -ELBO", "nll_nats": "Test NLL"}[criterion]
    return (
        f"{name}, read from the largest beta to the smallest, is {_joined(words)} of "
        f"{len(rows)} setting{'' if len(rows) == 1 else 's'}."
    )


def gap_sentence(analyses: Analyses) -> str:
    """Where the distortion's generalization gap is largest and smallest."""
    rows = analyses.gaps[analyses.gaps["criterion"] == "distortion_nats"]
    if rows.empty:
        return ""
    names = analyses.names
    ends = []
    ordered = rows.sort_values("gap_nats", kind="stable")
    for word, row in (("largest", ordered.iloc[-1]), ("smallest", ordered.iloc[0])):
        where = setting_label(row, names)
        ends.append(f"{word} at beta = {row['beta']:g}{f' ({where})' if where else ''}, {number(row['gap_nats'])} nats")
    return f"The gap is {_joined(ends)}."


def saturation_sentence(analyses: Analyses) -> str:
    """In how many settings the mutual information saturates within the grid, and between which betas."""
    rows = analyses.saturation[analyses.saturation["population"] == "train"]
    rows = rows[rows["saturates"] != "not measured"]
    if rows.empty:
        rows = analyses.saturation[analyses.saturation["saturates"] != "not measured"]
    if rows.empty:
        return ""
    parts = []
    within = rows[rows["saturates"] == "at"]
    if len(within):
        low, high = within["beta_low"].min(), within["beta_high"].max()
        parts.append(f"saturates at a beta {_range(low, high)} in {len(within)}")
    for word, text in (
        ("everywhere", "is saturated at every beta in"),
        ("never", "is saturated at none in"),
        ("open", "is not decided in"),
        ("not identified", "is not identified in"),
    ):
        count = int((rows["saturates"] == word).sum())
        if count:
            parts.append(f"{text} {count}")
    return f"The mutual information {_joined(parts)} of {len(rows)} setting{'' if len(rows) == 1 else 's'}."


def _range(low: float, high: float) -> str:
    if low == 0:
        return f"below {high:.2g}"
    return f"of {low:.2g} or more" if high == float("inf") else f"between {low:.2g} and {high:.2g}"


def reliability_sentence(analyses: Analyses, criterion: str) -> str:
    """Which NLLs are unreliable, where some are; with the space before it."""
    marked = analyses.frontier["nll_unreliable"] & (analyses.frontier["population"] == TEST)
    if criterion != "nll_nats" or not marked.any():
        return ""
    points = int((analyses.frontier["population"] == TEST).sum())
    return (
        f" Hollow points ({int(marked.sum())} of {points}) are unreliable: the importance weights of more than "
        f"{MAX_UNRELIABLE_SHARE:.0%} of their examples have a Pareto tail index above its threshold, "
        "so that the NLL, an upper bound, is too high, by more where the rate is large."
    )


def best_sentence(analyses: Analyses) -> str:
    """The range of best betas, and how many of them lie at the edge of the grid."""
    rows = analyses.best_beta[analyses.best_beta["criterion"] == "distortion_nats"]
    if rows.empty:
        return ""
    low, high, edge = rows["best_beta"].min(), rows["best_beta"].max(), int(rows["at_edge"].sum())
    text = f"By {rows['chosen_on'].iloc[0]} distortion the best beta is {high:g}"
    text += "" if low == high else f" to {low:g}, by setting"
    if edge:
        text += (
            f"; in {edge} of {len(rows)} settings it is the smallest or largest of the grid, "
            "so a better one may lie beyond"
        )
    return text + "."


def convergence_counts(analyses: Analyses) -> str:
    """ "training had converged at 18 of 24 points, had not at 2, and is undecided at 4"."""
    found = analyses.convergence["converged"].value_counts()
    yes, no, undecided = (int(found.get(verdict, 0)) for verdict in ("yes", "no", "undecided"))
    text = f"training had converged at {yes} of {len(analyses.convergence)} points, had not at {no}"
    return text + f", and is undecided at {undecided}" if undecided else text.replace(", had", " and had")


def convergence_sentence(analyses: Analyses) -> str:
    """How many points are converged, not converged and undecided, and the worst of them."""
    rows = analyses.convergence
    if rows.empty:
        return ""
    counts = convergence_counts(analyses)
    text = f"{counts[:1].upper()}{counts[1:]}."
    steep = int((rows["slope_fits"] == False).sum())  # noqa: E712 (a nullable boolean column)
    if steep:
        text += f" {steep} slope{'s do' if steep > 1 else ' does'} not lie between the betas of the step."
    not_converged = rows[rows["converged"] == "no"]
    if len(not_converged):
        worst = not_converged.sort_values("regret_nats").iloc[-1]
        where = setting_label(worst, analyses.names)
        where = f" ({where})" if where else ""
        text += (
            f" The worst is beta = {worst['beta']:g}{where}: a model of another beta is better at its objective by "
            f"{number(worst['regret_nats'])} nats."
        )
    if (rows["converged"] == "undecided").any():
        text += " More seeds decide the undecided ones; the learning curves show whether they still fall."
    return text


def priors_sentence(analyses: Analyses) -> str:
    """The paper's open question, and whether this study says anything about it."""
    priors = analyses.frontier["prior"].dropna().unique()
    if len(priors) > 1:
        return f"This study compares {len(priors)} priors ({', '.join(map(str, sorted(priors)))})."
    return (
        "The paper ends on an open question, which priors do improve generalization. "
        "This study has one prior and does not ask it."
    )


def setting_names(analyses: Analyses, frame: pd.DataFrame) -> list[str]:
    """One name per row, in the columns that tell the study's settings apart."""
    return [setting_label(row, analyses.names) or "the setting" for _, row in frame.iterrows()]


def _joined(parts: list[str]) -> str:
    if len(parts) < 2:
        return "".join(parts)
    return ", ".join(parts[:-1]) + " and " + parts[-1]

"""The page's sentences: what the analyses say, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from rdstudy.analysis.contrasts import MIN_SEEDS, SMALLEST_EFFECT_NATS
from rdstudy.analysis.replicates import setting_label
from rdstudy.report.analyses import Analyses
from rdstudy.storage.schema import TEST

QUESTION = "Does regularizing the rate of a variational autoencoder improve how it generalizes?"

INTERVALS = (
    "Intervals are 95% t intervals over seeds. A seed is a replicate of a whole curve, so betas, and train "
    "and test, "
    "are compared within a seed. They say what other seeds would give on this training and test set, not "
    "what "
    "another test set would."
)

MAX_UNRELIABLE = 0.1
"""Share of examples from which on an NLL is called rough."""

VERDICTS = (
    f"Supported: the interval lies above 0 and the effect is at least {SMALLEST_EFFECT_NATS:g} nats. Contradicted: the "
    f"interval lies below {SMALLEST_EFFECT_NATS:g} nats, so there is no effect worth the name, or the opposite. "
    "Undecided: anything else. Where there is no effect, a setting is called supported by chance in about 3 of 100 "
    "cases. Where an effect is that of the best beta, the best one is found for each seed from the other seeds, else "
    "its luck would count: an effect is smaller than the difference of the means in the tables and figures."
)


def state(analyses: Analyses, study: Mapping[str, Any]) -> str:
    """How far the study is: "96 of 120 cells finished, 2 of them diverged; 24 are still to come"."""
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
        parts.append(f"{total - done - stopped:,} still to come")
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
        f"{were} stopped early as hopeless: the search is steered by the last value of each, and every other analysis "
        "leaves them out."
    )


def _stopped(analyses: Analyses) -> int:
    """Cells that the search stopped early, less those that another study has since trained in full."""
    if analyses.search is None:
        return 0
    marked = analyses.cells.loc[analyses.cells["status"] == "stopped", "cell_id"]
    return len(analyses.search.stopped & set(marked))


def seeds(analyses: Analyses) -> str:
    """How many seeds the settings have, and what follows from it."""
    counts = analyses.claims.groupby("claim")["n_seeds"].max()
    most = int(counts.max()) if len(counts) else 0
    if most >= MIN_SEEDS:
        return ""
    have = "one seed" if most == 1 else f"{most} seeds"
    return (
        f"No setting has more than {have}: every verdict is undecided, and what intervals there are say little. "
        f"At least {MIN_SEEDS} seeds are needed."
    )


def not_measured(analyses: Analyses) -> str:
    """What the study did not ask to be measured."""
    absent = []
    if analyses.information.empty:
        absent.append("the mutual information (and with it saturation, and two of the three claims)")
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
        ends.append(f"{word} at beta = {row['beta']:g}{f' ({where})' if where else ''}, {row['gap_nats']:.1f} nats")
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
        low, high = within["beta"].min(), within["beta"].max()
        where = f"at beta = {low:.2g}" if len(within) == 1 else f"between beta = {low:.2g} and {high:.2g}"
        parts.append(f"reaches 95% of its ceiling {where} in {len(within)}")
    for word, text in (("everywhere", "is there at every beta in"), ("never", "never gets there in")):
        count = int((rows["saturates"] == word).sum())
        if count:
            parts.append(f"{text} {count}")
    return f"The mutual information {_joined(parts)} of {len(rows)} settings."


def reliability_sentence(analyses: Analyses, criterion: str) -> str:
    """That the NLL is rough, where it is; with the space before it."""
    if criterion != "nll_nats":
        return ""
    table = analyses.table[analyses.table["population"] == TEST]
    share = table["nll_unreliable_share"].astype(float).mean()
    if not share > MAX_UNRELIABLE:
        return ""
    return (
        f" Rough: the importance weights of {share:.0%} of the examples are unreliable (Pareto tail index above 0.7), "
        "so that the NLL lies too high, by more where the rate is large; `rdstudy remeasure --nll-draws` "
        "betters it."
    )


def best_sentence(analyses: Analyses) -> str:
    """The range of best betas, and how many of them lie at the edge of the grid."""
    rows = analyses.best_beta[analyses.best_beta["criterion"] == "distortion_nats"]
    if rows.empty:
        return ""
    low, high, edge = rows["best_beta"].min(), rows["best_beta"].max(), int(rows["at_edge"].sum())
    text = f"By test distortion the best beta is {low:g}" + ("" if low == high else f" to {high:g}, by setting")
    if edge:
        text += (
            f"; in {edge} of {len(rows)} settings it is the smallest or largest of the grid, "
            "so a better one may lie beyond"
        )
    return text + "."


def convergence_sentence(analyses: Analyses) -> str:
    """How many points fail the check of the training."""
    rows = analyses.convergence
    if rows.empty:
        return ""
    not_converged = rows[rows["converged"] == "no"]
    steep = int((rows["slope_fits"] == False).sum())  # noqa: E712 (a nullable boolean column)
    if not_converged.empty and not steep:
        most = int(rows["n_seeds"].max())
        return "No training curve contradicts that its models were trained to their end" + (
            f"; with {most} seeds only gross failures would, so look at the learning curves too." if most < 5 else "."
        )
    names = analyses.names
    worst = not_converged.sort_values("regret_nats").iloc[-1] if len(not_converged) else None
    text = (
        f"{len(not_converged)} of {len(rows)} points are not converged: a model trained with another beta "
        "is better "
        f"at their own objective; {steep} slopes do not lie between their betas."
    )
    if worst is not None:
        where = setting_label(worst, names)
        where = f" ({where})" if where else ""
        text += f" The worst is beta = {worst['beta']:g}{where}, by {worst['regret_nats']:.1f} nats."
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

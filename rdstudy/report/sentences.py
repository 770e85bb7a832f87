"""The page's sentences about the analyses."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from rdstudy.analysis.claims import MAX_UNRELIABLE_SHARE
from rdstudy.analysis.contrasts import MIN_SEEDS
from rdstudy.analysis.replicates import DATA_SEEDS, setting_label
from rdstudy.report.analyses import Analyses
from rdstudy.report.claim_sentences import CRITERION_NAMES
from rdstudy.report.formatting import in_units, joined, number
from rdstudy.report.information_sentences import unbounded_sentence
from rdstudy.storage.schema import TEST

QUESTION = "Does regularizing the rate of a variational autoencoder improve how it generalizes?"
OWN_QUESTION = "How do rate and distortion depend on beta?"
"""Of a study that does not ask about the paper."""

INTERVALS = (
    "Intervals are 95% t intervals over seeds. A seed is a replicate of a whole curve, so betas, and train "
    "and test, "
    "are compared within a seed. They say what other seeds would give on this training and test set, not "
    "what "
    "another test set would."
)

UNRELIABLE_MARK = "~"
"""Before an NLL whose importance weights are unreliable."""


def state(analyses: Analyses, study: Mapping[str, object]) -> str:
    """How far the study is: "96 of 120 cells finished, 2 of them diverged; 24 are missing"."""
    counts = _asked_for(analyses)["status"].value_counts()
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
    others = len(analyses.cells) - len(_asked_for(analyses))
    if others:
        parts.append(f"{others:,} with other settings are in the folder too")
    return "; ".join([text, *parts]) + "."


def _asked_for(analyses: Analyses) -> pd.DataFrame:
    """The study's cells among those in the table: the folder may hold others, of another study or `--set`."""
    planned = analyses.planned
    if planned is None or "cell_id" not in planned:
        return analyses.cells
    return analyses.cells[analyses.cells["cell_id"].isin(planned["cell_id"])]


def running(analyses: Analyses, study: Mapping[str, object]) -> bool:
    """Whether cells of the study are missing from the table."""
    done = int(_asked_for(analyses)["status"].isin(["ok", "diverged"]).sum())
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


def data_seeds(analyses: Analyses) -> str:
    """What counts as a replicate, where a data set has several data seeds; empty where none has."""
    named = [name for name, unit in analyses.units.items() if unit == DATA_SEEDS]
    if not named:
        return ""
    rows = analyses.table[analyses.table["dataset"].astype(str).isin(named)]
    counts = rows.groupby("dataset", dropna=False)["data_seed"].nunique()
    many = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    others = [name for name in analyses.units if name not in named]
    return (
        f"The replicates{f' of {joined(named)}' if others else ''} are the {many} data seeds: the seeds of each are "
        "averaged and count once. Intervals say what other training and test sets would give."
        f"{f' The replicates of {joined(others)} are the seeds.' if others else ''}"
    )


def seeds(analyses: Analyses) -> str:
    """What follows from too few seeds, where every setting has too few."""
    most = int(analyses.frontier["n_seeds"].max()) if len(analyses.frontier) else 0
    if most >= MIN_SEEDS:
        return ""
    have = "one seed" if most == 1 else f"{most} seeds"
    text = (
        f"No setting has more than {have}: every verdict is open, and what intervals there are say little. "
        f"At least {MIN_SEEDS} seeds are needed."
    )
    return in_units(text, analyses.unit)


EPOCHS_ALIKE = 1.1
"""Amounts of data whose epochs differ by no more than this factor were trained for equally long: steps are whole."""


def epochs(analyses: Analyses) -> str:
    """That the amount of data is confounded with the epochs of training, where it is."""
    table = analyses.table
    rows = table[table["is_final"].astype(bool) & table["epoch"].notna()]
    longest = rows.groupby("train_size")["epoch"].max()
    if len(longest) < 2 or longest.max() <= EPOCHS_ALIKE * longest.min():
        return ""
    least, most = longest.index.min(), longest.index.max()
    return (
        f"More training images also mean fewer epochs here ({longest[least]:,.0f} with {least:,} images, "
        f"{longest[most]:,.0f} with {most:,}): what differs between amounts of data may be due to either."
    )


def not_measured(analyses: Analyses) -> str:
    """The measures that the study did not ask for."""
    absent = []
    if analyses.information.empty:
        absent.append("the mutual information (and with it saturation)")
    elif not analyses.saturation["bounded"].any():
        absent.append("bounds of the mutual information")
    if analyses.frontier["nll_nats"].isna().all():
        absent.append("the NLL")
    if not absent:
        return ""
    text = f"Not measured in this study: {' and '.join(absent)}."
    return f"{text} {unbounded_sentence(analyses.saturation)}".rstrip()


def shape_sentence(analyses: Analyses, criterion: str = "distortion_nats") -> str:
    """ "Test distortion is U-shaped in 4 of 8 settings and falling in 4." """
    rows = analyses.shapes
    rows = rows[(rows["population"] == TEST) & (rows["criterion"] == criterion)]
    if rows.empty:
        return ""
    counts = rows["shape"].value_counts()
    words = [f"{name} in {count}" for name, count in counts.items()]
    name = CRITERION_NAMES[criterion]
    return (
        f"{name[:1].upper()}{name[1:]}, read from the largest beta to the smallest, is {joined(words)} of "
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
    return f"The gap is {joined(ends)}."


def reliability_sentence(analyses: Analyses, criterion: str) -> str:
    """Which NLLs are unreliable, where some are; with the space before it."""
    marked = analyses.frontier["nll_unreliable"] & (analyses.frontier["population"] == TEST)
    if criterion != "nll_nats" or not marked.any():
        return ""
    points = int((analyses.frontier["population"] == TEST).sum())
    return (
        f" Hollow points ({int(marked.sum())} of {points}) are unreliable: the importance weights of more than "
        f"{MAX_UNRELIABLE_SHARE:.0%} of their examples have a Pareto tail index above its threshold, "
        "so that the NLL, an upper bound, may be far too high."
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
        text += f" More {analyses.unit} decide the undecided ones; the learning curves show whether they still fall."
    return text


def priors_sentence(analyses: Analyses) -> str:
    """The paper's open question, and whether this study says anything about it."""
    priors = analyses.frontier["prior"].dropna().unique()
    if len(priors) > 1:
        return f"This study compares {len(priors)} priors ({', '.join(map(str, sorted(priors)))}), each at every beta."
    return (
        "The paper ends on an open question, which priors do improve generalization. "
        "This study has one prior and does not ask it."
    )


def setting_names(analyses: Analyses, frame: pd.DataFrame) -> list[str]:
    """One name per row, in the columns that tell the study's settings apart."""
    return [setting_label(row, analyses.names) or "this study" for _, row in frame.iterrows()]

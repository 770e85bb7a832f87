"""The report's tables of analyses: which columns are shown, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from rdstudy.analysis import CRITERIA
from rdstudy.analysis.replicates import setting_label
from rdstudy.report import sentences
from rdstudy.report.analyses import Analyses
from rdstudy.report.chosen import best_beta_chosen, search_chosen
from rdstudy.report.claim_sentences import CRITERION_NAMES
from rdstudy.report.formatting import NOTHING, beta_range, interval, number, share, short
from rdstudy.storage.schema import TEST


@dataclass(frozen=True)
class Shown:
    """A table as it is printed: cells of text, and for each column whether it holds numbers."""

    name: str
    heading: str
    note: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: Sequence[bool]
    left_out: int = 0


MAX_ROWS = 200


def shown(
    name: str,
    heading: str,
    note: str,
    frame: pd.DataFrame,
    columns: dict[str, Callable[[pd.Series], str]],
    text: Sequence[str] = (),
    names: Sequence[str] = (),
) -> Shown:
    """A table of one row per row of the frame: its setting in the columns `names`, then the given columns."""
    names = [column for column in names if column in frame.columns]
    header, rows = list(columns), []
    if names:
        header = ["setting", *header]
    for _, row in frame.head(MAX_ROWS).iterrows():
        cells = [write(row) for write in columns.values()]
        rows.append([setting_label(row, names), *cells] if names else cells)
    numeric = [column not in ("setting", *text) for column in header]
    return Shown(name, heading, note, header, rows, numeric, left_out=max(len(frame) - MAX_ROWS, 0))


def tables(analyses: Analyses) -> Iterator[Shown]:
    """The report's tables in their order, without empty ones."""
    makers = (_search, _importance, _shapes, _best_beta, _saturation, _hypervolumes, _not_converged, _points)
    for maker in makers:
        made = maker(analyses)
        if made.rows:
            yield made


def _search(analyses: Analyses) -> Shown:
    search = analyses.search
    sought = (
        "" if search is None else f"{'Saturation' if search.metric == 'saturation' else CRITERION_OF[search.metric]}. "
    )
    ended = (
        "The search is not finished."
        if search is None or search.ended is None
        else f"The search ended by {search.ended}."
    )
    stopped = sentences.stopped(analyses)
    chosen = f"{search_chosen(analyses)} ".lstrip()
    return shown(
        "search_estimates",
        "The search's estimates",
        f"{sought}Posterior median of the beta that is sought, and its 95% interval. {chosen}{ended} {stopped}".strip(),
        analyses.search_estimates,
        {
            "beta": lambda r: short(r["beta"]),
            "95% interval": lambda r: beta_range(r["beta_low"], r["beta_high"]),
            **({"test nats there": lambda r: interval(r, "test")} if "test_nats" in analyses.search_estimates else {}),
            "cells": lambda r: str(r["n_cells"]),
        },
        names=[] if search is None else search.names,
    )


CRITERION_OF = {
    "test_distortion": "Best by test distortion",
    "test_elbo": "Best by test -ELBO",
    "test_nll": "Best by test NLL",
}


def _importance(analyses: Analyses) -> Shown:
    return shown(
        "search_importance",
        "What moves the frontier",
        "Share of each axis in what makes rate, and distortion, low (PED-ANOVA, Watanabe et al. 2023).",
        analyses.search_importance,
        {
            "axis": lambda r: r["axis"].replace("_", " "),
            "rate": lambda r: share(r["rate"]),
            "distortion": lambda r: share(r["distortion"]),
        },
        text=("axis",),
    )


def _shapes(analyses: Analyses) -> Shown:
    rows = analyses.shapes
    rows = rows[(rows["population"] == TEST) & (rows["criterion"] == CRITERIA[0])]
    one = analyses.unit.removesuffix("s")
    return shown(
        "shapes",
        "Shape of test distortion over beta",
        "Read from the largest beta to the smallest, decided with intervals; in brackets, where that is "
        "undecided, what the means look like. Fall: from the largest beta to the best smaller one. Rise: from the "
        f"best beta to the smallest one. Nats, 95% interval. The best beta is found for each {one} from the other "
        f"{analyses.unit}, so fall and rise are smaller than the means' differences. Least: the lowest mean.",
        rows,
        {
            "shape": lambda r: r["shape"] if r["shape"] != "undecided" else f"undecided ({r['shape_of_means']})",
            "fall": lambda r: interval(r, "fall"),
            "rise": lambda r: interval(r, "rise"),
            "least": lambda r: number(r["min_nats"]),
            "at beta": lambda r: short(r["min_beta"]),
            analyses.unit: lambda r: str(r["n_seeds"]),
        },
        text=("shape",),
        names=analyses.names,
    )


def _best_beta(analyses: Analyses) -> Shown:
    return shown(
        "best_beta",
        "Best beta by each criterion",
        "May be as good: the range of betas that are not worse than the best with 95% confidence. Edge: the "
        "best is the "
        f"smallest or largest beta of the grid, so a better one may lie beyond. {best_beta_chosen(analyses)}".rstrip(),
        analyses.best_beta,
        {
            "criterion": lambda r: CRITERION_NAMES[r["criterion"]],
            "best beta": lambda r: short(r["best_beta"]),
            "may be as good": lambda r: beta_range(r["beta_low"], r["beta_high"]),
            "test nats there": lambda r: number(r["best_nats"]),
            "edge": lambda r: "edge" if r["at_edge"] else "",
            analyses.unit: lambda r: str(r["n_seeds"]),
        },
        text=("criterion", "edge"),
        names=analyses.names,
    )


def _saturation(analyses: Analyses) -> Shown:
    rows = analyses.saturation[analyses.saturation["saturates"] != "not measured"]
    bounds: dict[str, Callable[[pd.Series], str]] = {}
    note = ""
    if rows["bounded"].any():
        note = " There: at the smallest beta, from lower to upper bound. Marginal KL: how it changes down to there."
        bounds = {
            "I there": lambda r: _between(r, "mi"),
            "marginal KL there": lambda r: _between(r, "marginal_kl"),
            "marginal KL": lambda r: r["marginal_kl_change"],
        }
    return shown(
        "saturation",
        "Saturation of the mutual information",
        "Between which betas of the grid the estimate of I comes within 0.1 nats of its ceiling log N, with 95% "
        f"confidence over {analyses.unit}. The estimate cannot exceed log N, whatever the code tells of its input. Not "
        "identified: bounds of I for the distribution are more than a nat apart from there down, or no upper bound but "
        f"the rate was measured.{note}",
        rows,
        {
            "population": lambda r: r["population"],
            "saturates": lambda r: "between" if r["saturates"] == "at" else r["saturates"],
            "betas": lambda r: beta_range(r["beta_low"], r["beta_high"]),
            "least log N - I": lambda r: f"{max(r['least_deficit_nats'], 0.0):.2f}",
            "R - I at the smallest beta": lambda r: number(r["marginal_kl_nats_last"]),
            **bounds,
        },
        text=("population", "saturates", "marginal KL"),
        names=analyses.names,
    )


def _between(row: pd.Series, name: str) -> str:
    if not row["bounded"]:
        return NOTHING
    return f"{number(row[f'{name}_lower_nats_last'])} to {number(row[f'{name}_upper_nats_last'])}"


def _hypervolumes(analyses: Analyses) -> Shown:
    rows = analyses.hypervolumes.sort_values(["dataset", "split", "population", "rank"], kind="stable")
    return shown(
        "hypervolumes",
        "Settings ranked by their whole curve",
        "Area between the lower hull of the curve and a reference point, the largest mean rate and "
        "distortion of the "
        "same data set, split and population; larger is better.",
        rows,
        {
            "population": lambda r: r["population"],
            "rank": lambda r: str(r["rank"]),
            "area (nats\u00b2)": lambda r: f"{r['hypervolume_nats2']:,.0f}",
            "interval": lambda r: (
                NOTHING
                if pd.isna(r["hypervolume_low"])
                else f"{r['hypervolume_low']:,.0f} to {r['hypervolume_high']:,.0f}"
            ),
        },
        text=("population",),
        names=analyses.names,
    )


def _not_converged(analyses: Analyses) -> Shown:
    rows = analyses.convergence
    rows = rows[(rows["converged"] != "yes") | (rows["slope_fits"].astype("boolean").fillna(True) == False)]  # noqa: E712
    return shown(
        "convergence",
        "Points that are not shown to be converged",
        "Regret: by how much the model of another beta is better at this beta's own objective D + beta R on the "
        f"training set; converged is no where that is so with confidence, undecided where the {analyses.unit} cannot "
        "tell. Slope: "
        "-dD/dR to the next smaller beta, which should lie between the two.",
        rows.sort_values("regret_nats", ascending=False, kind="stable"),
        {
            "beta": lambda r: short(r["beta"]),
            "regret (nats)": lambda r: interval(r, "regret"),
            "converged": lambda r: r["converged"],
            "slope": lambda r: short(r["slope"]),
            "should lie in": lambda r: beta_range(r["beta_next"], r["beta"]),
        },
        text=("converged",),
        names=analyses.names,
    )


def _points(analyses: Analyses) -> Shown:
    return shown(
        "frontier",
        "Every point of every curve",
        f"Means over {analyses.unit} with 95% intervals, nats per example, from the largest beta to the smallest. "
        "Hull: on the lower convex hull of its curve. Dominated: another point of its curve has no more rate and "
        "distortion. "
        f"{sentences.UNRELIABLE_MARK} before an NLL: its importance weights are unreliable; it may be far too high.",
        analyses.frontier,
        {
            "population": lambda r: r["population"],
            "beta": lambda r: short(r["beta"]),
            "rate": lambda r: interval(r, "rate"),
            "distortion": lambda r: interval(r, "distortion"),
            "-ELBO": lambda r: interval(r, "negative_elbo"),
            "NLL": lambda r: (f"{sentences.UNRELIABLE_MARK} " if r["nll_unreliable"] else "") + interval(r, "nll"),
            "place": lambda r: "hull" if r["on_hull"] else "dominated" if r["dominated"] else "",
            analyses.unit: lambda r: str(r["n_seeds"]),
        },
        text=("population", "place"),
        names=analyses.names,
    )

"""Figures over beta: test criteria, generalization gap, mutual information, and the best beta."""

from __future__ import annotations

from functools import partial

import pandas as pd

from rdstudy.analysis import CRITERIA, setting_label, varying
from rdstudy.report import figures, sentences
from rdstudy.report.analyses import Analyses
from rdstudy.report.drawings.selection import (
    MAX_MINOR_PANELS,
    MAX_PANELS,
    MAX_SETTINGS,
    curve_text,
    evenly,
    left_out,
    of,
    same_setting,
    settings_of,
)
from rdstudy.report.drawings.spec import FigureSpec, Panel
from rdstudy.report.figures.panels import CAPACITY
from rdstudy.report.information_sentences import bounds_sentence, saturation_sentence
from rdstudy.storage.schema import TEST, TRAIN

_CRITERION_CAPTIONS = {
    "distortion_nats": "Test distortion against beta",
    "negative_elbo_nats": "Test -ELBO (distortion + rate, whatever beta was trained with) against beta",
    "nll_nats": "Test NLL, an importance-weighted upper bound in expectation, against beta",
    "refit_distortion_nats": "Test distortion with the best posterior of each example (the decoder's own) against beta",
}
_CRITERION_HEADINGS = {
    "distortion_nats": "Generalization: test distortion",
    "negative_elbo_nats": "Generalization: test -ELBO",
    "nll_nats": "Generalization: test NLL",
    "refit_distortion_nats": "Generalization: refitted test distortion",
}


def criterion(analyses: Analyses, name: str) -> FigureSpec:
    """A test criterion over beta, in the panels of the figure of rate and distortion."""
    spread = figures.panels(analyses.frontier)
    most = MAX_PANELS if name == CRITERIA[0] else MAX_MINOR_PANELS
    panels = []
    for title, rows in evenly(list(spread.rows.items()), most):
        measured = rows[(rows["population"] == TEST) & rows[name].notna()]
        if measured["beta"].nunique() < 2:
            continue
        alt = f"{_CRITERION_CAPTIONS[name]}{of(title)}. {curve_text(rows, name)}"
        panels.append(Panel(partial(figures.criterion, rows, name, marks=spread.marks, title=title), alt))
    caption = (
        f"{_CRITERION_CAPTIONS[name]}, large to small, with its 95% band over {analyses.unit}; the ring marks the best "
        "beta. "
        f"{sentences.shape_sentence(analyses, name)}{sentences.reliability_sentence(analyses, name)}"
        f"{left_out(len(spread.rows), most, 'panels')}"
    )
    stem = name.removesuffix("_nats")
    return FigureSpec(f"criterion_{stem}", _CRITERION_HEADINGS[name], caption, panels, minor=name != CRITERIA[0])


def gap(analyses: Analyses) -> FigureSpec:
    """The generalization gap in distortion over beta."""
    gaps = analyses.gaps[analyses.gaps["criterion"] == CRITERIA[0]]
    spread = figures.panels(gaps)
    panels = []
    for title, rows in evenly(list(spread.rows.items()), MAX_MINOR_PANELS):
        low, high = rows["gap_nats"].min(), rows["gap_nats"].max()
        alt = f"Generalization gap in distortion{of(title)}: from {low:.5g} to {high:.5g} nats."
        panels.append(Panel(partial(figures.gap, rows, marks=spread.marks, title=title), alt))
    caption = (
        f"Test minus train distortion, within each {analyses.unit.removesuffix('s')}, with its 95% band. "
        f"{sentences.gap_sentence(analyses)}{left_out(len(spread.rows), MAX_MINOR_PANELS, 'panels')}"
    )
    return FigureSpec("gap", "Generalization gap", caption, panels, minor=True)


def saturation(analyses: Analyses) -> FigureSpec:
    """Rate, mutual information and marginal KL over beta, one setting a panel."""
    record = analyses.information
    population = TRAIN if (record["population"] == TRAIN).any() else TEST
    record = record[record["population"] == population]
    settings = settings_of(record)
    panels = []
    for title, rows in evenly(settings, MAX_SETTINGS):
        points = same_setting(analyses.frontier, rows.iloc[0])
        found = same_setting(analyses.saturation, rows.iloc[0])
        found = found[found["population"] == population]
        alt = (
            f"Rate, mutual information, its ceiling and marginal KL against beta{of(title)}. "
            f"{saturation_sentence(found)} {_bounds_in(found)}".rstrip()
        )
        panels.append(Panel(partial(figures.saturation, rows, points, found, title=title), alt))
    bands = ""
    if analyses.saturation["bounded"].any():
        bands = (
            "The wide bands run from the lower bound of I, and of the marginal KL, to the upper one, both for the "
            "distribution of the examples. "
        )
    caption = (
        f"Above: rate R, mutual information I on the {'training' if population == TRAIN else 'test'} set, its ceiling "
        f"log N and the marginal KL(q(z) || p(z)) = R - I. {bands}Below: test distortion over the same axis. The grey "
        "band runs from the smallest beta where I is shown to be more than 0.1 nats below its ceiling to the largest "
        f"where it is shown not to be. {saturation_sentence(analyses.saturation)} "
        f"{bounds_sentence(analyses.saturation)}".rstrip()
        + left_out(len(settings), MAX_SETTINGS, "settings")
    )
    return FigureSpec("saturation", "Saturation of the mutual information", caption, panels, minor=True)


def _bounds_in(found: pd.DataFrame) -> str:
    return bounds_sentence(found) if found["bounded"].any() else ""


def best_beta(analyses: Analyses) -> FigureSpec:
    """The beta with the lowest test distortion over capacity and amount of training data."""
    record = analyses.best_beta
    record = record[record["criterion"] == CRITERIA[0]]
    betas = list(record["best_beta"])
    by_panel = [name for name in varying(record) if name not in (*CAPACITY, "train_size")]
    panels = []
    if len(record) > 1:
        groups = [((), record)] if not by_panel else list(record.groupby(by_panel, dropna=False, sort=True))
        for _, rows in evenly(groups, MAX_MINOR_PANELS):
            title = setting_label(rows.iloc[0], by_panel)
            alt = "; ".join(
                f"{name}: best beta {beta:g}"
                for name, beta in zip(sentences.setting_names(analyses, rows), rows["best_beta"], strict=True)
            )
            panels.append(Panel(partial(figures.best_beta, rows, title=title, betas=betas), alt))
    caption = (
        "The beta of the grid with the lowest test distortion, over capacity and amount of training data; under it the "
        f"betas that cannot be told from the best (95%). {sentences.best_sentence(analyses)}"
    )
    return FigureSpec("best_beta", "The best beta", caption, panels, minor=True)

"""A search as tables: cells tried, estimates with curves, and the importance of each axis."""

from __future__ import annotations

import warnings

import numpy as np
import optuna
import pandas as pd

from rdstudy.analysis.search_tables import KNOWN, SearchTables
from rdstudy.execution.search.outcome import Outcome
from rdstudy.execution.search.search import NOT_SETTINGS, Curves, Search
from rdstudy.storage.schema import TEST, VALIDATION
from rdstudy.study import Study

MIN_FOR_IMPORTANCE = 20
"""With fewer cells, shares of importance would be noise."""


def summarise(search: Search, outcomes: dict[str, Outcome]) -> SearchTables:
    """The tables of a search, from the outcomes so far."""
    batch_of = {cell.id: n for n, batch in enumerate(search.batches) for cell in batch}
    hypervolume: dict[str, float] = {}
    if not isinstance(search.seeker, Curves):
        observed = [cell.id for cell, _, _ in search.seeker.observations]
        hypervolume = dict(zip(observed, search.seeker.progress(), strict=True))
    tried = []
    for cell_id, cell in search.cells.items():
        outcome = search.known[cell_id][1] if cell_id in search.known else search.seen(cell_id, outcomes)
        if outcome is None:
            continue
        row: dict[str, object] = {"batch": batch_of.get(cell_id, KNOWN), "cell_id": cell_id, "failed": outcome.failed}
        row["stopped"] = outcome.stopped
        row |= {name: getattr(cell, name) for name in (*_axes(search), "beta", "seed", "data_seed")}
        if isinstance(search.seeker, Curves):
            row["value"] = outcome.criterion(search.spec)
        else:
            row |= {"rate_nats": outcome.rate, "distortion_nats": outcome.distortion}
            row["hypervolume_nats2"] = hypervolume.get(cell_id)
        tried.append(row)
    estimates, curves = _estimates(search)
    of = "saturation" if search.spec.goal == "saturation" else search.spec.metric
    return SearchTables(
        tried=pd.DataFrame(tried),
        estimates=estimates,
        curves=curves,
        importance=_importance(search),
        metric=of,
        ended=search.ended,
        chosen_on=chosen_on(search.study),
    )


def chosen_on(study: Study) -> str:
    """The population on which a search of this study chooses."""
    return VALIDATION if study.dataset.validation_size else TEST


def _axes(search: Search) -> list[str]:
    """Axes that vary within the search, without beta and seed."""
    listed = [name for name, values in search.study.grid if len(values) > 1 and name not in NOT_SETTINGS]
    return [*listed, *(name for name in search.spec.varied if name != "beta")]


def _estimates(search: Search) -> tuple[pd.DataFrame, pd.DataFrame]:
    if not isinstance(search.seeker, Curves):
        return pd.DataFrame(), pd.DataFrame()
    estimates, curves = [], []
    for setting, curve in search.seeker.curves.items():
        names = {name: value for name, value in setting.axes if name in _axes(search)}
        found = curve.estimate()
        if found is None:
            continue
        row = {**names, "beta": found.beta, "beta_low": found.low, "beta_high": found.high, "n_cells": found.points}
        judged = curve.judged(found.beta)
        if judged is not None:
            row |= {"test_nats": judged.nats, "test_low": judged.low, "test_high": judged.high}
        estimates.append(row)
        betas, drawn = curve.posterior()
        low, median, high = np.quantile(drawn, [0.025, 0.5, 0.975], axis=0)
        curves.append(pd.DataFrame({**names, "beta": betas, "median": median, "low": low, "high": high}))
    return pd.DataFrame(estimates), pd.concat(curves, ignore_index=True) if curves else pd.DataFrame()


def _importance(search: Search) -> pd.DataFrame:
    """Shares by PED-ANOVA (Watanabe et al. 2023), Optuna's."""
    if isinstance(search.seeker, Curves) or len(search.seeker.observations) < MIN_FOR_IMPORTANCE:
        return pd.DataFrame()
    record = search.seeker.record
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that it is about low values, which are wanted here
        shares = {
            name: optuna.importance.get_param_importances(
                record,
                evaluator=optuna.importance.PedAnovaImportanceEvaluator(),
                target=lambda trial, k=k: trial.values[k],
            )
            for k, name in enumerate(("rate", "distortion"))
        }
    axes = list(search.seeker.space)
    return pd.DataFrame({"axis": axes, **{name: [share.get(axis) for axis in axes] for name, share in shares.items()}})

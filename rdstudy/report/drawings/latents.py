"""The figure of the latents: the rate of each, and images along the most informative ones."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd

from rdstudy.analysis import CRITERIA
from rdstudy.errors import UserError
from rdstudy.report import figures
from rdstudy.report.analyses import Analyses
from rdstudy.report.drawings.selection import evenly, of, same_setting, settings_of
from rdstudy.report.drawings.spec import FigureSpec, Panel
from rdstudy.report.formatting import number
from rdstudy.report.latents import Traversal, has_weights, measured_rates, traverse
from rdstudy.storage.paths import StoragePath

MAX_SETTINGS = 2

_HEADING = "What each latent carries"


def latents(analyses: Analyses, results: StoragePath) -> FigureSpec:
    """Rates and traversals at the best beta and the next larger one; nothing where no weights are stored."""
    found = [(title, _cells(analyses, results, rows)) for title, rows in settings_of(analyses.frontier)]
    found = [(title, cells) for title, cells in found if cells]
    panels: list[Panel] = []
    examples = 0
    try:
        for title, cells in evenly(found, MAX_SETTINGS):
            seen = {
                beta: traversal
                for beta, cell_id in cells.items()
                if (traversal := traverse(results, cell_id, measured_rates(analyses.table, cell_id))) is not None
            }
            panels += _panels(title, seen)
            examples = max([examples, *(traversal.examples for traversal in seen.values())])
    except ImportError:
        return _missing("this needs PyTorch, which is not installed here.")
    except UserError as error:
        return _missing(f"{error}.")
    over = f"the {examples} stored images" if examples else "the test set"
    caption = (
        "The best beta by test distortion and the next larger one, of the first seed. Curves: the rate of each latent "
        "dimension, KL(q(z|x) || p(z)) or, under a prior that does not divide into latents, half "
        f"log(1 + Var[mean] / E[std\u00b2]); mean over {over}, largest first. Images: one test example "
        "decoded with one latent at a time set to the value "
        "below, in standard deviations of the prior, the others at its posterior mean."
        + (f" {MAX_SETTINGS} of {len(found)} settings are shown." if len(found) > MAX_SETTINGS else "")
    )
    return FigureSpec("traversals", _HEADING, caption, panels, minor=True)


def _missing(why: str) -> FigureSpec:
    return FigureSpec("traversals", _HEADING, f"Not drawn: {why}", [], minor=True, missing=True)


def _panels(title: str, seen: dict[float, Traversal]) -> Iterator[Panel]:
    if not seen:
        return
    rates = {beta: one.rates_nats for beta, one in seen.items()}
    said = "; ".join(
        f"beta {beta:g}: {', '.join(number(value) for value in -np.sort(-values))}" for beta, values in rates.items()
    )
    yield Panel(partial(figures.latent_rates, rates, title=title), f"Rate of each latent in nats{of(title)}. {said}.")
    for beta, one in seen.items():
        name = f"{title}, \u03b2 = {beta:g}" if title else f"\u03b2 = {beta:g}"
        named = [f"z{d + 1}: {number(one.rates_nats[d])} nats" for d in one.latents]
        columns = {float(value): one.images[:, k] for k, value in enumerate(one.values)}
        yield Panel(
            partial(figures.traversal_grid, columns, named, title=name),
            f"A test example decoded along the latents {', '.join(named)}{of(name)}.",
        )


def _cells(analyses: Analyses, results: StoragePath, rows: pd.DataFrame) -> dict[float, str]:
    """The cells with weights at the best beta and the next larger one (or smaller, where there is none)."""
    best = same_setting(analyses.best_beta, rows.iloc[0])
    best = best[best["criterion"] == CRITERIA[0]]
    betas = sorted(rows["beta"].unique())
    if not betas:
        return {}
    k = betas.index(best["best_beta"].iloc[0]) if len(best) and best["best_beta"].iloc[0] in betas else 0
    wanted = betas[k : k + 2] if k + 1 < len(betas) else betas[-2:]
    finished = analyses.cells[analyses.cells["status"] == "ok"]
    names = [name for name in rows.columns.intersection(finished.columns) if name in analyses.names]
    finished = same_setting(finished, rows.iloc[0], names).sort_values("seed")
    found = {}
    for beta in sorted(wanted, reverse=True):
        there = [one for one in finished.loc[finished["beta"] == beta, "cell_id"].head(1) if has_weights(results, one)]
        if there:
            found[float(beta)] = str(there[0])
    return found

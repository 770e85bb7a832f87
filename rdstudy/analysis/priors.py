"""Other priors against the standard normal, at each beta.

The question on which Bozkurt et al. (2021) end: does another prior improve generalization? A prior that is fitted with
the model changes the rate; so where beta is the same, the models may trade rate for distortion differently, and the
-ELBO says what is left of it. What each prior reaches at its own best beta is in `best_beta`, without a verdict:
choosing a beta for each prior from its own replicates gave false verdicts in 4 to 7% of simulated studies, not 2.5%.

A prior that was fitted ex post, to the codes of models with the standard normal, is compared likewise: distortion is
then the same, and the gain on the -ELBO is what the standard normal costs those very models. A density fitted to the
training codes may be very small at single others. No verdict is given at a beta where a single test example takes more
than the margin off some mean: in simulated studies with such tails and no gain "better" came out in 60%, because most
replicates do not show the tail.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd

from rdstudy.analysis.axis_pairs import differing_in, gains_at_each_beta
from rdstudy.analysis.claims import COLUMNS, Question, judge, unreliable
from rdstudy.analysis.ex_post import CHANGED, REFERENCE, SUFFIX, with_ex_post_priors
from rdstudy.analysis.paired import Differences
from rdstudy.analysis.replicates import CRITERIA, SETTING, TEST, Replicates, replicates
from rdstudy.analysis.verdicts import MARGIN_NATS


def priors(
    table: pd.DataFrame | Sequence[Replicates],
    *,
    margin_nats: float = MARGIN_NATS,
    planned_seeds: int | None = None,
) -> pd.DataFrame:
    """Is a prior better or worse than the standard normal at the same beta, on the test set?

    Cells that differ in prior and beta alone share their random numbers, so differences are within a seed. Holm's
    correction runs over all settings and betas of one prior and criterion: the verdicts are about each prior alone.

    Args:
        table, margin_nats, planned_seeds: as for `claims`.

    Returns:
        One row per setting with another prior, criterion and beta: the setting's columns with its own prior (`flow(4)
        ex post` where it was fitted after training), `criterion beta`; `difference_nats low_nats high_nats`, positive
        where the prior is better than the standard normal; `margin_nats verdict look looks seeds reason`, not
        measurable where either NLL is unreliable, or where a single example decides. No rows of distortion for a prior
        fitted ex post, which does not change it; no rows without the standard normal beside another prior.
    """
    settings = replicates(with_ex_post_priors(table) if isinstance(table, pd.DataFrame) else table)
    pairs = [
        (reference, other)
        for group in differing_in(settings, "prior")
        for reference in group
        if reference.setting["prior"] == REFERENCE
        for other in group
        if other is not reference
    ]
    names = sorted({str(other.setting["prior"]) for _, other in pairs})
    rows: list[dict[str, object]] = []
    for criterion, name in product(CRITERIA, names):  # priors share their reference: they lend each other no noise
        if name.endswith(SUFFIX) and criterion not in CHANGED:
            continue
        decided = _decided_by_one(name, pairs, margin_nats)
        questions = [
            Question(
                other,
                criterion,
                margin_nats,
                beta,
                Differences([beta], gained[:, None]),
                beta,
                unasked=unreliable(other, criterion, [beta])
                or unreliable(reference, criterion, [beta])
                or decided.get(beta, ""),
            )
            for reference, other in pairs
            if other.setting["prior"] == name
            for beta, gained in gains_at_each_beta(reference, other, criterion)
        ]
        judged = zip(questions, judge(questions, planned_seeds), strict=True)
        rows += [{**row, "beta": asked.smaller_beta} for asked, row in judged]
    columns = [name for name in COLUMNS if name not in (*SETTING, "reference_beta", "chosen_on")]
    return pd.DataFrame(rows, columns=[*SETTING, *columns])


def _decided_by_one(name: str, pairs: Sequence[tuple[Replicates, Replicates]], margin_nats: float) -> dict[float, str]:
    """By beta, why a prior fitted ex post is not judged there in any setting: the tail shows in few replicates."""
    most: dict[float, float] = {}
    for _, other in pairs:
        if other.setting["prior"] == name:
            taken = np.nan_to_num(other.of(TEST, "ex_post_one_example_nats"), nan=0.0).max(axis=0)
            for beta, nats in zip(other.betas, taken, strict=True):
                most[float(beta)] = max(float(nats), most.get(float(beta), 0.0))
    return {
        beta: f"a single test example takes up to {nats:.1f} nats off a mean at beta = {beta:g}"
        for beta, nats in most.items()
        if nats > margin_nats
    }

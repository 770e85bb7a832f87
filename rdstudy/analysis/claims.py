"""The three claims of Bozkurt et al. (2021), put to a study's own results, setting by setting.

    lowering_beta          lowering beta improves generalization in most settings
    underfitting           reducing the mutual information costs more test distortion than it closes of the gap
    beyond_saturation      generalization keeps improving after the mutual information has saturated

Each is one difference in nats per setting, from a reference beta to a smaller one and within a seed, in which a
positive number speaks for the smaller beta and so for the claim. The verdicts are those of `verdicts`: better, worse,
equivalent, open, or not measurable. The third is not measurable where the mutual information is not identified: where
its bounds (`identification`) are more than a nat apart at the beta at which its estimate reaches log N, or below it.
`claims_summary` says in how many settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rdstudy.analysis.contrasts import MIN_SEEDS, Contrasts
from rdstudy.analysis.identification import information_ranges, widest
from rdstudy.analysis.intervals import mean_interval
from rdstudy.analysis.looks import look_reached, looks_of
from rdstudy.analysis.paired import Differences, compare, to_reference
from rdstudy.analysis.replicates import CRITERIA, SETTING, TEST, TRAIN, VALIDATION, Replicates, averaged, replicates
from rdstudy.analysis.saturation import (
    DEFICIT_NATS,
    bracket,
    deficits_of,
    informed_population,
)
from rdstudy.analysis.verdicts import MARGIN_NATS, NOT_MEASURABLE, OPEN, verdicts

CLAIMS = {
    "lowering_beta": "Lowering beta improves generalization in most settings.",
    "underfitting": "Reducing the mutual information raises test distortion by at least what it closes of the gap.",
    "beyond_saturation": "Generalization keeps improving after the mutual information has saturated.",
}

REDUCED_NATS = 1.0
"""Mutual information is "well below its ceiling" at this deficit log N - I and beyond: a code then confuses its example
with two others on average."""

MAX_UNRELIABLE_SHARE = 0.05
"""An NLL for which the importance weights of more examples than this are unreliable is marked and not judged."""

UNIDENTIFIED = "the mutual information is not identified"
"""How the reason begins why the third claim cannot be asked where bounds of I are more than a nat apart."""

OTHER_SEEDS, VALIDATION_IMAGES, GIVEN = "other seeds", "validation images of other seeds", "given"


@dataclass(frozen=True)
class Question:
    """What one claim asks of one setting; or why it cannot be asked."""

    setting: Replicates
    criterion: str
    margin: float
    reference_beta: float = float("nan")
    differences: Differences | None = None
    smaller_beta: float | None = None
    """The beta compared, where it was given and not chosen."""
    unasked: str = ""


def claims(
    table: pd.DataFrame | Sequence[Replicates],
    *,
    margin_nats: float = MARGIN_NATS,
    margin_share: float | None = None,
    reference_beta: float = 1.0,
    planned_seeds: int | None = None,
    deficit_nats: float = DEFICIT_NATS,
) -> pd.DataFrame:
    """A verdict on each claim in each setting, from every criterion that was measured.

    Args:
        table: rows as `rdstudy.load_measurements` gives them.
        margin_nats: smallest difference of interest.
        margin_share: instead, as a share of the range of the setting's mean curve over beta, e.g. 0.02.
        reference_beta: where lowering starts; where it is not in the grid, the nearest beta.
        planned_seeds: seeds the study will have at most, if verdicts are looked at before; they are then reached at 3,
            6, 12 and 20 seeds, each at its own level (`looks`), and seeds after the last look reached are not used.
            By default the seeds that there are. Adding seeds because a verdict is open, without such a plan, raises
            the rate of false verdicts.
        deficit_nats: the mutual information is saturated where log N - I is at most this.

    Returns:
        One row per claim, setting and criterion (test distortion, -ELBO and NLL where measured; `underfitting` is
        about distortion only): `claim`, the setting's columns, `criterion`; `beta`, the smaller beta whose gain over
        `reference_beta` is reported, `chosen_on` what it was chosen; `difference_nats` of the means, positive where
        the smaller beta is better; `low_nats high_nats`, the 95% interval of the best smaller beta's gain;
        `margin_nats`; `verdict`; `look` of `looks`, 0 where none is reached; `seeds` used; `reason` of an open
        verdict or of one that is not measurable.
    """
    settings = replicates(table)

    def margin(setting: Replicates, criterion: str) -> float:
        if margin_share is None:
            return margin_nats
        means = mean_interval(setting.of(TEST, criterion)).mean
        return margin_share * float(np.ptp(means[np.isfinite(means)])) if np.isfinite(means).any() else margin_nats

    rows: list[dict[str, Any]] = []
    for claim in CLAIMS:
        for criterion in CRITERIA[:1] if claim == "underfitting" else CRITERIA:
            if criterion != CRITERIA[0] and not any(s.measured(TEST, criterion) for s in settings):
                continue
            questions = []
            for setting in settings:
                size = margin(setting, criterion)
                if claim == "lowering_beta":
                    asked = _lowering_beta(setting, criterion, size, reference_beta)
                elif claim == "underfitting":
                    asked = _underfitting(setting, size, reference_beta, deficit_nats)
                else:
                    asked = _beyond_saturation(setting, criterion, size, deficit_nats)
                questions.append(asked)
            rows += [{"claim": claim, **row} for row in judge(questions, planned_seeds)]
    return pd.DataFrame(rows, columns=["claim", *COLUMNS])


COLUMNS = [
    *SETTING,
    "criterion",
    "beta",
    "reference_beta",
    "chosen_on",
    "difference_nats",
    "low_nats",
    "high_nats",
    "margin_nats",
    "verdict",
    "look",
    "looks",
    "seeds",
    "reason",
]


def _lowering_beta(setting: Replicates, criterion: str, margin: float, reference: float) -> Question:
    there = np.flatnonzero(np.isfinite(setting.of(TEST, criterion)).any(axis=0))
    if len(there) < 2:
        return Question(setting, criterion, margin, unasked="fewer than two betas were measured on the test set")
    start = nearest_beta(setting, there[:-1], reference)  # the smallest beta has none below it
    return _below(setting, criterion, margin, start)


def _below(setting: Replicates, criterion: str, margin: float, start: int) -> Question:
    """Is some beta below the one at `start` better on the test set?"""
    beta = float(setting.betas[start])
    values = setting.cells(TEST, criterion)
    choose = setting.cells(VALIDATION, criterion) if setting.measured(VALIDATION, criterion) else None
    found = to_reference(values, setting.betas, start, range(start + 1, len(setting.betas)), choose)
    if not found.points:
        why = f"no seed was measured both at beta = {beta:g} and at a smaller one"
        return Question(setting, criterion, margin, beta, unasked=why)
    why = unreliable(setting, criterion, [beta, *found.points])
    return Question(setting, criterion, margin, beta, found, unasked=why)


def _underfitting(setting: Replicates, margin: float, reference: float, deficit: float) -> Question:
    criterion = CRITERIA[0]
    population = informed_population(setting)
    if population is None:
        return Question(setting, criterion, margin, unasked="the mutual information was not measured")
    deficits = mean_interval(deficits_of(setting, population)).mean
    usable = np.isfinite(deficits) & np.isfinite(setting.of(TEST, criterion) + setting.of(TRAIN, criterion)).any(axis=0)
    if not usable.any():
        why = "distortion was not measured on train and test where the mutual information was"
        return Question(setting, criterion, margin, unasked=why)
    saturated, _ = bracket(setting.betas, deficits_of(setting, population), deficit)
    within = np.flatnonzero(usable & (setting.betas <= saturated))
    end = int(within[0]) if len(within) else int(np.nanargmin(np.where(usable, deficits, np.nan)))
    reduced = [int(k) for k in np.flatnonzero(usable) if deficits[k] >= REDUCED_NATS and k < end]
    if not reduced:
        above = deficits[:end][usable[:end]]
        most = f" (at most {above.max():.2f})" if len(above) else ""
        why = (
            f"the mutual information is nowhere {REDUCED_NATS:g} nats or more below its ceiling{most} at a beta above "
            f"{setting.betas[end]:g}"
        )
        return Question(setting, criterion, margin, unasked=why)
    start = nearest_beta(setting, reduced, reference)
    test, train = setting.cells(TEST, criterion), setting.cells(TRAIN, criterion)
    gap = test - train
    # Training distortion cannot rise as beta falls, if training converged; the question is what the test set gains.
    gained = averaged((test[..., start] - test[..., end]) - (gap[..., end] - gap[..., start]))
    if not np.isfinite(gained).any():
        why = f"no seed was measured at beta = {setting.betas[start]:g} and {setting.betas[end]:g} on train and test"
        return Question(setting, criterion, margin, unasked=why)
    found = Differences([0.0], gained[:, None])
    return Question(setting, criterion, margin, float(setting.betas[start]), found, float(setting.betas[end]))


def _beyond_saturation(setting: Replicates, criterion: str, margin: float, deficit: float) -> Question:
    population = informed_population(setting)
    if population is None:
        return Question(setting, criterion, margin, unasked="the mutual information was not measured")
    deficits = deficits_of(setting, population)
    beta, _ = bracket(setting.betas, deficits, deficit)
    if beta == 0:
        least = float(np.nanmin(mean_interval(deficits).mean))
        why = (
            f"at no beta is the mutual information shown to be within {deficit:g} nats of its ceiling (the least mean "
            f"deficit is {least:.2f})"
        )
        return Question(setting, criterion, margin, unasked=why)
    widest_range = widest(information_ranges(setting, population), beta)
    if widest_range is not None and not widest_range.identified:
        between = f"{widest_range.mi_lower:.1f} and {widest_range.mi_upper:.1f} nats"
        why = f"{UNIDENTIFIED} at beta = {widest_range.beta:g}: it lies between {between}"
        if not widest_range.bounded:
            why += ", the rate, as no closer bound was measured"
        return Question(setting, criterion, margin, beta, unasked=why)
    return _below(setting, criterion, margin, int(np.flatnonzero(setting.betas == beta)[0]))


def nearest_beta(setting: Replicates, among: Sequence[int] | np.ndarray, beta: float) -> int:
    """Index of the beta nearest to `beta` on a logarithmic axis, among these indices."""
    distance = np.abs(np.log(np.maximum(setting.betas[among], 1e-300) / beta))
    return int(among[int(np.argmin(distance))])


def unreliable(setting: Replicates, criterion: str, betas: Sequence[float]) -> str:
    """Why the NLL may not be judged at these betas; empty where it may."""
    if criterion != "nll_nats":
        return ""
    shares = mean_interval(setting.of(TEST, "nll_unreliable_share")).mean
    shares = np.where(np.isin(setting.betas, betas), shares, np.nan)
    if not np.isfinite(shares).any() or np.nanmax(shares) <= MAX_UNRELIABLE_SHARE:
        return ""
    worst = int(np.nanargmax(shares))
    return (
        f"the importance weights of {shares[worst]:.0%} of the examples are unreliable at beta = "
        f"{setting.betas[worst]:g} (allowed: {MAX_UNRELIABLE_SHARE:.0%})"
    )


def judge(questions: Sequence[Question], planned_seeds: int | None) -> list[dict[str, Any]]:
    """A row for every question: all that are asked lend each other their noise, and share the rate of errors."""
    rows = [
        {
            **asked.setting.setting,
            "criterion": asked.criterion,
            "reference_beta": asked.reference_beta,
            "margin_nats": asked.margin,
            "verdict": NOT_MEASURABLE,
            "look": 0,
            "looks": 0,
            "seeds": 0,
            "reason": asked.unasked,
        }
        for asked in questions
    ]
    open_to = [k for k, asked in enumerate(questions) if asked.differences is not None and not asked.unasked]
    used, looks, reached = [], [], []
    for k in open_to:
        differences = questions[k].differences
        assert differences is not None
        own = looks_of(differences.seeds if planned_seeds is None else planned_seeds)
        look = look_reached(differences.seeds, own)
        used.append(differences.first(own[look - 1] if look else differences.seeds))
        looks.append(own)
        reached.append(look if used[-1].seeds >= MIN_SEEDS else 0)
    if not open_to:
        return rows
    found, points = compare(used)
    margins = np.array([questions[k].margin for k in open_to])
    said = verdicts(found, margins, looks, np.array(reached))
    low, high = found.interval()
    for at, k in enumerate(open_to):
        asked = questions[k]
        choice = VALIDATION_IMAGES if used[at].choose is not None else OTHER_SEEDS
        single = asked.smaller_beta is not None or len(used[at].points) == 1
        rows[k] |= {
            "beta": points[int(found.best[at])] if asked.smaller_beta is None else asked.smaller_beta,
            "chosen_on": GIVEN if single else choice,
            "difference_nats": float(found.difference[at]),
            "low_nats": float(low[at]),
            "high_nats": float(high[at]),
            "verdict": str(said[at]),
            "look": reached[at],
            "looks": len(looks[at]),
            "seeds": int(found.seeds[at]),
            "reason": _why_open(found, at, asked, low[at], high[at]) if said[at] == OPEN else "",
        }
    return rows


def _why_open(found: Contrasts, at: int, asked: Question, low: float, high: float) -> str:
    margin, unit = asked.margin, asked.setting.unit
    if found.seeds[at] < MIN_SEEDS:
        return f"fewer than {MIN_SEEDS} {unit}"
    if not np.isfinite(low):
        return f"a beta has fewer than two {unit}"
    if low > 0 or high < 0 or (low > -margin and high < margin):
        return "the interval alone would decide, but not at the level left for this look and this many settings"
    if high < margin:
        return f"a gain of {margin:g} nats is excluded, but a loss is not shown"
    return "the interval is too wide"

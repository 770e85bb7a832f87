"""Whether a study reproduces the published figure: a verdict on each prediction, and on each of its conditions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rdstudy.analysis.contrasts import MIN_SEEDS
from rdstudy.analysis.intervals import mean_interval
from rdstudy.analysis.published.conditions import AT_LEAST, STATEMENTS, Condition, conditions
from rdstudy.analysis.published.setups import CHECKERBOARD, SETUP, Setup, setups
from rdstudy.analysis.replicates import SEEDS, Replicates, replicates

REPRODUCED, NOT_REPRODUCED, OPEN, NOT_IN_STUDY = "reproduced", "not reproduced", "open", "not in this study"

_GRAVITY = (NOT_REPRODUCED, NOT_IN_STUDY, OPEN, REPRODUCED)  # a prediction has the verdict of its worst condition
_BOTH_SIDES = 0.9  # its ends are the two one-sided 95% bounds


def published_conditions(table: pd.DataFrame | Sequence[Replicates], published: pd.DataFrame) -> pd.DataFrame:
    """Every condition of P1 to P5 (`conditions`), tested on the study's seeds.

    Args:
        table: rows as `rdstudy.load_measurements` gives them, or their replicates.
        published: what `published_curves` returns, for the published values.

    Returns:
        One row per setup and condition: the setup's columns; `id condition`; `published_nats`, the same contrast of
        the published points (NaN where there is none at these betas); `effect_nats` with its 90% interval over seeds
        `effect_low effect_high` (its ends are the bounds of the one-sided tests at 5%); `side threshold_nats`;
        `n_seeds`; `verdict` (`reproduced`, `not reproduced`, `open`, `not in this study`) and its `reason`.
    """
    read = [condition for condition in conditions(_published_setup(published)) if len(condition.effects)]
    theirs = {(condition.prediction, condition.says): float(np.mean(condition.effects)) for condition in read}
    rows = []
    for setup in setups(replicates(table)) or [Setup(dict.fromkeys(SETUP), {})]:
        for condition in conditions(setup):
            value = theirs.get((condition.prediction, condition.says), np.nan)
            rows.append({**setup.names, **_tested(condition, setup.unit), "published_nats": value})
    columns = [*SETUP, "id", "condition", "published_nats", "effect_nats", "effect_low", "effect_high"]
    return pd.DataFrame(rows, columns=[*columns, "side", "threshold_nats", "n_seeds", "verdict", "reason"])


def published_predictions(table: pd.DataFrame | Sequence[Replicates], published: pd.DataFrame) -> pd.DataFrame:
    """One verdict for each of P1 to P5: that of its worst condition, of which the row gives the numbers.

    If all conditions hold, the numbers are those of the first.

    Args:
        table: rows as `rdstudy.load_measurements` gives them, or their replicates.
        published: what `published_curves` returns.

    Returns:
        One row per setup and prediction, the columns of `published_conditions` after `statement`. A prediction is
        not reproduced if one condition is not; else not in the study if one cannot be tested; else open if one is.
    """
    tested = published_conditions(table, published)
    distance = (tested["effect_nats"] - tested["threshold_nats"]) * np.where(tested["side"] == AT_LEAST, 1.0, -1.0)
    distance = distance.mask(tested["verdict"] == REPRODUCED, 0.0)  # where all hold, the first is shown
    gravity = tested["verdict"].map({verdict: k for k, verdict in enumerate(_GRAVITY)})
    order = tested.assign(_gravity=gravity, _distance=distance).sort_values(["_gravity", "_distance"], kind="stable")
    worst = order.drop_duplicates([*SETUP, "id"]).sort_index()[list(tested.columns)]
    counts = tested.groupby([*SETUP, "id"], dropna=False, sort=False).size().to_numpy()
    reproduced = (worst["verdict"] == REPRODUCED).to_numpy()
    reasons = [
        f"all {count} conditions hold, as {reason}" if all_hold and count > 1 else reason
        for count, all_hold, reason in zip(counts, reproduced, worst["reason"], strict=True)
    ]
    worst = worst.assign(reason=reasons, statement=worst["id"].map(STATEMENTS))
    names = list(tested.columns)
    at = names.index("condition")
    return worst[[*names[:at], "statement", *names[at:]]].reset_index(drop=True)


def _tested(condition: Condition, unit: str = SEEDS) -> dict[str, object]:
    found = mean_interval(condition.effects[:, None], _BOTH_SIDES)
    mean, low, high = (float(part[0]) for part in (found.mean, found.low, found.high))
    n_seeds = int(found.count[0])
    verdict, reason = _verdict(condition, low, high, n_seeds, unit)
    return {
        "id": condition.prediction,
        "condition": condition.says,
        "effect_nats": mean,
        "effect_low": low,
        "effect_high": high,
        "side": condition.side,
        "threshold_nats": condition.threshold,
        "n_seeds": n_seeds,
        "verdict": verdict,
        "reason": f"{reason} ({condition.note})" if condition.note and verdict != NOT_IN_STUDY else reason,
    }


def _verdict(condition: Condition, low: float, high: float, n_seeds: int, unit: str) -> tuple[str, str]:
    if condition.missing:
        return NOT_IN_STUDY, condition.missing
    if n_seeds < MIN_SEEDS:
        one = unit.removesuffix("s")
        have = f"no {one} has" if not n_seeds else f"1 {one} has" if n_seeds == 1 else f"{n_seeds} {unit} have"
        return OPEN, f"{condition.says}: {have} all values; {MIN_SEEDS} are needed"
    needed = f"{condition.side} {condition.threshold:g} is needed"
    at_least = condition.side == AT_LEAST
    bound, opposite = (low, high) if at_least else (high, low)
    words = ("at least", "at most") if at_least else ("at most", "at least")
    if bound >= condition.threshold if at_least else _within(condition, bound):
        return (
            REPRODUCED,
            f"{condition.says} is {words[0]} {beside(bound, condition.threshold)} with 95% confidence; {needed}",
        )
    if opposite < condition.threshold if at_least else not _within(condition, opposite):
        return (
            NOT_REPRODUCED,
            f"{condition.says} is {words[1]} {beside(opposite, condition.threshold)} with 95% confidence; {needed}",
        )
    ends = f"{beside(low, condition.threshold)} to {beside(high, condition.threshold)}"
    return OPEN, f"{condition.says} is {ends} (90% interval); {needed}"


def beside(value: float, threshold: float) -> str:
    """The value with one decimal, or with as many as it takes to see on which side of the threshold it lies.

    >>> beside(2.46, 3.0), beside(2.96, 3.0), beside(-0.01, 3.0)
    ('2.5', '2.96', '0.0')
    """
    side = np.sign(value - threshold)
    digits = next((n for n in range(1, 9) if np.sign(round(value, n) - threshold) == side), 9)
    return f"{round(value, digits) + 0.0:.{digits}f}"


def _within(condition: Condition, value: float) -> bool:
    """Whether a value keeps an upper threshold, which "below" excludes."""
    return value < condition.threshold if condition.side == "below" else value <= condition.threshold


def _published_setup(published: pd.DataFrame) -> Setup:
    curves = replicates(published)
    return Setup({}, {(CHECKERBOARD, int(curve.setting["depth"])): curve for curve in curves})

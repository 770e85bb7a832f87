"""Whether training got where its own objective wanted to go: a check that needs no model, only the training
curve.

A model trained with beta should have the least D + beta R of all. For any two betas of one seed that gives,
with no assumption but that both are converged and the networks the same,

    beta_2 <= (D_1 - D_2) / (R_2 - R_1) <= beta_1    for beta_1 > beta_2,

so the slope -dD/dR of a training curve lies between the betas of its neighbours. And where another beta's
model has a *smaller* D + beta R than the model that was trained on it, by

    regret = D + beta R - min over the other betas of (D' + beta R'),    regret > 0,

that model was not trained to its end (or was caught in a poor optimum).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from rdstudy.analysis.contrasts import MIN_SEEDS
from rdstudy.analysis.curve_shapes import ABSENT, OPEN, PRESENT, decide
from rdstudy.analysis.intervals import mean_interval
from rdstudy.analysis.paired import Differences, compare, to_reference
from rdstudy.analysis.replicates import SETTING, TRAIN, Replicates, averaged, replicates
from rdstudy.analysis.verdicts import MARGIN_NATS

YES, NO, UNDECIDED = "yes", "no", "undecided"


def convergence(table: pd.DataFrame | Sequence[Replicates], *, margin_nats: float = MARGIN_NATS) -> pd.DataFrame:
    """Slope and regret of every point of the training curves.

    Args:
        margin_nats: a regret below this is called none.

    Returns:
        One row per setting and beta: `beta n_seeds`; `slope`, -dD/dR by the secant to the next smaller beta,
        which should lie between `beta_next` and `beta` (`slope_fits`: false where it lies outside with
        confidence and either model would gain `margin_nats` from being the other, null with fewer
        than three seeds); `regret_nats regret_low regret_high`, positive where another beta's model is better
        at this beta's own objective; `converged`: `no` where the regret is shown to be above 0 and is at least
        `margin_nats`, `yes` where every other beta's regret is shown to be below `margin_nats`, `undecided`
        otherwise, and with fewer than three seeds.
    """
    settings = [_curve(setting) for setting in replicates(table)]
    regrets: dict[tuple[int, float], dict[str, object]] = {}
    for beta in sorted({float(beta) for one in settings for beta in one.betas}, reverse=True):
        asked = [(k, _regret(one, beta)) for k, one in enumerate(settings) if beta in one.betas]
        usable = [(k, one) for k, one in asked if one.points]
        if not usable:
            continue
        found, _ = compare([one for _, one in usable])
        low, high = found.interval()
        said = decide(found, margin_nats)
        for at, (k, _) in enumerate(usable):
            regrets[k, beta] = {
                "regret_nats": float(found.difference[at]),
                "regret_low": float(low[at]),
                "regret_high": float(high[at]),
                "converged": {PRESENT: NO, ABSENT: YES, OPEN: UNDECIDED}[str(said[at])],
            }
    rows = [row for k, one in enumerate(settings) for row in _rows(one, k, regrets, margin_nats)]
    columns = ["beta", "n_seeds", "beta_next", "slope", "slope_fits"]
    columns += ["regret_nats", "regret_low", "regret_high", "converged"]
    frame = pd.DataFrame(rows, columns=[*SETTING, *columns])
    return frame.astype({"slope_fits": "boolean"})


@dataclass(frozen=True)
class _Curve:
    setting: Mapping[str, object]
    betas: Float[np.ndarray, " betas"]
    distortion: Float[np.ndarray, "seeds cells betas"]
    rate: Float[np.ndarray, "seeds cells betas"]


def _curve(setting: Replicates) -> _Curve:
    distortion, rate = setting.cells(TRAIN, "distortion_nats"), setting.cells(TRAIN, "rate_nats")
    there = (np.isfinite(distortion) & np.isfinite(rate)).any(axis=(0, 1))
    return _Curve(setting.setting, setting.betas[there], distortion[..., there], rate[..., there])


def _regret(curve: _Curve, beta: float) -> Differences:
    k = int(np.flatnonzero(curve.betas == beta)[0])
    others = [j for j in range(len(curve.betas)) if j != k]
    return to_reference(curve.distortion + beta * curve.rate, curve.betas, k, others)


def _rows(
    curve: _Curve, number: int, regrets: Mapping[tuple[int, float], dict[str, object]], smallest: float
) -> list[dict[str, object]]:
    rows = []
    for k, beta in enumerate(map(float, curve.betas)):
        slope, fits, following = np.nan, None, np.nan
        if k + 1 < len(curve.betas):
            following = float(curve.betas[k + 1])
            fall = averaged(curve.distortion[..., k] - curve.distortion[..., k + 1])
            rise = averaged(curve.rate[..., k + 1] - curve.rate[..., k])
            falls, rises = mean_interval(np.stack([fall, rise], axis=1)).mean
            slope = float(falls / rises) if rises > 0 else np.nan
            fits = _between(fall, rise, beta, following, smallest)
        row = {**curve.setting, "beta": beta, "n_seeds": int(np.isfinite(curve.distortion[..., k]).any(axis=1).sum())}
        row |= {"beta_next": following, "slope": slope, "slope_fits": fits, "converged": UNDECIDED}
        rows.append(row | regrets.get((number, beta), {}))
    return rows


def _between(
    fall: Float[np.ndarray, " seeds"],
    rise: Float[np.ndarray, " seeds"],
    beta: float,
    following: float,
    smallest: float,
) -> bool | None:
    """Whether the slope fall / rise may lie between the two betas; without dividing by a difference of rates."""
    outside = mean_interval(np.stack([fall - beta * rise, following * rise - fall], axis=1))
    if outside.count.min() < MIN_SEEDS:
        return None
    return not bool(((outside.low > 0) & (outside.mean >= smallest)).any())

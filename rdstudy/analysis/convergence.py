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

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from rdstudy.analysis.contrasts import MIN_SEEDS, PRESENT, SMALLEST_EFFECT_NATS, cross_fitted_contrast, effect
from rdstudy.analysis.intervals import mean_interval
from rdstudy.analysis.replicates import SETTING, Replicates, replicates
from rdstudy.storage.schema import TRAIN


def convergence(
    table: pd.DataFrame | Sequence[Replicates], *, smallest_effect_nats: float = SMALLEST_EFFECT_NATS
) -> pd.DataFrame:
    """Slope and regret of every point of the training curves.

    Returns:
        One row per setting and beta: `beta n_seeds`; `slope`, -dD/dR by the secant to the next smaller beta,
        which should lie between `beta_next` and `beta` (`slope_fits`: false where it lies outside with
        confidence and either model would gain `smallest_effect_nats` from being the other, null with fewer
        than three seeds); `regret_nats regret_low regret_high`, positive where another beta's model is better
        at this beta's own objective; `converged`, `no` where that is so with confidence and by at least
        `smallest_effect_nats`, `yes` where it is not so with confidence, `undecided` otherwise.
    """
    rows = [row for setting in replicates(table) for row in _rows(setting, smallest_effect_nats)]
    columns = ["beta", "n_seeds", "beta_next", "slope", "slope_fits"]
    columns += ["regret_nats", "regret_low", "regret_high", "converged"]
    frame = pd.DataFrame(rows, columns=[*SETTING, *columns])
    return frame.astype({"slope_fits": "boolean"})


def _rows(setting: Replicates, smallest: float) -> list[dict[str, Any]]:
    distortion, rate = setting.of(TRAIN, "distortion_nats"), setting.of(TRAIN, "rate_nats")
    there = (np.isfinite(distortion) & np.isfinite(rate)).any(axis=0)
    distortion, rate, betas = distortion[:, there], rate[:, there], setting.betas[there]
    d, r = mean_interval(distortion).mean, mean_interval(rate).mean
    rows = []
    for k, beta in enumerate(betas):
        slope, fits, following = np.nan, None, np.nan
        if k + 1 < len(betas):
            following = float(betas[k + 1])
            slope = float((d[k] - d[k + 1]) / (r[k + 1] - r[k])) if r[k + 1] > r[k] else np.nan
            fits = _between(distortion[:, [k, k + 1]], rate[:, [k, k + 1]], float(beta), following, smallest)
        objective = distortion + beta * rate
        regret = effect(cross_fitted_contrast(objective, k, [j for j in range(len(betas)) if j != k]))
        decided = regret.decided(smallest)
        rows.append(
            {
                **setting.setting,
                "beta": float(beta),
                "n_seeds": int(np.isfinite(objective[:, k]).sum()),
                "beta_next": following,
                "slope": slope,
                "slope_fits": fits,
                "regret_nats": regret.nats,
                "regret_low": regret.low,
                "regret_high": regret.high,
                "converged": {PRESENT: "no", "absent": "yes"}.get(decided, "undecided"),
            }
        )
    return rows


def _between(
    distortion: Float[np.ndarray, "seeds 2"],
    rate: Float[np.ndarray, "seeds 2"],
    beta: float,
    following: float,
    smallest: float,
) -> bool | None:
    """Whether the slope may lie between the two betas; without dividing by a difference of rates."""
    fall, rise = distortion[:, 0] - distortion[:, 1], rate[:, 1] - rate[:, 0]
    too_steep, too_shallow = effect(fall - beta * rise), effect(following * rise - fall)
    if too_steep.seeds < MIN_SEEDS:
        return None
    return PRESENT not in (too_steep.decided(smallest), too_shallow.decided(smallest))

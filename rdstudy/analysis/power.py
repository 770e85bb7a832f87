"""What a study will be able to decide, before it is run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import nctdtr, stdtrit

from rdstudy.analysis.contrasts import MIN_SEEDS
from rdstudy.analysis.looks import ALPHA
from rdstudy.analysis.verdicts import MARGIN_NATS
from rdstudy.errors import UserError


def power_table(
    sd: float,
    seeds: int | Sequence[int],
    settings: int,
    effects: Sequence[float] = (1, 2, 5),
    *,
    margin_nats: float = MARGIN_NATS,
) -> pd.DataFrame:
    """How often a difference of a given size is called better, and no difference equivalent.

    Noncentral t distribution, for one beta against the reference at the last look, with as many degrees of freedom as
    all settings have together (settings that are equally noisy), and Holm's correction over the settings.

    Args:
        sd: standard deviation between seeds of the difference within a seed, nats; with runs of standard deviation s
            and correlation r within a seed, s sqrt(2 (1 - r)).
        seeds: planned seeds; several for a row each.
        settings: settings of the study.
        effects: true differences, nats.
        margin_nats: smallest difference of interest.

    Returns:
        One row per number of seeds and effect: `seeds settings sd_nats effect_nats`; `power_alone`, the share called
        better where no other setting has an effect; `power_all`, where all settings have it; `half_width_nats` of
        the 95% interval; `equivalent_share`, how often a true difference of 0 in all settings is called equivalent.

    Raises:
        UserError: sd below 0, no settings, or no seeds.

    >>> table = power_table(0.95, 3, 12)
    >>> table["effect_nats"].tolist(), bool(table["power_all"].iloc[1] > 0.8)
    ([1.0, 2.0, 5.0], True)
    """
    each = [seeds] if isinstance(seeds, int) else list(seeds)
    if not (np.isfinite(sd) and sd >= 0) or settings < 1 or not each or min(each) < 1:
        raise UserError(
            f"sd = {sd}, seeds = {each}, settings = {settings}: sd is at least 0, seeds and settings at least 1"
        )
    rows = []
    for n in each:
        degrees = settings * (n - 1)
        error = max(sd, 1e-12) / np.sqrt(n)
        for effect in effects:
            decidable = n >= MIN_SEEDS
            row = {"seeds": n, "settings": settings, "sd_nats": float(sd), "effect_nats": float(effect)}
            row["power_alone"] = _power(effect / error, degrees, ALPHA / settings) if decidable else 0.0
            row["power_all"] = _power_of_all(effect / error, degrees, settings) if decidable else 0.0
            row["half_width_nats"] = float(stdtrit(degrees, 0.975) * error) if degrees else np.nan
            row["equivalent_share"] = _equivalent(margin_nats / error, degrees, settings) if decidable else 0.0
            rows.append(row)
    return pd.DataFrame(rows)


def _power(shift: float, degrees: int, level: float) -> float:
    return float(1 - nctdtr(degrees, min(shift, 30.0), stdtrit(degrees, 1 - level)))


def _power_of_all(shift: float, degrees: int, settings: int) -> float:
    """Holm's correction grows milder with every rejection: the share at which that settles."""
    share = _power(shift, degrees, ALPHA / settings)
    for _ in range(200):
        remaining = max(settings * (1 - share), 1.0)
        following = _power(shift, degrees, ALPHA / remaining)
        if abs(following - share) < 1e-6:
            break
        share = following
    return share


def _equivalent(shift: float, degrees: int, settings: int) -> float:
    def both(level: float) -> float:
        return max(0.0, 2 * _power(shift, degrees, level) - 1)

    share = both(ALPHA / settings)
    for _ in range(200):
        following = both(ALPHA / max(settings * (1 - share), 1.0))
        if abs(following - share) < 1e-6:
            break
        share = following
    return share

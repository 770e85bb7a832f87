"""From contrasts to verdicts: better, worse, equivalent or open, with a known rate of each kind of error.

    equivalent   the gain of the best candidate is shown to lie within +- margin (two one-sided tests)
    better       it is shown to lie above 0
    worse        it is shown to lie below 0: every candidate is worse
    open         none of these

Each kind is tested at a one-sided level of 2.5%, over all looks (`looks`), with Holm's correction over the settings of
a claim. A difference that is both above 0 and within the margin is called equivalent.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from rdstudy.analysis.contrasts import MIN_SEEDS, Contrasts
from rdstudy.analysis.looks import ALPHA, nominal_levels

BETTER, WORSE, EQUIVALENT, OPEN, NOT_MEASURABLE = "better", "worse", "equivalent", "open", "not_measurable"
VERDICTS = (BETTER, WORSE, EQUIVALENT, OPEN, NOT_MEASURABLE)

MARGIN_NATS = 2.0
"""Smallest difference of interest, by default: the change of a criterion that is worth a verdict."""


def verdicts(
    found: Contrasts,
    margin: float | Float[np.ndarray, "*studies settings"],
    looks: tuple[int, ...] | list[tuple[int, ...]],
    look: Int[np.ndarray, "*studies settings"],
) -> np.ndarray:
    """A verdict for every setting, [*studies, settings].

    Args:
        margin: nats; the smallest difference of interest.
        looks: the seeds of all looks, of every setting alike, or one tuple per setting.
        look: how many looks have been reached; 0: none, and the verdict is open.
    """
    judged = (look > 0) & (found.seeds >= MIN_SEEDS)
    better = _holm(found.p_above(0.0), judged, looks, look)
    worse = _holm(found.p_below(0.0), judged, looks, look)
    within = np.maximum(found.p_above(-np.asarray(margin)), found.p_below(margin))
    equivalent = _holm(within, judged, looks, look)
    return np.select([equivalent, better, worse], [EQUIVALENT, BETTER, WORSE], OPEN)


def _holm(
    p: Float[np.ndarray, "*studies settings"],
    judged: Bool[np.ndarray, "*studies settings"],
    looks: tuple[int, ...] | list[tuple[int, ...]],
    look: Int[np.ndarray, "*studies settings"],
) -> Bool[np.ndarray, "*studies settings"]:
    """Which hypotheses are rejected (Holm 1979), each at the level of its own look.

    Settings that were not judged still count: they are part of the claim.
    """
    settings = p.shape[-1]
    p = np.where(judged & np.isfinite(p), p, np.inf)
    rejected = np.zeros(p.shape, dtype=bool)
    each = [looks] * settings if isinstance(looks, tuple) else looks
    # levels[remaining - 1, setting, look - 1]
    longest = max(map(len, each), default=1)
    levels = np.zeros((settings, settings, longest))
    for remaining in range(1, settings + 1):
        for k, own in enumerate(each):
            levels[remaining - 1, k, : len(own)] = nominal_levels(ALPHA / remaining, own)
    columns = np.broadcast_to(np.arange(settings), p.shape)
    for _ in range(settings):
        remaining = settings - rejected.sum(axis=-1, keepdims=True)
        level = levels[np.maximum(remaining, 1) - 1, columns, np.maximum(look, 1) - 1]
        following = rejected | (p <= level)
        if (following == rejected).all():
            break
        rejected = following
    return rejected

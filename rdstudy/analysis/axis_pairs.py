"""Settings that differ in one axis alone, and what one gains over the other within a replicate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from rdstudy.analysis.replicates import SETTING, TEST, Replicates, averaged


def differing_in(settings: Sequence[Replicates], axis: str) -> list[list[Replicates]]:
    """Groups of two settings or more that agree in everything but this axis."""
    alike: dict[tuple[object, ...], list[Replicates]] = {}
    for one in settings:
        key = tuple(str(one.setting[name]) for name in SETTING if name != axis)
        alike.setdefault(key, []).append(one)
    return [group for group in alike.values() if len(group) > 1]


def gains_at_each_beta(
    reference: Replicates, other: Replicates, criterion: str
) -> list[tuple[float, Float[np.ndarray, " seeds"]]]:
    """Test value of the reference minus that of the other at each beta that both have, a replicate each."""
    seeds, of_reference, of_other = np.intersect1d(reference.seeds, other.seeds, return_indices=True)
    first, second = reference.cells(TEST, criterion), other.cells(TEST, criterion)
    found = []
    for beta in other.betas:
        at = np.flatnonzero(reference.betas == beta)
        if not len(at) or not len(seeds):
            continue
        column = int(np.flatnonzero(other.betas == beta)[0])
        gained = averaged(first[of_reference, :, at[0]] - second[of_other, :, column])
        if np.isfinite(gained).any():
            found.append((float(beta), gained))
    return found

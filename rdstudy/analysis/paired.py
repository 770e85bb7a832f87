"""Differences within a seed, lined up over a study's settings, whose noise is estimated together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from rdstudy.analysis.contrasts import Contrasts, contrasts
from rdstudy.analysis.replicates import averaged


@dataclass(frozen=True)
class Differences:
    """One setting's differences to its reference, a seed a row; positive: the candidate is better.

    points: what each column is: its beta, or any number. The same point in another setting should be about as noisy.
    choose: the same on validation examples, by which candidates are chosen; None: by the differences themselves.
    """

    points: Sequence[float]
    values: Float[np.ndarray, "seeds points"]
    choose: Float[np.ndarray, "seeds points"] | None = None

    def first(self, seeds: int) -> Differences:
        """The first seeds that have a difference."""
        rows = np.flatnonzero(np.isfinite(self.values).any(axis=1))[:seeds]
        return Differences(self.points, self.values[rows], None if self.choose is None else self.choose[rows])

    @property
    def seeds(self) -> int:
        return int(np.isfinite(self.values).any(axis=1).sum())


def to_reference(
    values: Float[np.ndarray, "seeds *cells betas"],
    betas: Float[np.ndarray, " betas"],
    reference: int,
    candidates: Sequence[int],
    choose: Float[np.ndarray, "seeds *cells betas"] | None = None,
) -> Differences:
    """What is gained from the beta at `reference` to each candidate, within the cells of a replicate.

    Candidates without a difference are left out.
    """
    kept = [k for k in candidates if np.isfinite(values[..., reference] - values[..., k]).any()]
    gained, chosen = (None if one is None else _gained(one, reference, kept) for one in (values, choose))
    assert gained is not None
    return Differences([float(betas[k]) for k in kept], gained, chosen)


def _gained(values: np.ndarray, reference: int, kept: Sequence[int]) -> Float[np.ndarray, "seeds points"]:
    gained = values[..., [reference]] - values[..., kept]
    return averaged(gained) if gained.ndim == 3 else gained


def compare(settings: Sequence[Differences]) -> tuple[Contrasts, list[float]]:
    """Contrasts [settings, points] of settings that each have at least one difference; and what the points are."""
    points = list(dict.fromkeys(point for one in settings for point in one.points))
    column = {point: k for k, point in enumerate(points)}
    seeds = max((len(one.values) for one in settings), default=0)
    values = np.full((len(settings), seeds, len(points)), np.nan)
    choose = np.full_like(values, np.nan)
    for row, one in enumerate(settings):
        columns = [column[point] for point in one.points]
        values[row, : len(one.values), columns] = one.values.T
        choose[row, : len(one.values), columns] = (one.values if one.choose is None else one.choose).T
    return contrasts(values, choose), points

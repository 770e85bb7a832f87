"""Which beta each published point has: the assignment that agrees best with the slopes of the training curve.

For a training curve whose models minimise D + beta R, the chord between the points of two betas has a slope -dD/dR
between them. The points' order and the star at beta = 1 leave few assignments from the grid of betas; all are
tried. A test curve has the betas of the training curve's points at the nearest rates: counting points from the star
instead would shift the betas of every curve in which a point could not be read.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from rdstudy.errors import UserError
from rdstudy.storage.schema import TRAIN

INFERRED_BETAS = (5.0, 3.0, 2.0, 1.0, 0.9, 0.7, 0.5, 0.3, 0.1, 0.01, 0.005, 0.001)
"""The grid that fits the slopes of the published training curves; the paper does not give it."""

READING_ERROR_NATS = 0.3
"""To about this the points can be read off the figure."""


def inferred_betas(curves: Mapping[str, pd.DataFrame], where: str) -> dict[str, Float[np.ndarray, " points"]]:
    """Betas of the points of one network's curves.

    Args:
        curves: by population, rows by falling beta with `rate_nats`, `distortion_nats` and one `star`.
        where: what the curves are, for messages.

    Returns:
        By population, the betas of its points. Without a training curve, those of the grid nearest to the star.

    Raises:
        UserError: a curve has more points on one side of its star than the grid has betas.
    """
    longest = max(curves, key=lambda population: len(curves[population]))
    star = _star(curves[longest])
    length = len(curves[longest])
    places = {population: _places(curve, curves[longest]) for population, curve in curves.items()}
    train = curves.get(TRAIN)
    best, least = None, np.inf
    for betas in _assignments(length, star):
        cost = 0.0 if train is None else _cost(train, betas[places[TRAIN]])
        if cost < least:
            best, least = betas, cost
    if best is None:
        raise UserError(f"{where}: {length} points with the star at {star} do not fit the betas {INFERRED_BETAS}")
    return {population: best[at] for population, at in places.items()}


def _star(curve: pd.DataFrame) -> int:
    return int(np.flatnonzero(curve["star"].to_numpy() == 1)[0])


def _assignments(length: int, star: int) -> Iterator[Float[np.ndarray, " points"]]:
    """All falling choices from the grid with 1 at the star, those nearest to the star first."""
    one = INFERRED_BETAS.index(1.0)
    larger = list(itertools.combinations(INFERRED_BETAS[:one][::-1], star))
    smaller = list(itertools.combinations(INFERRED_BETAS[one + 1 :], length - star - 1))
    for above, below in itertools.product(larger, smaller):
        yield np.array([*above[::-1], 1.0, *below])


def _places(curve: pd.DataFrame, longest: pd.DataFrame) -> Int[np.ndarray, " points"]:
    """For each point, the point of the longest curve that has its beta: stars together, else the nearest rates."""
    rates, others = curve["rate_nats"].to_numpy(), longest["rate_nats"].to_numpy()
    star, its = _star(curve), _star(longest)
    before = _nearest(rates[:star], others[:its])
    after = _nearest(rates[star + 1 :], others[its + 1 :])
    return np.array([*before, its, *(its + 1 + k for k in after)], dtype=np.int64)


def _nearest(rates: np.ndarray, others: np.ndarray) -> Sequence[int]:
    choices = list(itertools.combinations(range(len(others)), len(rates)))
    if not choices:
        raise UserError(
            f"the train and test curves of a network have {len(rates)} and {len(others)} points on one side of their "
            "stars, but the other way round on the other side: a beta is on one of them only"
        )
    return min(choices, key=lambda chosen: float(np.abs(rates - others[list(chosen)]).sum()))


def _cost(train: pd.DataFrame, betas: Float[np.ndarray, " points"]) -> float:
    """Squared violations of beta_next dR <= -dD <= beta dR, in units of the reading error."""
    gained = np.diff(train["rate_nats"].to_numpy())
    saved = -np.diff(train["distortion_nats"].to_numpy())
    too_little, too_much = betas[1:] * gained - saved, saved - betas[:-1] * gained
    violation = np.maximum(np.maximum(too_little, too_much), 0) / (np.sqrt(2) * READING_ERROR_NATS)
    return float((violation**2).sum())

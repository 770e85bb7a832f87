"""The conditions under which the published figure counts as reproduced, fixed before the study was run.

    P1  shallow, test: D(0.005) is at least 3 above the least D, which is at a beta in [0.3, 1]
    P2  deep, test: D(1) is at least 15 above D(0.1)
    P3  deep minus shallow, test: at least 10 at beta 1, at most -3 at every beta up to 0.01
    P4  both, train: D is at most 60 at every beta up to 0.01
    P5  shallow, test, random split: D(0.005) is less than 3 above D at every beta in [0.3, 1]

Each is one or more one-sided t tests at 5% over the differences within seeds; a prediction needs all of its
conditions, so no test needs a correction for their number (intersection-union). In P1 the best beta is chosen for each
seed from the other seeds: chosen on the same seed, its luck would count as a rise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import Float

from rdstudy.analysis.published.setups import CHECKERBOARD, RANDOM, Setup, by_replicate
from rdstudy.storage.schema import TEST, TRAIN

STATEMENTS = {
    "P1": "Shallow, test: D at beta 0.005 is at least 3 nats above the least D, which is at a beta in [0.3, 1].",
    "P2": "Deep, test: D falls by at least 15 nats from beta 1 to 0.1.",
    "P3": "Test D of deep minus shallow: at least 10 nats at beta 1, at most -3 at every beta up to 0.01.",
    "P4": "Training D is at most 60 nats at every beta up to 0.01, shallow and deep.",
    "P5": "Random split, shallow, test: D at beta 0.005 is less than 3 nats above D at any beta in [0.3, 1].",
}
"""What each prediction says, by its name."""

AT_LEAST, AT_MOST, BELOW = "at least", "at most", "below"

RISE_BETAS = (0.005, 0.01)
"""The smallest beta of P1 and P5: the first of these that was trained."""
BEST_BETAS = (0.3, 1.0)
LARGEST_SMALL_BETA = 0.01
SHALLOW, DEEP = 1, 3


@dataclass(frozen=True)
class Condition:
    """One test of a prediction, or why the study cannot make it.

    Args:
        prediction: its name, "P1" to "P5".
        says: what is tested, as "D(0.005) - D at the best beta in [0.3, 1]".
        side: how the effect must lie to the threshold.
        threshold: in nats.
        effects: one value per seed, nats; empty where something is missing.
        missing: what the study lacks for it; empty if nothing.
        note: what else the reader must know.
    """

    prediction: str
    says: str
    side: str
    threshold: float
    effects: Float[np.ndarray, " seeds"] = field(default_factory=lambda: np.empty(0))
    missing: str = ""
    note: str = ""


def conditions(setup: Setup) -> Iterator[Condition]:
    """All conditions of one setup, in the order of the predictions; at least one of each."""
    shallow, deep = (setup.cells(CHECKERBOARD, depth, TEST) for depth in (SHALLOW, DEEP))
    yield from _rise_and_minimum(shallow)
    yield from _fall(deep)
    yield from _crossing(shallow, deep)
    for depth in (SHALLOW, DEEP):
        yield from _training_floor(setup.cells(CHECKERBOARD, depth, TRAIN), depth)
    yield from _no_rise(setup.cells(RANDOM, SHALLOW, TEST))


def _rise_and_minimum(shallow: pd.DataFrame) -> Iterator[Condition]:
    says = "D({}) - D at the best beta in [0.3, 1]"
    inside, small = _inside(shallow), _rise_beta(shallow)
    lacking = _lacking(shallow, "checkerboard", SHALLOW, small, inside)
    if small is None or lacking:
        yield Condition("P1", says.format("0.005"), AT_LEAST, 3.0, missing=lacking)
        return
    effects = _above_best(shallow, small, inside)
    yield Condition("P1", says.format(f"{small:g}"), AT_LEAST, 3.0, effects, note=_instead(small))
    outside = [beta for beta in _betas(shallow) if beta not in (small, *inside)]
    larger = max(_betas(shallow)) > BEST_BETAS[1]
    note = "" if larger else "no beta above 1 was trained, where the least D could be"
    for beta in outside:
        of = f"D({beta:g}) - D at the best beta in [0.3, 1]"
        yield Condition("P1", of, AT_LEAST, 0.0, _above_best(shallow, beta, inside), note=note)


def _fall(deep: pd.DataFrame) -> Iterator[Condition]:
    effects, missing = np.empty(0), _lacks(deep, (1.0, 0.1), f"depth {DEEP}")
    if not missing:
        effects = _effects(deep[1.0] - deep[0.1])
    yield Condition("P2", "D(1) - D(0.1)", AT_LEAST, 15.0, effects, missing)


def _crossing(shallow: pd.DataFrame, deep: pd.DataFrame) -> Iterator[Condition]:
    missing = _lacks(shallow, (1.0,), f"depth {SHALLOW}") or _lacks(deep, (1.0,), f"depth {DEEP}")
    effects = np.empty(0) if missing else _effects(deep[1.0] - shallow[1.0])
    yield Condition("P3", "deep - shallow at beta 1", AT_LEAST, 10.0, effects, missing)
    shared = [beta for beta in _small(shallow) if beta in deep.columns]
    if not shared:
        missing = "no beta up to 0.01 was trained at both depths of the checkerboard split"
        yield Condition("P3", "deep - shallow at a beta up to 0.01", AT_MOST, -3.0, missing=missing)
    for beta in shared:
        effects = _effects(deep[beta] - shallow[beta])
        yield Condition("P3", f"deep - shallow at beta {beta:g}", AT_MOST, -3.0, effects)


def _training_floor(train: pd.DataFrame, depth: int) -> Iterator[Condition]:
    name = "shallow" if depth == SHALLOW else "deep"
    if not _small(train):
        missing = f"no beta up to 0.01 was trained at depth {depth} of the checkerboard split"
        yield Condition("P4", f"{name} training D at a beta up to 0.01", AT_MOST, 60.0, missing=missing)
    for beta in _small(train):
        yield Condition("P4", f"{name} training D({beta:g})", AT_MOST, 60.0, _effects(train[beta]))


def _no_rise(shallow: pd.DataFrame) -> Iterator[Condition]:
    inside, small = _inside(shallow), _rise_beta(shallow)
    lacking = _lacking(shallow, "random", SHALLOW, small, inside)
    if small is None or lacking:
        yield Condition("P5", "D(0.005) - D at a beta in [0.3, 1]", BELOW, 3.0, missing=lacking)
        return
    for beta in inside:
        effects = _effects(shallow[small] - shallow[beta])
        yield Condition("P5", f"D({small:g}) - D({beta:g})", BELOW, 3.0, effects, note=_instead(small))


def _above_best(values: pd.DataFrame, beta: float, inside: Sequence[float]) -> Float[np.ndarray, " seeds"]:
    """Each seed's value at `beta` less its value at the beta that is best for the other seeds; of one seed its own.

    Best is what gains most on `beta` within the other seeds, of the betas that the seed has: NaN where there is none.
    """
    gains = by_replicate(values[list(inside)].rsub(values[beta], axis="index")).to_numpy(dtype=np.float64)
    there = np.isfinite(gains)
    known = np.where(there, gains, 0.0)
    count, total = there.sum(axis=0) - there, known.sum(axis=0) - known
    if there.any(axis=1).sum() == 1:
        count, total = there.astype(int), known
    mean = np.divide(total, count, where=there & (count > 0), out=np.full(gains.shape, -np.inf))
    best = mean.argmax(axis=1)
    rows = np.arange(len(gains))
    found: Float[np.ndarray, " seeds"] = np.where(np.isfinite(mean[rows, best]), gains[rows, best], np.nan)
    return found


def _effects(cells: pd.Series) -> Float[np.ndarray, " seeds"]:
    """One value per replicate, the mean over its cells that have one."""
    found: Float[np.ndarray, " seeds"] = by_replicate(cells.to_frame()).to_numpy(dtype=np.float64)[:, 0]
    return found


def _betas(values: pd.DataFrame) -> list[float]:
    return [float(beta) for beta in values.columns.to_numpy(dtype=np.float64)]


def _inside(values: pd.DataFrame) -> list[float]:
    return [beta for beta in _betas(values) if BEST_BETAS[0] <= beta <= BEST_BETAS[1]]


def _small(values: pd.DataFrame) -> list[float]:
    return [beta for beta in _betas(values) if beta <= LARGEST_SMALL_BETA]


def _rise_beta(values: pd.DataFrame) -> float | None:
    return next((beta for beta in RISE_BETAS if beta in values.columns), None)


def _instead(beta: float) -> str:
    return "" if beta == RISE_BETAS[0] else f"beta {beta:g} instead of {RISE_BETAS[0]:g}, which was not trained"


def _lacking(values: pd.DataFrame, split: str, depth: int, small: float | None, inside: Sequence[float]) -> str:
    if values.empty:
        return f"no finished cell of the {split} split at depth {depth}"
    if small is None:
        return f"neither beta 0.005 nor 0.01 was trained at depth {depth} of the {split} split"
    return "" if inside else f"no beta in [0.3, 1] was trained at depth {depth} of the {split} split"


def _lacks(values: pd.DataFrame, betas: Sequence[float], name: str) -> str:
    if values.empty:
        return f"no finished cell of the checkerboard split at {name}"
    absent = [f"{beta:g}" for beta in betas if beta not in values.columns]
    return f"beta {' and '.join(absent)} not trained at {name} of the checkerboard split" if absent else ""

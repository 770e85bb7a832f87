"""One curve over beta for each setting, and the beta that is looked for on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from jaxtyping import Float
from optuna.distributions import FloatDistribution
from optuna.trial import Trial, TrialState

from rdstudy.execution.search.gaussian_process import (
    AXIS,
    MIN_POINTS,
    Curves,
    Feature,
    GaussianProcess,
    crossing,
    lowest,
)
from rdstudy.execution.search.samplers import BETA, SEED, sampler
from rdstudy.study import SearchSpec

FIRST = 6
"""Points that every curve starts with, evenly spaced in log beta, both ends among them."""
SATURATED_SHARE = 0.95
DRAWS = 1000
"""Of curves for an estimate."""
BLOCK = 8
"""Points that one seed gets before the next: what a seed's points have in common does not move a curve's lowest point,
and can be told from noise only where there are several."""


@dataclass(frozen=True, slots=True)
class Point:
    """What is asked of a curve: its value at a beta, for a seed."""

    beta: float
    seed: int


@dataclass(frozen=True, slots=True)
class BetaEstimate:
    """The beta that is looked for: posterior median and central 95% interval, and from how many points."""

    beta: float
    low: float
    high: float
    points: int


def feature_of(spec: SearchSpec) -> Feature:
    """What is looked for on a curve over ascending log beta."""
    return crossing(SATURATED_SHARE) if spec.goal == "saturation" else lowest


class Curve:
    """The search for one setting's beta: asks for points, is told values."""

    def __init__(self, spec: SearchSpec, seeds: Sequence[int], study: optuna.Study, number: int) -> None:
        """
        Args:
            spec: the goal and beta's range.
            seeds: replicates that may be asked for.
            study: Optuna's record of it, with no trials yet.
            number: of the setting; its random numbers are its own.
        """
        assert spec.beta is not None
        self.spec, self.seeds, self.study = spec, list(seeds), study
        self.low, self.high = spec.beta.low, spec.beta.high
        self.study.sampler = sampler(spec, feature_of(spec), seed=_seed_of(spec.seed, number))
        self._number = number
        self._asked: dict[Point, Trial | None] = {}
        self._told: dict[Point, float] = {}
        self._estimate: BetaEstimate | None = None
        for k in range(FIRST):
            self.study.enqueue_trial({BETA: self._beta(k / (FIRST - 1))})

    def ask(self) -> Point | None:
        """The next point; None if every beta nearby has been asked for with every seed."""
        trial = self.study.ask({BETA: FloatDistribution(self.low, self.high, log=True)})
        point = self._free(trial.params[BETA])
        if point is None:
            self.study.tell(trial, state=TrialState.FAIL)
            return None
        trial.set_user_attr(BETA, point.beta)
        trial.set_user_attr(SEED, point.seed)
        self._asked[point] = trial
        return point

    def tell(self, point: Point, value: float | None) -> None:
        """The value at a point that was asked for, or that was known before; None if there will be none."""
        trial = self._asked.get(point)
        if trial is None:
            self._asked[point] = None
            if value is not None:
                distribution = {BETA: FloatDistribution(self.low, self.high, log=True)}
                attributes = {BETA: point.beta, SEED: point.seed}
                self.study.add_trial(
                    optuna.create_trial(
                        value=value, params={BETA: point.beta}, distributions=distribution, user_attrs=attributes
                    )
                )
        elif value is None:
            self.study.tell(trial, state=TrialState.FAIL)
        else:
            self.study.tell(trial, value)
        if value is not None:
            self._told[point] = value

    def estimate(self) -> BetaEstimate | None:
        """Where the beta lies by all that was told; None while fewer than three points are."""
        if len(self._told) < MIN_POINTS:
            return None
        if self._estimate is None or self._estimate.points != len(self._told):
            found = self._surrogate().locate(feature_of(self.spec), self._rng(), draws=DRAWS)
            low, at, high = self._beta(found.low), self._beta(found.at), self._beta(found.high)
            self._estimate = BetaEstimate(at, low, high, len(self._told))
        return self._estimate

    def posterior(self) -> tuple[Float[np.ndarray, " points"], Curves]:
        """Betas, and curves over them drawn from what is believed of the curve."""
        return self.low * (self.high / self.low) ** AXIS, self._surrogate().draw(DRAWS, self._rng())

    def _surrogate(self) -> GaussianProcess:
        points = sorted(self._told, key=lambda point: (point.beta, point.seed))
        span = math.log(self.high / self.low)
        x = np.array([math.log(point.beta / self.low) / span for point in points])
        y = np.array([self._told[point] for point in points])
        return GaussianProcess(x, y, np.array([point.seed for point in points]))

    def _rng(self) -> np.random.Generator:
        return np.random.default_rng([_seed_of(self.spec.seed, self._number), len(self._told)])

    def _beta(self, at: float) -> float:
        return rounded(self.low * (self.high / self.low) ** at)

    def _free(self, beta: float) -> Point | None:
        """The point nearest to a beta that was not asked for yet; seeds are used up in blocks, then evenly."""
        uses = {seed: sum(point.seed == seed for point in self._asked) for seed in self.seeds}

        def turn(seed: int) -> tuple[int, int]:
            if 0 < uses[seed] < BLOCK:
                return 0, -uses[seed]
            return 1, uses[seed]

        order = sorted(self.seeds, key=turn)
        for away in (0, 1, -1, 2, -2, 3, -3):
            near = rounded(min(self.high, max(self.low, beta * 1.02**away)))
            for seed in order:
                if Point(near, seed) not in self._asked:
                    return Point(near, seed)
        return None


def rounded(value: float) -> float:
    """Three significant digits: what a reader repeats, and what two searches may have in common."""
    return float(f"{value:.3g}")


def _seed_of(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])

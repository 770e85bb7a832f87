"""The search for one setting's beta: a noisy curve over beta, and the estimate of a feature's place on it."""

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
"""Initial points of every curve, evenly spaced in log beta, both ends included."""
SATURATED_SHARE = 0.95
DRAWS = 1000
"""Curves drawn for an estimate."""
BLOCK = 8
"""Points of one seed before the next seed is used: an offset shared by a seed's points does not move the curve's
minimum, and can be separated from noise only with several points."""


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a curve: a beta and a seed."""

    beta: float
    seed: int


@dataclass(frozen=True, slots=True)
class BetaEstimate:
    """Posterior median of the beta, its central 95% interval, and the number of points behind it."""

    beta: float
    low: float
    high: float
    points: int


def feature_of(spec: SearchSpec) -> Feature:
    """The feature that a search locates on a curve over ascending log beta."""
    return crossing(SATURATED_SHARE) if spec.goal == "saturation" else lowest


class Curve:
    """The search for one setting's beta."""

    def __init__(self, spec: SearchSpec, seeds: Sequence[int], study: optuna.Study, number: int) -> None:
        """
        Args:
            spec: the goal and beta's range.
            seeds: replicates to choose from.
            study: an Optuna study without trials.
            number: of the setting, which seeds its random numbers.
        """
        assert spec.beta is not None
        self.spec, self.seeds, self.study = spec, list(seeds), study
        self.low, self.high = spec.beta.low, spec.beta.high
        self.study.sampler = sampler(spec, feature_of(spec), seed=_seed_of(spec.seed, number))
        self._number = number
        self._asked: dict[Point, Trial | None] = {}
        self._observations: dict[Point, float] = {}
        self._estimate: BetaEstimate | None = None
        for k in range(FIRST):
            self.study.enqueue_trial({BETA: self._beta(k / (FIRST - 1))})

    def ask(self) -> Point | None:
        """The next point; None if every nearby beta was asked for with every seed."""
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
        """Add the value at a point, asked for or known before; None if its cell failed."""
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
            self._observations[point] = value

    def estimate(self) -> BetaEstimate | None:
        """The estimate from all values so far; None with fewer than `MIN_POINTS`."""
        if len(self._observations) < MIN_POINTS:
            return None
        if self._estimate is None or self._estimate.points != len(self._observations):
            found = self._surrogate().locate(feature_of(self.spec), self._rng(), draws=DRAWS)
            low, at, high = self._beta(found.low), self._beta(found.at), self._beta(found.high)
            self._estimate = BetaEstimate(at, low, high, len(self._observations))
        return self._estimate

    def posterior(self) -> tuple[Float[np.ndarray, " points"], Curves]:
        """Betas, and curves over them drawn from the posterior."""
        return self.low * (self.high / self.low) ** AXIS, self._surrogate().draw(DRAWS, self._rng())

    def _surrogate(self) -> GaussianProcess:
        points = sorted(self._observations, key=lambda point: (point.beta, point.seed))
        span = math.log(self.high / self.low)
        x = np.array([math.log(point.beta / self.low) / span for point in points])
        y = np.array([self._observations[point] for point in points])
        return GaussianProcess(x, y, np.array([point.seed for point in points]))

    def _rng(self) -> np.random.Generator:
        return np.random.default_rng([_seed_of(self.spec.seed, self._number), len(self._observations)])

    def _beta(self, at: float) -> float:
        return rounded(self.low * (self.high / self.low) ** at)

    def _free(self, beta: float) -> Point | None:
        """The nearest point that was not asked for yet; seeds are used in blocks, then evenly."""
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
    """Round to three significant digits, so that two searches may ask for the same beta."""
    return float(f"{value:.3g}")


def _seed_of(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])

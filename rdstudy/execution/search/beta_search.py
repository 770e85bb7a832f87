"""The search for one setting's beta: a noisy curve over beta, and the estimate of a feature's place on it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
    """A point of a curve: a beta and a replicate, which is a seed with a data seed."""

    beta: float
    seed: int
    data_seed: int = 0


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


class Judged(NamedTuple):
    """Test value at a beta: posterior median and 95% interval, nats."""

    nats: float
    low: float
    high: float


class Curve:
    """The search for one setting's beta."""

    def __init__(
        self, spec: SearchSpec, seeds: Sequence[int], data_seeds: Sequence[int], study: optuna.Study, number: int
    ) -> None:
        """
        Args:
            spec: the goal and beta's range.
            seeds, data_seeds: replicates to choose from, each of one with each of the other.
            study: an Optuna study without trials.
            number: of the setting, which seeds its random numbers.
        """
        assert spec.beta is not None
        self.spec, self.study, self.data_seeds = spec, study, list(data_seeds)
        self.replicates = [(seed, data_seed) for seed in seeds for data_seed in data_seeds]
        self.low, self.high = spec.beta.low, spec.beta.high
        self.study.sampler = sampler(spec, feature_of(spec), seed=_seed_of(spec.seed, number))
        self._number = number
        self._asked: dict[Point, Trial | None] = {}
        self._observations: dict[Point, float] = {}
        self._tested: dict[Point, float] = {}
        self._estimate: BetaEstimate | None = None
        for k in range(FIRST):
            self.study.enqueue_trial({BETA: self._beta(k / (FIRST - 1))})

    def ask(self) -> Point | None:
        """The next point; None if every nearby beta was asked for with every replicate."""
        trial = self.study.ask({BETA: FloatDistribution(self.low, self.high, log=True)})
        point = self._free(trial.params[BETA])
        if point is None:
            self.study.tell(trial, state=TrialState.FAIL)
            return None
        trial.set_user_attr(BETA, point.beta)
        trial.set_user_attr(SEED, self._replicate(point))
        self._asked[point] = trial
        return point

    def tell(self, point: Point, value: float | None, tested: float | None = None) -> None:
        """Add the value at a point, asked for or known before; None if its cell failed.

        Args:
            point: where it was measured.
            value: by which a beta is chosen.
            tested: by which it is judged.
        """
        trial = self._asked.get(point)
        if trial is None:
            self._asked[point] = None
            if value is not None:
                distribution = {BETA: FloatDistribution(self.low, self.high, log=True)}
                attributes = {BETA: point.beta, SEED: self._replicate(point)}
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
        if tested is not None:
            self._tested[point] = tested

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
        return self._betas(), self._surrogate().draw(DRAWS, self._rng())

    def judged(self, beta: float) -> Judged | None:
        """The test value at a beta, from the test values of all cells; None with fewer than `MIN_POINTS`."""
        if len(self._tested) < MIN_POINTS:
            return None
        drawn = self._surrogate(self._tested).draw(DRAWS, self._rng())
        nearest = int(np.abs(np.log(self._betas() / beta)).argmin())
        low, median, high = np.quantile(drawn[:, nearest], [0.025, 0.5, 0.975])
        return Judged(float(median), float(low), float(high))

    def _betas(self) -> Float[np.ndarray, " points"]:
        return np.asarray(self.low * (self.high / self.low) ** AXIS)

    def _surrogate(self, observations: Mapping[Point, float] | None = None) -> GaussianProcess:
        values = self._observations if observations is None else observations
        points = sorted(values, key=lambda point: (point.beta, self._replicate(point)))
        span = math.log(self.high / self.low)
        x = np.array([math.log(point.beta / self.low) / span for point in points])
        y = np.array([values[point] for point in points])
        return GaussianProcess(x, y, np.array([self._replicate(point) for point in points]))

    def _replicate(self, point: Point) -> int:
        """A number for the point's seed and data seed; the seed itself where there is one data seed."""
        return point.seed * len(self.data_seeds) + self.data_seeds.index(point.data_seed)

    def _rng(self) -> np.random.Generator:
        return np.random.default_rng([_seed_of(self.spec.seed, self._number), len(self._observations)])

    def _beta(self, at: float) -> float:
        return rounded(self.low * (self.high / self.low) ** at)

    def _free(self, beta: float) -> Point | None:
        """The nearest point that was not asked for yet; seeds are used in blocks, then evenly."""
        uses = {each: sum((point.seed, point.data_seed) == each for point in self._asked) for each in self.replicates}

        def turn(replicate: tuple[int, int]) -> tuple[int, int]:
            if 0 < uses[replicate] < BLOCK:
                return 0, -uses[replicate]
            return 1, uses[replicate]

        order = sorted(self.replicates, key=turn)
        for away in (0, 1, -1, 2, -2, 3, -3):
            near = rounded(min(self.high, max(self.low, beta * 1.02**away)))
            for replicate in order:
                if Point(near, *replicate) not in self._asked:
                    return Point(near, *replicate)
        return None


def rounded(value: float) -> float:
    """Round to three significant digits, so that two searches may ask for the same beta."""
    return float(f"{value:.3g}")


def _seed_of(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])

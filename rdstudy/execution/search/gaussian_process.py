"""A noisy curve over one axis as a Gaussian process, and the place of a feature (minimum or crossing) on the axis.

    y = mean + f(x) + offset(seed) + noise,    f a Matern-5/2 process (Rasmussen & Williams 2006, eq. 4.17)

The mean has a flat prior and the scale is integrated out; length, noise and offset are averaged over, each weighted by
its marginal likelihood, so that an interval also covers their uncertainty.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int64
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular
from threadpoolctl import ThreadpoolController

LENGTHS = (0.08, 0.12, 0.18, 0.27, 0.4, 0.6, 0.9)
NOISES = (0.01, 0.03, 0.1, 0.3, 1.0)
OFFSETS = (0.0, 0.5, 1.5, 5.0, 50.0)
"""Hyperparameters tried: length scales over the axis's length; noise sd over the curve's sd; sd of the seeds' offsets
over the noise sd."""
LEADING = 5
"""Number of likeliest hyperparameter choices that decide where to measure next."""
FLAT = 25.0
"""Prior variance of the mean over the curve's variance: nearly flat."""
GRID = 101
"""Points of the axis at which curves are drawn."""
MIN_POINTS = 3
"""Fewest points of a curve."""
MIN_WEIGHT = 1e-2
JITTER = 1e-6

_BLAS = ThreadpoolController()
"""Limits BLAS to one thread: products this small take a hundred times as long on threads that compete with training."""

Curves = Float[np.ndarray, "draws points"]
AXIS: Float[np.ndarray, " points"] = np.linspace(0.0, 1.0, GRID)


@dataclass(frozen=True)
class Feature:
    """A feature of a curve, to be located."""

    places: Callable[[Curves], Float[np.ndarray, " draws"]]
    """Its place on the axis, for each of several curves."""
    relative: bool
    """Whether its place stays if a curve is shifted up or down."""


def _argmin(curves: Curves) -> Float[np.ndarray, " draws"]:
    at: Float[np.ndarray, " draws"] = AXIS[curves.argmin(axis=1)]
    return at


lowest = Feature(_argmin, relative=True)
"""The minimum of a curve."""


def crossing(level: float) -> Feature:
    """The crossing of a level by a falling curve: the middle between its first point below and its last above."""

    def passes(curves: Curves) -> Float[np.ndarray, " draws"]:
        above = curves >= level
        last_above = np.where(above.any(axis=1), GRID - 1 - above[:, ::-1].argmax(axis=1), 0)
        first_below = np.where(above.all(axis=1), GRID - 1, above.argmin(axis=1))
        at: Float[np.ndarray, " draws"] = (AXIS[last_above] + AXIS[first_below]) / 2
        return at

    return Feature(passes, relative=False)


@dataclass(frozen=True)
class Estimate:
    """Posterior median of a feature's place on the axis, and its central interval."""

    at: float
    low: float
    high: float


@dataclass(frozen=True)
class _Choice:
    """One choice of hyperparameters, its log marginal likelihood, and what conditioning on the points needs."""

    length: float
    noise: float
    offset: float
    evidence: float
    factor: tuple[np.ndarray, bool]
    weights: Float[np.ndarray, " measured"]
    scale: float


@dataclass(frozen=True)
class _Posterior:
    """A curve over `AXIS` given one choice: its mean, and a root of its covariance."""

    mean: Float[np.ndarray, " points"]
    root: Float[np.ndarray, "points points"]


class GaussianProcess:
    """The posterior of a curve, given points of it."""

    def __init__(
        self,
        x: Float[np.ndarray, " measured"],
        y: Float[np.ndarray, " measured"],
        seed: Int64[np.ndarray, " measured"],
    ) -> None:
        """
        Args:
            x: positions on the axis, 0 to 1.
            y: what was measured there.
            seed: replicate of each point; points of one seed share an offset.

        Raises:
            ValueError: fewer than `MIN_POINTS` points.
        """
        with _BLAS.limit(limits=1):
            self._fit(x, y, seed)

    def _fit(self, x: np.ndarray, y: np.ndarray, seed: np.ndarray) -> None:
        if len(x) < MIN_POINTS:
            raise ValueError(f"a curve needs at least {MIN_POINTS} points; found {len(x)}")
        scale = float(np.std(y)) or 1.0
        self._center, self._scale = float(np.mean(y)), scale
        y = (y - self._center) / scale
        same_seed = (seed[:, None] == seed[None, :]).astype(float)
        several = len(np.unique(seed)) > 1
        found = []
        for length in LENGTHS:
            kernel = _matern(np.abs(x[:, None] - x[None, :]) / length)
            for noise, relative in itertools.product(NOISES, OFFSETS if several else (0.0,)):
                offset = relative * noise
                covariance = kernel + offset**2 * same_seed + (noise**2 + 1e-8) * np.eye(len(x))
                found.append(_choice(length, noise, offset, covariance, y))
        best = max(each.evidence for each in found)
        self._kept = [each for each in found if math.exp(each.evidence - best) > MIN_WEIGHT]
        weights = np.array([math.exp(each.evidence - best) for each in self._kept])
        self._weights = weights / weights.sum()
        self._x, self._y, self._seed = x, y, seed
        self._posteriors: dict[int, _Posterior] = {}

    def draw(self, n: int, rng: np.random.Generator) -> Curves:
        """Curves over `AXIS` from the posterior, in the units of y, without noise and offsets."""
        with _BLAS.limit(limits=1):
            return self._draw(n, rng)

    def _draw(self, n: int, rng: np.random.Generator) -> Curves:
        choices = rng.choice(len(self._kept), size=n, p=self._weights)
        curves = np.empty((n, GRID))
        for choice in np.unique(choices):
            mine = np.flatnonzero(choices == choice)
            posterior = self._posterior(int(choice))
            normal = rng.standard_normal((len(mine), GRID))
            # The scale is unknown too: a t process, whose scale is shared by a curve's points.
            degrees = len(self._y) - 1
            stretch = np.sqrt(degrees / rng.chisquare(degrees, len(mine)))
            curves[mine] = posterior.mean + stretch[:, None] * (normal @ posterior.root.T)
        return self._center + self._scale * curves

    def locate(self, feature: Feature, rng: np.random.Generator, *, draws: int = 400, level: float = 0.95) -> Estimate:
        """Estimate the feature's place from posterior draws."""
        at = feature.places(self.draw(draws, rng))
        low, middle, high = np.quantile(at, [(1 - level) / 2, 0.5, (1 + level) / 2])
        return Estimate(float(middle), float(low), float(high))

    def likely(self, feature: Feature, rng: np.random.Generator, *, draws: int = 400) -> Float[np.ndarray, " points"]:
        """Probability of the feature's place at each point of `AXIS`, smoothed so that at least two are positive."""
        at = np.rint(feature.places(self.draw(draws, rng)) * (GRID - 1)).astype(int)
        spread = np.convolve(np.bincount(at, minlength=GRID), (0.25, 0.5, 0.25), mode="same")
        found: Float[np.ndarray, " points"] = spread / spread.sum()
        return found

    def most_informative(
        self,
        feature: Feature,
        likely: Float[np.ndarray, " points"],
        x: Float[np.ndarray, " pending"],
        seed: Int64[np.ndarray, " pending"],
    ) -> float:
        """Where on the axis one more measurement most reduces the variance of the feature's place.

        The place of a minimum depends on differences f(a) - f(b) between its possible places a, b. A measurement y
        lowers the variance of one by Cov(f(a) - f(b), y)^2 / Var(y); this takes the mean over all pairs, each as likely
        as `likely` says. (Optimal design for a linear functional: Chaloner & Verdinelli 1995.) A crossing's place
        depends on f(a) itself. What is measured at the pending points is not needed, only that it will be.

        Args:
            feature: to be located.
            likely: the feature's probabilities, from `likely`.
            x, seed: of points that are being measured.
        """
        x, seed = np.append(self._x, x), np.append(self._seed, seed)
        same_seed = (seed[:, None] == seed[None, :]).astype(float)
        gain = np.zeros(GRID)
        with _BLAS.limit(limits=1):
            for number in np.argsort(-self._weights)[:LEADING]:
                choice = self._kept[number]
                covariance = FLAT + _matern(np.abs(x[:, None] - x[None, :]) / choice.length)
                covariance += choice.offset**2 * same_seed + (choice.noise**2 + 1e-8) * np.eye(len(x))
                cross = FLAT + _matern(np.abs(AXIS[:, None] - x[None, :]) / choice.length)
                left = FLAT + _prior(choice.length) - cross @ cho_solve(cho_factor(covariance, lower=True), cross.T)
                lowered = left**2 @ likely - ((left @ likely) ** 2 if feature.relative else 0.0)
                lowered /= np.diag(left) + choice.noise**2  # the seed's offset is known from its other points
                gain += self._weights[number] * lowered / lowered.max()
        return float(AXIS[gain.argmax()])

    def _posterior(self, number: int) -> _Posterior:
        if number not in self._posteriors:
            choice = self._kept[number]
            cross = _matern(np.abs(AXIS[:, None] - self._x[None, :]) / choice.length)
            ones = np.ones(len(self._x))
            solved_ones = cho_solve(choice.factor, ones)
            mean_at = float(solved_ones @ self._y) / float(solved_ones @ ones)
            mean = mean_at + cross @ choice.weights
            half = solve_triangular(choice.factor[0], cross.T, lower=True)
            open_mean = 1 - cross @ solved_ones  # the mean is only estimated
            covariance = _prior(choice.length) - half.T @ half
            covariance += np.outer(open_mean, open_mean) / float(solved_ones @ ones)
            root = cholesky(covariance + JITTER * np.eye(GRID), lower=True) * math.sqrt(choice.scale)
            self._posteriors[number] = _Posterior(mean, root)
        return self._posteriors[number]


def _choice(
    length: float,
    noise: float,
    offset: float,
    covariance: Float[np.ndarray, "measured measured"],
    y: Float[np.ndarray, " measured"],
) -> _Choice:
    """With mean and scale integrated out."""
    factor = cho_factor(covariance, lower=True)
    ones = np.ones(len(y))
    solved_ones, solved_y = cho_solve(factor, ones), cho_solve(factor, y)
    precision = float(ones @ solved_ones)
    weights = solved_y - solved_ones * (float(ones @ solved_y) / precision)
    degrees = len(y) - 1
    scale = max(float(y @ weights) / degrees, 1e-12)
    log_determinant = 2 * float(np.log(np.diag(factor[0])).sum())
    evidence = -0.5 * (log_determinant + math.log(precision) + degrees * math.log(scale))
    return _Choice(length, noise, offset, evidence, (np.tril(factor[0]), True), weights, scale)


def _matern(distance: np.ndarray) -> np.ndarray:
    scaled = math.sqrt(5.0) * distance
    return (1 + scaled + scaled**2 / 3) * np.exp(-scaled)


@lru_cache(len(LENGTHS))
def _prior(length: float) -> Float[np.ndarray, "points points"]:
    return _matern(np.abs(AXIS[:, None] - AXIS[None, :]) / length)

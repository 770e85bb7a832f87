"""How much better the best of several betas is than a reference, when the best one is chosen from the same seeds.

The differences d[s, j] = y[s, reference] - y[s, j] are taken within a seed (positive: candidate j is better). What is
asked about is theta = max_j E d[j], the gain of the best candidate. Three statements about it have known error rates:

    theta < c    every candidate is shown to gain less than c; no correction is needed (intersection-union test)
    theta > c    cross-fitted: each seed's candidate is chosen from the other seeds, so its luck does not count
    interval     from the lower limit of the second to the upper limit of the first

Cross-fitting weighs the candidates by exp(-gap / T), where the gap is how many standard errors a candidate's lower
limit lies below the best one's: a hard choice between near ties would make the seeds depend on each other (Zhang, Lee
& Lei 2024). A lower limit never exceeds the one of the candidate that is reported, so the interval holds the reported
difference of means. `tests/benchmarks/results/verdict_error_rates.md` has the error rates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import stdtr, stdtrit

from rdstudy.analysis.moderation import moderate

LEVEL = 0.95
MIN_SEEDS = 3

_TEMPERATURE = 1.0  # 0.85 finds one good beta of 8 more often, but errs in 3% of studies of one setting
_SCALE_DEGREES = 16  # with few degrees of freedom, candidates are chosen as if all were equally noisy


@dataclass(frozen=True)
class Contrasts:
    """Differences to the reference in every setting; positive: the candidate is better. Nats.

    mean, error, degrees: of each candidate, the error from the moderated variance; NaN where it has fewer than two
        seeds (the mean: none).
    best: index of the candidate that is reported.
    chosen_mean, chosen_error, chosen_degrees: of the cross-fitted difference.
    seeds: seeds with a difference at any candidate.
    """

    mean: Float[np.ndarray, "*studies settings points"]
    error: Float[np.ndarray, "*studies settings points"]
    degrees: Float[np.ndarray, "*studies settings points"]
    best: Int[np.ndarray, "*studies settings"]
    chosen_mean: Float[np.ndarray, "*studies settings"]
    chosen_error: Float[np.ndarray, "*studies settings"]
    chosen_degrees: Float[np.ndarray, "*studies settings"]
    seeds: Int[np.ndarray, "*studies settings"]

    @property
    def difference(self) -> Float[np.ndarray, "*studies settings"]:
        """Difference of means at the reported candidate."""
        return _at(self.mean, self.best)

    def p_above(self, bound: float | np.ndarray) -> Float[np.ndarray, "*studies settings"]:
        """One-sided p-value of "the best candidate gains at most `bound`"; small: it gains more."""
        bound = np.asarray(bound, dtype=np.float64)
        chosen = _tail(self.chosen_mean - bound, self.chosen_error, self.chosen_degrees)
        reported = _tail(self.difference - bound, _at(self.error, self.best), _at(self.degrees, self.best))
        return np.asarray(np.maximum(chosen, reported))

    def p_below(self, bound: float | np.ndarray) -> Float[np.ndarray, "*studies settings"]:
        """One-sided p-value of "some candidate gains at least `bound`"; small: none does."""
        bound = np.asarray(bound, dtype=np.float64)[..., None]
        each = _tail(bound - self.mean, self.error, self.degrees)
        # A candidate with a value but no error keeps the question open.
        known = np.where(np.isfinite(each), each, 1.0)
        return np.asarray(np.where(np.isfinite(self.mean), known, 0.0).max(axis=-1))

    def interval(self, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
        """Two-sided interval of the best candidate's gain; NaN where a candidate has fewer than two seeds."""
        tail = (1 + level) / 2
        low = np.minimum(
            self.chosen_mean - _quantile(tail, self.chosen_degrees) * self.chosen_error,
            self.difference - _quantile(tail, _at(self.degrees, self.best)) * _at(self.error, self.best),
        )
        upper = self.mean + _quantile(tail, self.degrees) * self.error
        there = np.isfinite(self.mean)
        high = np.where(there, upper, -np.inf).max(axis=-1)
        known = there.any(axis=-1) & ~(there & ~np.isfinite(upper)).any(axis=-1) & np.isfinite(low)
        return np.where(known, low, np.nan), np.where(known, high, np.nan)


def contrasts(
    differences: Float[np.ndarray, "*studies settings seeds points"],
    choose: Float[np.ndarray, "*studies settings seeds points"] | None = None,
) -> Contrasts:
    """Compare every candidate with the reference, within seeds.

    Args:
        differences: value at the reference minus value at the candidate; NaN where either was not measured. A
            candidate that belongs to a setting has at least one value.
        choose: differences on other examples (validation) by which candidates are chosen; by default the same.
    """
    there = np.isfinite(differences)
    count = there.sum(axis=-2)
    known = np.where(there, differences, 0.0)
    mean = _ratio(known.sum(axis=-2), count)
    residuals = np.where(there, differences - mean[..., None, :], 0.0)
    variances = _ratio((residuals**2).sum(axis=-2), count - 1)
    moderated, degrees = moderate(variances, count - 1)
    sd = np.sqrt(moderated)
    error = sd / np.sqrt(np.maximum(count, 1))

    scale = _selection_scale(variances, count - 1)
    by = mean if choose is None else np.where(count > 0, _mean(choose), np.nan)
    best = _lower_limit(by, scale, count)
    best = np.where(np.isfinite(mean), np.where(np.isfinite(best), best, -1e300), -np.inf).argmax(axis=-1)
    weights = _weights(differences if choose is None else choose, there, scale)
    used = weights.sum(axis=-1) > 0
    n = used.sum(axis=-1)
    seeds = np.asarray(there.any(axis=-1).sum(axis=-1))
    if differences.shape[-1] and np.max(n, initial=0) == 0:  # one seed: nothing to choose from but itself
        lost = np.full(best.shape, np.nan)
        return Contrasts(mean, error, degrees, best, _at(mean, best), lost, lost, seeds)
    chosen = (weights * known).sum(axis=-1)
    noise = (weights * np.where(np.isfinite(sd), sd, 0.0)[..., None, :]).sum(axis=-1)
    average = weights.sum(axis=-2) / np.maximum(n, 1)[..., None]
    return Contrasts(
        mean,
        error,
        degrees,
        best,
        chosen_mean=_ratio(chosen.sum(axis=-1), n),
        chosen_error=_ratio(np.sqrt((noise**2).sum(axis=-1)), np.where(n > 1, n, 0)),
        chosen_degrees=np.where(n > 1, (average * np.where(np.isfinite(degrees), degrees, 0.0)).sum(axis=-1), np.nan),
        seeds=seeds,
    )


def _selection_scale(variances: np.ndarray, degrees: np.ndarray) -> Float[np.ndarray, "*studies settings points"]:
    """Standard deviations by which candidates are chosen: the noise's course over the candidates comes from all
    settings, its size from all candidates of the setting, so that no candidate is chosen for its own small sample sd.
    """
    there = degrees >= 1
    d = np.where(there, degrees, 0)
    total = d.sum(axis=-2, keepdims=True)
    logs = np.where(there, np.log(np.maximum(np.where(there, variances, 1.0), 1e-12)), 0.0)
    course = (d * logs).sum(axis=-2, keepdims=True) / np.maximum(total, 1)
    everything = np.maximum(d.sum(axis=(-2, -1), keepdims=True), 1)
    pooled = np.where(there, d * variances, 0.0).sum(axis=(-2, -1), keepdims=True) / everything
    level = np.log(np.maximum(pooled, 1e-12))
    share = total / (total + _SCALE_DEGREES)
    relative = np.exp(share * course + (1 - share) * level)
    size = np.where(there, d * variances / relative, 0.0).sum(axis=-1, keepdims=True)
    size = size / np.maximum(d.sum(axis=-1, keepdims=True), 1)
    return np.asarray(np.sqrt(relative * np.where(size > 0, size, 1.0)))


def _mean(values: np.ndarray) -> np.ndarray:
    """Over seeds; NaN where there is none."""
    there = np.isfinite(values)
    return _ratio(np.where(there, values, 0.0).sum(axis=-2), there.sum(axis=-2))


def _lower_limit(mean: np.ndarray, scale: np.ndarray, count: np.ndarray) -> np.ndarray:
    return np.where(count > 0, mean - scale / np.sqrt(np.maximum(count, 1)), np.nan)


def _weights(choose: np.ndarray, there: np.ndarray, scale: np.ndarray) -> Float[np.ndarray, "*s settings seeds points"]:
    """For each seed, weights over the candidates from the other seeds; all 0 where no other seed has a candidate."""
    told = np.isfinite(choose)
    known = np.where(told, choose, 0.0)
    others = told.sum(axis=-2, keepdims=True) - told
    mean = (known.sum(axis=-2, keepdims=True) - known) / np.maximum(others, 1)
    usable = there & (others > 0)
    error = scale[..., None, :] / np.sqrt(np.maximum(others, 1))
    lower = np.where(usable, mean - error, -np.inf)
    largest = lower.max(axis=-1, keepdims=True, initial=-np.inf)
    gap = np.where(usable, np.where(np.isfinite(largest), largest, 0.0) - np.where(usable, lower, 0.0), np.inf)
    weights = np.where(usable, np.exp(-gap / (_TEMPERATURE * error)), 0.0)
    total = weights.sum(axis=-1, keepdims=True)
    return np.asarray(np.divide(weights, total, where=total > 0, out=np.zeros_like(weights)))


def _at(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    return np.take_along_axis(values, index[..., None], axis=-1)[..., 0]


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.asarray(np.divide(above, below, where=below > 0, out=np.full(np.shape(above), np.nan)))


def _quantile(probability: float, degrees: np.ndarray) -> np.ndarray:
    return np.asarray(stdtrit(degrees, probability))


def _tail(distance: np.ndarray, error: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """P(T > distance / error); NaN without an error. An error of 0 decides by the sign alone."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(error > 0, distance / error, np.where(distance == 0, 0.0, np.sign(distance) * np.inf))
    ratio = np.where(np.isnan(error), np.nan, ratio)
    return np.asarray(stdtr(degrees, -ratio))

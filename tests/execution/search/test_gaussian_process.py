"""A curve that is only seen through noise: where its lowest point, or its crossing, lies."""

import numpy as np
import pytest

from rdstudy.execution.search.gaussian_process import AXIS, FLAT, GaussianProcess, _matern, crossing, lowest


def points(curve, n: int, noise: float, world: int):
    rng = np.random.default_rng(world)
    x = rng.uniform(size=n)
    seeds = np.arange(n) % 4
    return x, curve(x) + noise * rng.standard_normal(n), seeds, rng


def valley(at: float):
    return lambda x: 5 * (x - at) ** 2


def test_a_curve_without_noise_is_found_again():
    x, y, seeds, rng = points(valley(0.3), 20, 0.0, 0)
    drawn = GaussianProcess(x, y, seeds).draw(50, rng)
    inside = (x.min() < AXIS) & (x.max() > AXIS)
    np.testing.assert_allclose(drawn.mean(axis=0)[inside], valley(0.3)(AXIS)[inside], atol=0.02)


@pytest.mark.parametrize("at", [0.0, 0.4, 0.9])
def test_the_interval_of_the_lowest_point_covers_it_as_often_as_it_says(at):
    covered, widths = 0, []
    for world in range(60):
        x, y, seeds, rng = points(valley(at), 24, 0.3, world)
        found = GaussianProcess(x, y, seeds).locate(lowest, rng)
        covered += found.low - 0.01 <= at <= found.high + 0.01
        widths.append(found.high - found.low)
    assert covered >= 52, "95% of 60 is 57; less than 52 has a chance of 0.5%"
    assert np.median(widths) < 0.6, "and it says something"


def test_the_interval_of_a_crossing_covers_it():
    covered = 0
    for world in range(40):
        x, y, seeds, rng = points(lambda x: 1 / (1 + np.exp(12 * (x - 0.6))), 20, 0.03, world)
        found = GaussianProcess(x, y, seeds).locate(crossing(0.5), rng)
        covered += found.low - 0.01 <= 0.6 <= found.high + 0.01
    assert covered >= 33


def test_a_curve_that_never_crosses_is_put_at_an_end():
    assert crossing(0.5).places(np.ones((3, 101))).tolist() == [1.0] * 3
    assert crossing(0.5).places(np.zeros((3, 101))).tolist() == [0.0] * 3


def test_what_the_points_of_a_seed_have_in_common_does_not_move_the_lowest_point():
    x = np.tile(np.linspace(0, 1, 9), 4)
    seeds = np.repeat(np.arange(4), 9)
    y = valley(0.5)(x) + np.array([-3.0, 1.0, 0.0, 2.0])[seeds]
    found = GaussianProcess(x, y, seeds).locate(lowest, np.random.default_rng(0))
    assert found.low > 0.4
    assert found.high < 0.6


def _by_hand(x: np.ndarray, seeds: np.ndarray, likely: np.ndarray, length: float, noise: float, offset: float) -> float:
    """Where one more point lowers the mean variance of all differences most: pair by pair, from the definition."""
    both = np.concatenate([AXIS, x])
    prior = FLAT + _matern(np.abs(both[:, None] - both[None, :]) / length)
    observed = prior[101:, 101:] + noise**2 * np.eye(len(x)) + offset**2 * (seeds[:, None] == seeds)
    left = prior[:101, :101] - prior[:101, 101:] @ np.linalg.solve(observed, prior[101:, :101])
    there = np.flatnonzero(likely)
    gain = sum(
        likely[a] * likely[b] * (left[a] - left[b]) ** 2 / (left.diagonal() + noise**2) for a in there for b in there
    )
    return float(AXIS[np.argmax(gain)])


@pytest.mark.parametrize("pending", [0, 5])
def test_the_most_telling_point_lowers_the_variance_of_the_differences_most(pending, monkeypatch):
    monkeypatch.setattr("rdstudy.execution.search.gaussian_process.LEADING", 1)
    x, y, seeds, rng = points(valley(0.4), 14, 0.1, 3)
    surrogate = GaussianProcess(x, y, seeds)
    likely = surrogate.likely(lowest, rng)
    more, more_seeds = np.linspace(0.3, 0.5, pending), np.arange(pending) % 2
    found = surrogate.most_informative(lowest, likely, more, more_seeds)
    choice = surrogate._kept[int(surrogate._weights.argmax())]
    every, every_seed = np.append(x, more), np.append(seeds, more_seeds)
    assert found == _by_hand(every, every_seed, likely, choice.length, choice.noise, choice.offset)


def test_what_is_being_measured_is_not_measured_again_at_once():
    x, y, seeds, rng = points(valley(0.4), 14, 0.1, 3)
    surrogate = GaussianProcess(x, y, seeds)
    likely = surrogate.likely(lowest, rng)
    asked: list[float] = []
    for _ in range(8):
        at = np.array(asked)
        asked.append(surrogate.most_informative(lowest, likely, at, np.zeros(len(at), dtype=np.int64)))
    assert len(set(asked)) >= 4
    assert min(asked) < 0.4 < max(asked), "a lowest point is told from both sides"


def test_a_place_that_is_known_to_the_axis_s_last_point_leaves_something_to_ask():
    x, y, seeds, rng = points(valley(0.4), 40, 0.0, 3)
    surrogate = GaussianProcess(x, y, seeds)
    likely = surrogate.likely(lowest, rng)
    assert (likely > 0).sum() >= 2
    assert np.isfinite(surrogate.most_informative(lowest, likely, np.zeros(0), np.zeros(0, dtype=np.int64)))


def test_the_unit_of_the_values_does_not_matter():
    x, y, seeds, _ = points(valley(0.3), 20, 0.3, 1)
    first, second = (
        GaussianProcess(x, scaled, seeds).locate(lowest, np.random.default_rng(5)) for scaled in (y, 1000 * y + 7)
    )
    assert first == second


def test_two_points_are_not_a_curve():
    with pytest.raises(ValueError, match="at least 3 points; found 2"):
        GaussianProcess(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.array([0, 0]))

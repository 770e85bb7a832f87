"""Comparing with the best of several noisy points, without its luck."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rdstudy.analysis.contrasts import ABSENT, NO_EFFECT, OPEN, PRESENT, Effect, cross_fitted_contrast, effect
from tests.analysis import PROPERTY

values = st.tuples(st.integers(1, 5), st.integers(2, 6)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.floats(-100, 100) | st.just(np.nan))
)


def test_with_one_candidate_it_is_the_plain_difference():
    curve = np.random.default_rng(0).standard_normal((5, 3))
    np.testing.assert_allclose(cross_fitted_contrast(curve, 0, [2]), curve[:, 0] - curve[:, 2])


def test_a_candidate_that_stands_out_is_the_one_compared_with():
    curve = np.random.default_rng(0).standard_normal((5, 4))
    curve[:, 2] -= 1000
    np.testing.assert_allclose(cross_fitted_contrast(curve, 0, [1, 2, 3]), curve[:, 0] - curve[:, 2])


def test_a_seed_does_not_choose_what_it_is_compared_with():
    """The luck of one seed at one point must not enter its own comparison."""
    curve = np.zeros((4, 3))
    curve[:, 1] = [5.0, 5.1, 4.9, 5.0]
    curve[:, 2] = [6.0, 6.1, -50.0, 6.0]  # the third seed is lucky at the last point
    differences = cross_fitted_contrast(curve, 0, [1, 2])
    assert differences[2] < 0


@PROPERTY
@given(values, st.randoms(use_true_random=False))
def test_the_order_of_seeds_and_of_candidates_does_not_matter(curve, random):
    seeds = list(range(len(curve)))
    candidates = list(range(1, curve.shape[1]))
    before = cross_fitted_contrast(curve, 0, candidates)
    random.shuffle(seeds)
    random.shuffle(candidates)
    np.testing.assert_allclose(cross_fitted_contrast(curve[seeds], 0, candidates), before[seeds], atol=1e-6)


@PROPERTY
@given(values, st.floats(-100, 100))
def test_what_shifts_a_whole_curve_of_a_seed_changes_nothing(curve, shift):
    shifted = curve.copy()
    shifted += shift * np.arange(len(curve))[:, None]
    if np.isfinite(curve).all():
        np.testing.assert_allclose(
            cross_fitted_contrast(shifted, 0, [1]), cross_fitted_contrast(curve, 0, [1]), atol=1e-6
        )


@PROPERTY
@given(values)
def test_a_difference_exists_where_its_seed_has_both_ends(curve):
    differences = cross_fitted_contrast(curve, 0, range(1, curve.shape[1]))
    others = [np.delete(curve, s, axis=0) if len(curve) > 1 else curve for s in range(len(curve))]
    for seed, own in enumerate(curve):
        comparable = np.isfinite(own[1:]) & np.isfinite(others[seed][:, 1:]).any(axis=0)
        assert np.isfinite(differences[seed]) == (np.isfinite(own[0]) and comparable.any())


def test_without_candidates_or_seeds_there_is_nothing_to_say():
    assert np.isnan(cross_fitted_contrast(np.zeros((3, 2)), 0, [])).all()
    assert cross_fitted_contrast(np.zeros((0, 2)), 0, [1]).shape == (0,)
    assert effect(np.array([np.nan])) == NO_EFFECT


@pytest.mark.parametrize(
    ("nats", "low", "high", "seeds", "decided"),
    [
        (2.0, 1.0, 3.0, 5, PRESENT),
        (2.0, -1.0, 5.0, 5, OPEN),
        (0.3, 0.1, 0.45, 5, ABSENT),  # real, and too small to matter
        (0.3, 0.1, 0.6, 5, OPEN),
        (-2.0, -3.0, -1.0, 5, ABSENT),
        (2.0, 1.0, 3.0, 2, OPEN),
        (2.0, np.nan, np.nan, 1, OPEN),
    ],
)
def test_an_effect_is_present_absent_or_open(nats, low, high, seeds, decided):
    assert Effect(nats, low, high, 1.0, seeds).decided(0.5) == decided


def _noise(kind: str, generator: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    normal = generator.standard_normal(shape)
    match kind:
        case "shared by a seed":
            return normal + 2 * generator.standard_normal((shape[0], 1))
        case "growing along the curve":
            return np.asarray(normal * np.linspace(0.2, 3, shape[1]))
        case "correlated along the curve":
            for k in range(1, shape[1]):
                normal[:, k] = 0.8 * normal[:, k - 1] + 0.6 * normal[:, k]
    return normal


NOISES = ["even", "shared by a seed", "growing along the curve", "correlated along the curve"]


@pytest.mark.parametrize(("seeds", "kind"), [(3, "growing along the curve"), (10, "even")])
def test_with_no_effect_the_interval_lies_above_0_in_at_most_5_percent(seeds, kind):
    """1,500 studies of 12 betas each; the expected share is 2.5 to 3.5%, its standard error 0.5%."""
    generator = np.random.default_rng(11)
    found = [effect(cross_fitted_contrast(_noise(kind, generator, (seeds, 12)), 0, range(1, 12))) for _ in range(1500)]
    assert np.mean([one.low > 0 for one in found]) <= 0.05


@pytest.mark.simulation
@pytest.mark.parametrize("kind", NOISES)
@pytest.mark.parametrize("points", [2, 12])
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_with_no_effect_the_error_stays_under_5_percent_for_any_number_of_betas(seeds, points, kind):
    """4,000 studies each: 4.5% is three standard errors above the largest share expected, 3.5%."""
    generator = np.random.default_rng(12)
    found = [
        effect(cross_fitted_contrast(_noise(kind, generator, (seeds, points)), 0, range(1, points)))
        for _ in range(4000)
    ]
    assert np.mean([one.low > 0 for one in found]) <= 0.045


def test_an_effect_that_is_there_is_found():
    """200 studies, five seeds, noise 1: a point 5 nats below the reference is found nearly always."""
    generator = np.random.default_rng(13)
    found = 0
    for _ in range(200):
        curve = generator.standard_normal((5, 12))
        curve[:, 4] -= 5
        found += effect(cross_fitted_contrast(curve, 0, range(1, 12))).decided() == PRESENT
    assert found >= 180

"""The plane of rate and distortion: hull, dominance and area."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rdstudy.analysis.hull import dominated, hypervolume, hypervolumes, lower_hull
from tests.analysis import PROPERTY

# Eighths are exact in binary, so that ties and straight lines are really met.
coordinates = st.integers(0, 800).map(lambda k: k / 8)
points = st.integers(1, 12).flatmap(lambda n: arrays(np.float64, (2, n), elements=coordinates))


def test_the_hull_of_a_known_set_is_its_lower_left_corners():
    rate = np.array([0.0, 1.0, 2.0, 2.0, 4.0, 5.0])
    distortion = np.array([10.0, 4.0, 5.0, 3.0, 1.0, 1.5])
    assert lower_hull(rate, distortion).tolist() == [True, True, False, False, True, False]
    assert dominated(rate, distortion).tolist() == [False, False, True, False, False, True]


@PROPERTY
@given(points)
def test_no_point_lies_below_the_hull(plane):
    rate, distortion = plane
    corners = np.flatnonzero(lower_hull(rate, distortion))
    corners = corners[np.argsort(rate[corners])]
    assert len(corners) >= 1
    # The first corner has the least rate, the last the least distortion, and in between the hull is below all.
    assert rate[corners[0]] == rate.min()
    assert distortion[corners[-1]] == distortion.min()
    inside = (rate >= rate[corners[0]]) & (rate <= rate[corners[-1]])
    below = np.interp(rate[inside], rate[corners], distortion[corners])
    assert (distortion[inside] >= below - 1e-9).all()


@PROPERTY
@given(points)
def test_the_hull_falls_ever_less_steeply(plane):
    rate, distortion = plane
    corners = np.flatnonzero(lower_hull(rate, distortion))
    corners = corners[np.argsort(rate[corners])]
    slopes = np.diff(distortion[corners]) / np.diff(rate[corners])
    assert (slopes < 0).all()
    assert (np.diff(slopes) > 0).all()


@PROPERTY
@given(points)
def test_a_corner_of_the_hull_is_not_dominated(plane):
    rate, distortion = plane
    assert not (lower_hull(rate, distortion) & dominated(rate, distortion)).any()


@PROPERTY
@given(points, st.randoms(use_true_random=False))
def test_the_order_of_points_does_not_matter(plane, random):
    order = list(range(plane.shape[1]))
    random.shuffle(order)
    rate, distortion = plane
    np.testing.assert_array_equal(dominated(*plane[:, order]), dominated(rate, distortion)[order])
    again = plane[:, order][:, lower_hull(*plane[:, order])]
    once = plane[:, lower_hull(rate, distortion)]
    assert sorted(map(tuple, again.T)) == sorted(map(tuple, once.T))
    assert hypervolume(plane[0, order], plane[1, order], (90.0, 90.0)) == pytest.approx(
        hypervolume(rate, distortion, (90.0, 90.0))
    )


@PROPERTY
@given(points)
def test_every_minimum_of_a_lagrangian_is_reached_on_the_hull(plane):
    rate, distortion = plane
    on_hull = lower_hull(rate, distortion)
    for beta in (0.01, 0.3, 1.0, 5.0):
        objective = distortion + beta * rate
        assert objective[on_hull].min() == pytest.approx(objective.min())


@PROPERTY
@given(points)
def test_points_that_were_not_measured_change_nothing(plane):
    rate, distortion = plane
    missing = np.array([np.nan, 1.0, np.nan])
    longer = np.concatenate([rate, missing]), np.concatenate([distortion, missing[::-1] * np.nan])
    assert lower_hull(*longer).tolist() == [*lower_hull(rate, distortion), False, False, False]
    assert not dominated(*longer)[-3:].any()
    assert hypervolume(longer[0], longer[1], (50.0, 50.0)) == pytest.approx(hypervolume(rate, distortion, (50.0, 50.0)))


def test_the_area_of_one_point_is_a_rectangle_and_of_none_unknown():
    assert hypervolume(np.array([2.0]), np.array([3.0]), (10.0, 8.0)) == pytest.approx(8 * 5)
    assert hypervolume(np.array([12.0]), np.array([3.0]), (10.0, 8.0)) == 0.0
    assert np.isnan(hypervolume(np.array([np.nan]), np.array([3.0]), (10.0, 8.0)))


def test_the_area_over_a_segment_is_a_trapezoid_and_a_rectangle():
    # From (0, 8) to (4, 0) a triangle of 16, then 6 * 8 to the right of it.
    assert hypervolume(np.array([0.0, 4.0]), np.array([8.0, 0.0]), (10.0, 8.0)) == pytest.approx(16 + 48)


@PROPERTY
@given(points, st.tuples(coordinates, coordinates))
def test_the_area_is_the_integral_of_what_lies_above_the_hull(plane, reference):
    rate, distortion = plane
    corners = np.flatnonzero(lower_hull(rate, distortion))
    corners = corners[np.argsort(rate[corners])]
    step = 100 / 4000
    middle = (np.arange(4000) + 0.5) * step
    hull = np.interp(middle, rate[corners], distortion[corners])
    hull[middle < rate[corners[0]]] = np.inf
    counted = middle < reference[0]
    integral = np.clip(reference[1] - hull[counted], 0, None).sum() * step
    assert hypervolume(rate, distortion, reference) == pytest.approx(integral, abs=5.1)  # one column of the sum


@PROPERTY
@given(points, coordinates, coordinates)
def test_another_point_never_makes_the_area_smaller(plane, rate, distortion):
    more = np.column_stack([plane, [rate, distortion]])
    assert hypervolume(more[0], more[1], (70.0, 60.0)) >= hypervolume(plane[0], plane[1], (70.0, 60.0)) - 1e-9


def test_areas_of_many_curves_are_those_of_each():
    generator = np.random.default_rng(5)
    rate, distortion = generator.uniform(0, 10, (2, 50, 7))
    rate[3, 2] = np.nan
    together = hypervolumes(rate, distortion, (8.0, 9.0))
    alone = [hypervolume(r, d, (8.0, 9.0)) for r, d in zip(rate, distortion, strict=True)]
    np.testing.assert_allclose(together, alone)

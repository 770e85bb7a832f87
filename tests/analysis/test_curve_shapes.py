"""The shape of a curve over beta, decided with intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rdstudy.analysis.curve_shapes import FALLING, FLAT, HUMPED, RISING, U_SHAPED, UNDECIDED, Shape, shapes, shapes_of
from tests.analysis import PROPERTY
from tests.analysis.synthetic import GRID, Planted, constant_test, falling, rising, study_table, u_shaped

ALONG = np.linspace(-1, 1, 12)
CURVES = {
    U_SHAPED: 10 * ALONG**2,
    HUMPED: -10 * ALONG**2,
    FALLING: -5 * ALONG,
    RISING: 5 * ALONG,
    FLAT: 0 * ALONG,
}


def shape_of(values: np.ndarray) -> Shape:
    """The shape of one setting on its own."""
    (found,) = shapes_of([(np.geomspace(5, 0.001, values.shape[1]), values)])
    return found


@pytest.mark.parametrize("shape", list(CURVES))
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_a_planted_shape_is_recovered(shape, seeds):
    generator = np.random.default_rng(0)
    noise = 0.03 * generator.standard_normal((seeds, 12)) + generator.standard_normal((seeds, 1))
    assert shape_of(CURVES[shape] + noise).name == shape
    assert shape_of(CURVES[shape] + noise).of_means == shape


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_decide_nothing(seeds):
    noise = 0.1 * np.random.default_rng(0).standard_normal((seeds, 12))
    for shape, curve in CURVES.items():
        found = shape_of(curve + noise)
        assert (found.name, found.of_means) == (UNDECIDED, shape)


def test_a_small_rise_at_the_end_of_a_long_fall_does_not_make_a_u():
    curve = np.append(np.linspace(149, 72.7, 11), 74.0)
    noise = 0.05 * np.random.default_rng(0).standard_normal((5, 12))
    assert shape_of(curve + noise).name == FALLING


def test_a_single_beta_has_no_shape():
    assert shape_of(np.ones((5, 1))).name == UNDECIDED
    assert shape_of(np.full((5, 3), np.nan)).name == UNDECIDED


def test_betas_that_were_not_measured_are_as_if_they_were_not_there():
    generator = np.random.default_rng(0)
    curve = CURVES[U_SHAPED] + 0.1 * generator.standard_normal((5, 12))
    with_gap = curve.copy()
    with_gap[:, [0, 5]] = np.nan
    assert shape_of(with_gap).fall == shape_of(np.delete(curve, [0, 5], axis=1)).fall


@PROPERTY
@given(arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 6)), elements=st.floats(-50, 50)))
def test_read_backwards_a_fall_is_a_rise(curve):
    mirrored = {FALLING: RISING, RISING: FALLING}
    forwards, backwards = shape_of(curve), shape_of(curve[:, ::-1])
    assert backwards.of_means == mirrored.get(forwards.of_means, forwards.of_means)
    if {forwards.name, backwards.name} <= {U_SHAPED, FALLING, RISING, FLAT, UNDECIDED}:
        assert backwards.name == mirrored.get(forwards.name, forwards.name)


@PROPERTY
@given(
    arrays(np.float64, st.tuples(st.integers(3, 5), st.integers(2, 6)), elements=st.integers(-50, 50)),
    st.randoms(use_true_random=False),
)
def test_the_order_of_seeds_does_not_matter(curve, random):
    order = list(range(len(curve)))
    random.shuffle(order)
    assert shape_of(curve[order]).of_means == shape_of(curve).of_means
    np.testing.assert_allclose(shape_of(curve[order]).fall.nats, shape_of(curve).fall.nats, atol=1e-9)


def test_with_nothing_planted_a_wrong_shape_is_named_in_at_most_5_percent():
    """600 studies of five seeds and 12 betas, noise of 3 nats; U, rise, fall and hump are all wrong."""
    generator = np.random.default_rng(7)
    named = [shape_of(3 * generator.standard_normal((5, 12))).name for _ in range(600)]
    wrong = sum(name in (U_SHAPED, FALLING, RISING, HUMPED) for name in named)
    assert wrong <= 30


@pytest.mark.parametrize(
    ("gap", "shape"), [(u_shaped(), U_SHAPED), (falling(), FALLING), (rising(), RISING), (constant_test(), FLAT)]
)
def test_the_shape_of_a_study_is_read_from_the_largest_beta_to_the_smallest(gap, shape):
    found = shapes(study_table([Planted(gap)], noise=0.1))
    test = found[(found["population"] == "test") & (found["criterion"] == "distortion_nats")].iloc[0]
    assert test["shape"] == shape
    assert (test["n_betas"], test["n_seeds"]) == (len(GRID), 5)
    train = found[(found["population"] == "train") & (found["criterion"] == "distortion_nats")].iloc[0]
    assert train["shape"] == FALLING


def test_the_planted_minimum_and_rise_are_within_their_intervals():
    found = shapes(study_table([Planted(u_shaped(best=0.5, rise=4.0))]))
    row = found[(found["population"] == "test") & (found["criterion"] == "distortion_nats")].iloc[0]
    assert row["min_beta"] == 0.5
    assert row["rise_low"] <= 4 * np.log10(0.5 / 0.001) <= row["rise_high"] + 0.5  # the soft minimum is no lower


@pytest.mark.parametrize("name", ["distortion_nats", "negative_elbo_nats", "nll_nats"])
def test_a_criterion_without_a_measurement_has_no_row(name):
    table = study_table([Planted()], nll=False, betas=(1.0, 0.1))
    assert (name in set(shapes(table)["criterion"])) == (name != "nll_nats")

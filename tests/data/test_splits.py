import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdstudy.data.dataset import Dataset, make_dataset
from rdstudy.data.splits import split_dataset
from rdstudy.data.tetrominoes import draw_factors
from rdstudy.data.tetrominoes_drawing import FACTORS

MIDDLE = np.array([factor.middle for factor in FACTORS])
RANGE = np.array([factor.high - factor.low for factor in FACTORS])


def digits(n_train: int = 600, n_test: int = 100, classes: int = 10) -> Dataset:
    n = n_train + n_test
    images = np.arange(n, dtype=np.uint32).view(np.uint8).reshape(n, 4)
    return make_dataset("mnist", images, (2, 2, 1), labels=np.arange(n) % classes, standard_train=n_train)


def own(n: int = 100) -> Dataset:
    return make_dataset("images", np.arange(n, dtype=np.uint8).reshape(n, 1), (1, 1, 1))


def pieces(n: int = 4096) -> Dataset:
    images = np.arange(n, dtype=np.uint32).view(np.uint8).reshape(n, 4)
    return make_dataset("tetrominoes", images, (2, 2, 1), factors=draw_factors(0, n))


CASES = [
    (digits(), "standard"),
    (digits(), "random"),
    (digits(), "holdout(7,9)"),
    (pieces(), "random"),
    (pieces(), "checkerboard"),
    (pieces(), "cropped(0.5)"),
    (own(), "random"),
]
IDS = [f"{dataset.name}-{split}" for dataset, split in CASES]


@pytest.mark.parametrize(("dataset", "split"), CASES, ids=IDS)
def test_no_example_is_in_both_parts_or_twice_in_one(dataset, split):
    parts = split_dataset(dataset, split, seed=0)
    both = np.concatenate([parts.train, parts.test])
    assert len(np.unique(both)) == len(both) <= dataset.n_examples
    assert both.min() >= 0
    assert both.max() < dataset.n_examples


@pytest.mark.parametrize(("dataset", "split"), CASES, ids=IDS)
def test_the_seed_determines_the_split(dataset, split):
    first, same, other = (split_dataset(dataset, split, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first.train, same.train)
    assert np.array_equal(first.test, same.test)
    assert not np.array_equal(first.train, other.train)


@pytest.mark.parametrize(("dataset", "split"), CASES, ids=IDS)
def test_training_sets_are_nested_and_the_test_set_is_one(dataset, split):
    parts = split_dataset(dataset, split, seed=0)
    whole = parts.training(len(parts.train))
    assert np.array_equal(whole, parts.train)
    for size in (1, 10, 50):
        assert np.array_equal(parts.training(size), whole[:size])
    few = split_dataset(dataset, split, seed=0, test_size=5)
    assert np.array_equal(few.train, parts.train)
    assert np.array_equal(few.test, parts.test[:5])


@pytest.mark.parametrize(("dataset", "split"), CASES, ids=IDS)
def test_the_order_is_random_so_that_the_first_are_like_the_others(dataset, split):
    parts = split_dataset(dataset, split, seed=1)
    for order in (parts.train, parts.test):
        half = len(order) // 2
        apart = order[:half].mean() - order[half:].mean()
        assert abs(apart) < 4 * order.std() * np.sqrt(4 / len(order))


@pytest.mark.parametrize("size", [0, -1, 601])
def test_a_training_set_that_is_not_there_is_refused_with_what_is(size):
    with pytest.raises(ValueError, match=rf"train_size={size}, but split standard of mnist .* allowed: 1 to 600$"):
        split_dataset(digits(), "standard", seed=0).training(size)


@pytest.mark.parametrize("test_size", [0, 101])
def test_a_test_set_that_is_not_there_is_refused_with_what_is(test_size):
    with pytest.raises(ValueError, match=rf"test_size={test_size}, but split .* allowed: 1 to 100$"):
        split_dataset(digits(), "standard", seed=0, test_size=test_size)


def test_standard_is_the_data_sets_own_split():
    parts = split_dataset(digits(), "standard", seed=0)
    assert np.array_equal(np.sort(parts.train), np.arange(600))
    assert np.array_equal(np.sort(parts.test), np.arange(600, 700))


def test_random_pools_both_parts_and_keeps_their_sizes():
    parts = split_dataset(digits(), "random", seed=0)
    assert (len(parts.train), len(parts.test)) == (600, 100)
    from_test = (parts.test >= 600).sum()  # hypergeometric: 100 draws, 100 of 700, mean 14.3, deviation 3.2
    assert abs(from_test - 100 / 7) < 4 * 3.24


@given(st.sets(st.integers(0, 9), min_size=1, max_size=9))
def test_held_out_classes_are_all_that_is_tested_and_nothing_of_what_is_trained(classes):
    dataset = digits()
    parts = split_dataset(dataset, {"holdout": sorted(classes)}, seed=0)
    assert dataset.labels is not None
    assert set(dataset.labels[parts.test]) == classes
    assert set(dataset.labels[parts.train]) == set(range(10)) - classes
    assert len(parts.train) == 60 * (10 - len(classes))
    assert parts.train.max() < 600 <= parts.test.min()


def test_a_class_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(ValueError, match=r"mnist has no class 10, 12; its classes are 0, 1, 2, .*, 8, 9$"):
        split_dataset(digits(), "holdout(3,10,12)", seed=0)


def test_holding_out_every_class_leaves_nothing_to_train_on():
    with pytest.raises(ValueError, match="leaves 0 training and 100 test examples"):
        split_dataset(digits(classes=2), "holdout(0,1)", seed=0)


def test_checkerboard_tests_on_combinations_that_are_never_trained():
    dataset = pieces()
    parts = split_dataset(dataset, "checkerboard", seed=0)
    assert dataset.factors is not None
    upper = dataset.factors >= MIDDLE
    boxes = upper @ (1 << np.arange(5))
    trained, tested = set(boxes[parts.train].tolist()), set(boxes[parts.test].tolist())
    assert len(trained) == len(tested) == 16
    assert trained.isdisjoint(tested)
    assert all(box.bit_count() % 2 == 0 for box in trained)
    assert len(parts.train) == len(parts.test) == 2048


def test_each_half_of_each_single_factor_is_trained_and_tested_alike():
    dataset = pieces()
    parts = split_dataset(dataset, "checkerboard", seed=0)
    assert dataset.factors is not None
    upper = dataset.factors >= MIDDLE
    assert np.array_equal(upper[parts.train].mean(axis=0), [0.5] * 5)
    assert np.array_equal(upper[parts.test].mean(axis=0), [0.5] * 5)


def test_cropped_keeps_the_central_box_and_halves_it():
    dataset = pieces()
    parts = split_dataset(dataset, "cropped(0.5)", seed=0)
    assert dataset.factors is not None
    inside = (np.abs(dataset.factors - MIDDLE) <= RANGE / 2 * 0.5**0.2).all(axis=1)
    assert np.array_equal(np.sort(np.concatenate([parts.train, parts.test])), np.flatnonzero(inside))
    assert 0 <= len(parts.train) - len(parts.test) <= 1
    assert abs(inside.sum() - 2048) < 4 * np.sqrt(4096 / 4)


def test_cropping_to_almost_nothing_is_refused():
    with pytest.raises(ValueError, match=r"cropped\(1e-06\) of tetrominoes \(4096 examples\) leaves 0 training"):
        split_dataset(pieces(), "cropped(0.000001)", seed=0)


@pytest.mark.parametrize(("n", "n_test"), [(2, 1), (5, 1), (6, 2), (100, 20)])
def test_a_fifth_of_ones_own_images_is_tested(n, n_test):
    parts = split_dataset(own(n), "random", seed=0)
    assert (len(parts.train), len(parts.test)) == (n - n_test, n_test)


def test_one_image_cannot_be_split():
    with pytest.raises(ValueError, match="leaves 0 training and 1 test examples; it needs one of each"):
        split_dataset(own(1), "random", seed=0)


def test_indices_are_read_only():
    parts = split_dataset(own(), "random", seed=0)
    with pytest.raises(ValueError, match="read-only"):
        parts.train[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        parts.test[0] = 1


def test_a_split_of_another_data_set_is_refused():
    with pytest.raises(
        ValueError, match="split 'checkerboard' is not allowed for data set mnist, which allows standard"
    ):
        split_dataset(digits(), "checkerboard", seed=0)


# --- validation examples ---


@pytest.mark.parametrize(("dataset", "name"), CASES, ids=IDS)
def test_validation_examples_are_set_apart_from_train_and_test(dataset, name):
    whole = split_dataset(dataset, name, seed=3)
    size = len(whole.test) // 3
    split = split_dataset(dataset, name, seed=3, validation_size=size)
    assert len(split.validation) == size
    parts = [set(part.tolist()) for part in (split.train, split.test, split.validation)]
    assert sum(map(len, parts)) == len(set.union(*parts))
    assert parts[1] | parts[2] == set(whole.test.tolist())
    np.testing.assert_array_equal(split.train, whole.train)


@pytest.mark.parametrize(("dataset", "name"), CASES, ids=IDS)
def test_validation_examples_follow_from_the_data_seed(dataset, name):
    first, again, other = (split_dataset(dataset, name, seed=seed, validation_size=5) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.validation, again.validation)
    assert first.validation.tolist() != other.validation.tolist()


def test_without_validation_examples_there_are_none():
    assert len(split_dataset(own(), "random", seed=0).validation) == 0


def test_the_test_examples_of_a_test_size_do_not_depend_on_the_validation_size():
    plain = split_dataset(own(), "random", seed=0, test_size=12)
    for size in (1, 5, 8):
        split = split_dataset(own(), "random", seed=0, test_size=12, validation_size=size)
        np.testing.assert_array_equal(split.test, plain.test)
        assert not set(split.test.tolist()) & set(split.validation.tolist())


@pytest.mark.parametrize(
    ("test_size", "size", "words"),
    [
        (None, 20, "has 20 test examples, and one is kept for the test set; allowed: 0 to 19"),
        (12, 9, "has 20 test examples, and test_size=12 of them are tested on; allowed: 0 to 8"),
    ],
)
def test_too_large_a_validation_size_is_refused(test_size, size, words):
    with pytest.raises(ValueError, match=f"validation_size={size}, but .* {words}"):
        split_dataset(own(), "random", seed=0, test_size=test_size, validation_size=size)

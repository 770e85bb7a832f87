import subprocess
import sys

import numpy as np
import pytest

from rdstudy.study.seeding import generator


def test_equal_arguments_give_equal_bits():
    first, second = generator("a", "noise", 3), generator("a", "noise", 3)
    assert np.array_equal(first.standard_normal(1000), second.standard_normal(1000))


def test_a_generator_does_not_depend_on_what_was_drawn_before():
    expected = generator("a", "noise", 3).random(5)
    generator("a", "noise", 2).random(100)
    np.random.default_rng().random(7)
    assert np.array_equal(generator("a", "noise", 3).random(5), expected)


@pytest.mark.parametrize(
    "other",
    [
        ("b", "noise", 3),
        ("a", "order", 3),
        ("a", "noise", 4),
        ("a", "noise"),
        ("a", "noise", 3, "train"),
        ("a", "noise", 3, "test"),
    ],
)
def test_another_cell_purpose_or_chunk_gives_unrelated_numbers(other):
    n = 20_000
    mine, others = generator("a", "noise", 3).standard_normal(n), generator(*other).standard_normal(n)
    assert not np.any(mine == others)
    assert abs(np.mean(mine * others)) < 4.5 / np.sqrt(n)  # a correlation of 0 within 4.5 standard errors


def test_the_numbers_are_the_same_for_ever():
    """Every finished cell's numbers hang on these; NumPy does not promise them for all of its methods."""
    rng = generator("0123456789abcdef", "noise", 0)
    assert rng.random(2).tolist() == [0.9515546302497284, 0.7645720593877509]
    assert rng.random(2, dtype="float32").tolist() == [0.29384398460388184, 0.3975186347961426]
    assert rng.standard_normal(2, dtype=np.float32).tolist() == [-0.972388744354248, -0.7169737815856934]
    assert rng.permutation(8).tolist() == [5, 0, 7, 3, 1, 6, 4, 2]


def test_the_numbers_are_the_same_in_another_process():
    program = "from rdstudy.study.seeding import generator; print(generator('a', 'order', 1).integers(2**60))"
    drawn = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert int(drawn) == generator("a", "order", 1).integers(2**60)

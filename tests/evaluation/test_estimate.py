"""Means of a subsample carried over to all examples."""

import numpy as np
import pytest
import torch

from rdstudy.evaluation.estimate import LEAST_TO_REGRESS, regressed_mean

N = 500


def draws(*sds: float, seed: int = 0) -> list[torch.Tensor]:
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(sd * rng.standard_normal(N)) for sd in sds]


def test_what_is_linear_in_the_terms_is_carried_over_without_an_error():
    first, second = draws(3.0, 50.0)
    value = 7.0 + 0.9 * first - 0.1 * second
    mean, error = regressed_mean(value[:40].tolist(), (first, second))
    assert mean == pytest.approx(value.mean().item(), abs=1e-9)
    assert error == pytest.approx(value.std().item() / np.sqrt(N), rel=0.3)


@pytest.mark.parametrize("m", [8, LEAST_TO_REGRESS, 40])
def test_terms_that_say_nothing_of_the_value_add_no_noise_to_it(m):
    """As D and R at small beta: hundreds of nats of the encoder's miss, of which the NLL knows nothing."""
    off = []
    for seed in range(200):
        value, *terms = draws(5.0, 300.0, 200.0, seed=seed)
        mean, error = regressed_mean(value[:m].tolist(), terms)
        assert error is not None
        assert error < 2.5 * 5.0 / np.sqrt(m)
        off.append((mean - value.mean().item()) / error)
    assert np.std(off) == pytest.approx(1.0, abs=0.25)
    assert abs(np.mean(off)) < 4 / np.sqrt(len(off))


def test_with_slopes_of_one_the_terms_are_taken_as_they_are():
    (first,) = draws(3.0)
    value = first + draws(0.1, seed=1)[0]
    mean, error = regressed_mean(value[:5].tolist(), (first,), fitted=False)
    assert mean == pytest.approx(value.mean().item(), abs=0.3)
    assert error is not None
    assert error < 0.3


def test_a_single_example_has_no_error():
    (first,) = draws(1.0)
    assert regressed_mean([3.0], (first,)) == (3.0, None)

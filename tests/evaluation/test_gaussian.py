import math

import pytest
import torch

from rdstudy.evaluation.gaussian import active_units, log_posterior


def test_a_code_with_std_1e6_at_mean_1e3_keeps_its_density():
    mean = torch.full((1, 2), 1e3, dtype=torch.float64)
    log_std = torch.full((1, 2), math.log(1e-6), dtype=torch.float64)
    z = mean + torch.tensor([[2.0**-20, 0.0]], dtype=torch.float64)  # exact in binary
    expected = -0.5 * (2.0**-20 / 1e-6) ** 2 - math.log(2 * math.pi) - 2 * math.log(1e-6)
    assert log_posterior(z, mean, log_std).item() == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_a_unit_is_active_if_its_mean_moves_wherever_it_lies(shift):
    moves = torch.tensor([-1.0, 1.0]).repeat(500)[:, None]
    spread = torch.tensor([0.0, 0.0999, 0.1001, 1.0])  # variances 0, 0.00998, 0.01002, 1
    assert active_units((moves * spread).double() + shift) == 2
    assert active_units((moves * spread).double() + shift, threshold=0.0) == 3


def test_one_example_has_no_active_units():
    assert active_units(torch.ones(1, 5)) == 0

"""A budget ends a run at its limit, and at no other moment."""

import pytest

from rdstudy.errors import UserError
from rdstudy.execution.budget import Budget
from tests.command import values


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def one() -> int:
    return 1


def test_without_limits_nothing_is_ever_over():
    clock = Clock()
    budget = Budget(clock=clock)
    clock.now = 1e9
    assert budget.exceeded(one) is None


def test_hours_are_over_when_they_are_over():
    clock = Clock()
    budget = Budget(hours=2.0, clock=clock)
    clock.now = 7199.0
    assert budget.exceeded(one) is None
    clock.now = 7200.0
    assert budget.exceeded(one) == "--max-hours 2 is reached"


def test_a_cost_is_price_times_machines_times_hours():
    clock = Clock()
    budget = Budget(cost=10.0, price=1.5, clock=clock)
    while budget.exceeded(lambda: 4 if clock.now <= 3600 else 2) is None:
        clock.now += 60
    assert clock.now / 3600 == pytest.approx(1 + (10 - 6) / 3, abs=1.5 / 60)


def test_a_machine_that_slept_is_not_paid_for():
    clock = Clock()
    budget = Budget(cost=10.0, price=1.0, clock=clock)
    clock.now = 1e6
    assert budget.exceeded(one) is None
    assert budget.spent < 0.1


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"hours": 0.0}, "--max-hours: expected more than 0; found 0"),
        ({"hours": float("nan")}, "--max-hours: expected more than 0; found nan"),
        ({"cost": 5.0}, "--max-cost and --price"),
        ({"price": 5.0}, "--max-cost and --price"),
        ({"cost": -5.0, "price": 1.0}, "--max-cost: expected more than 0"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(limits, words):
    with pytest.raises(UserError, match=words):
        Budget(**limits)


def test_a_run_over_budget_stops_and_goes_on_to_the_same_table(command, study_file, tmp_path):
    more = ("--no-ray", "--set", "resources.checkpoint_seconds=0.001", "--set", "resources.pack_size=1")
    stopped = command("run", study_file, *more, "--max-hours", "1e-7")
    assert stopped.code == 1
    assert "stopped: --max-hours 1e-07 is reached" in stopped.out
    assert command("run", study_file, *more).code == 0
    assert command("run", study_file, "--no-ray", "--results", "whole").code == 0
    assert values(tmp_path / "results" / "tiny").equals(values(tmp_path / "whole"))


def test_hours_are_called_what_set_them():
    time = iter([0.0, 3600.0 * 3])
    budget = Budget(2.0, limit="search.stop_when.hours", clock=lambda: next(time))
    assert budget.exceeded(lambda: 1) == "search.stop_when.hours 2 is reached"

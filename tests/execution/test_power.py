"""What `plan` says a study will be able to decide."""

import json
import time

import pytest

from rdstudy.execution.power import study_power
from rdstudy.study import Study, parse_study

GRID = {"split": "[random]", "beta": "[1, 0.1]", "train_size": "[100]", "depth": "[1, 3]", "seed": "{count: 6}"}


def study(more: str = "", **grid: str) -> Study:
    lists = "".join(f"  {name}: {values}\n" for name, values in {**GRID, **grid}.items() if values)
    return parse_study(f"name: x\ndataset: {{name: tetrominoes}}\ngrid:\n{lists}training: {{steps: 10}}\n{more}")


def test_betas_are_compared_within_a_seed_in_every_setting():
    power = study_power(study(width="[8, 16]", train_size="[100, 200]"))
    assert power is not None
    assert (power.compared, power.comparisons, power.seeds) == ("betas", 8, 6)
    assert set(power.table["effect_nats"]) == {1, 2, 5}
    assert (power.table.sort_values("effect_nats").groupby("sd_nats")["power_all"].is_monotonic_increasing).all()


def test_depths_are_compared_at_each_beta_where_there_is_one_beta():
    power = study_power(study(beta="[1]", width="[8, 16]"))
    assert power is not None
    assert (power.compared, power.comparisons) == ("depths", 2)


@pytest.mark.parametrize(
    "nothing",
    [
        study(beta="[1]", depth="[2]"),
        study(
            "search: {goal: best_beta, metric: test_distortion, beta: {low: 0.01, high: 1}, stop_when: {cells: 9}}",
            beta="",
            seed="[0]",
        ),
    ],
    ids=["one beta and depth", "search"],
)
def test_a_study_that_compares_nothing_within_a_seed_has_no_power(nothing):
    assert study_power(nothing) is None


def test_more_seeds_find_more_and_two_find_nothing():
    found = [study_power(study(seed=f"{{count: {n}}}")) for n in (2, 3, 6, 20)]
    shares = [one.table["power_all"].sum() for one in found if one is not None]
    assert shares == sorted(shares)
    assert shares[0] == 0


def test_power_takes_little_time():
    begun = time.process_time()
    study_power(study(width=str(list(range(1, 60))), seed="{count: 1000}"))
    assert time.process_time() - begun < 3  # of the processor, whatever else runs


def test_the_plan_says_it_in_words_and_as_json(command, study_file):
    three = ("--set", "grid.seed={count: 3}")
    assert "power with" in command("plan", study_file, *three).out
    assert "all stay open with 1 seed;" in command("plan", study_file, "--set", "grid.seed={count: 1}").out
    power = json.loads(command("plan", study_file, *three, "--json").out)["power"]
    assert power["seeds"] == 3
    assert {row["effect_nats"] for row in power["table"]} == {1, 2, 5}

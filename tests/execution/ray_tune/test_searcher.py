"""Packs go to all workers at once, and no more than that."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from rdstudy.execution.budget import Budget
from rdstudy.training.packs import Pack
from tests.conftest import CELL

pytestmark = pytest.mark.slow  # imports Ray


def test_as_many_packs_are_handed_out_as_there_is_room_for_and_the_next_when_one_ends():
    from rdstudy.execution.ray_tune.callback import TuneCallback
    from rdstudy.execution.ray_tune.pack_queue import PackQueue
    from rdstudy.execution.ray_tune.searcher import PackSearcher

    room = 5
    packs = [Pack((replace(CELL, seed=seed),)) for seed in range(20)]
    queue = PackQueue(packs)
    search = PackSearcher(TuneCallback(queue, lambda pack, progress: None, Budget()), lambda at_work: room)
    given = [search.suggest(f"trial {i}") for i in range(10)]
    assert [each["pack"] for each in given[:5]] == [pack.id for pack in packs[:5]]
    assert given[5:] == [None] * 5
    queue.ended("trial 2")
    assert search.suggest("trial 10")["pack"] == packs[5].id
    assert search.suggest("trial 11") is None
    room = 7  # a machine has joined
    assert search.suggest("trial 12")["pack"] == packs[6].id


def test_room_is_for_what_the_machines_can_train_and_for_some_that_wait(monkeypatch):
    from types import SimpleNamespace

    from rdstudy.execution.ray_tune import resources

    def cluster(*machines: tuple[float, float], most: float = 0.0) -> None:
        nodes = [{"Alive": True, "Resources": {"CPU": cpus, "GPU": gpus}} for cpus, gpus in machines]
        dead = {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}
        both = {"CPU": sum(cpus for cpus, _ in machines), "GPU": sum(gpus for _, gpus in machines)}
        there = SimpleNamespace(nodes=lambda: [*nodes, dead], cluster_resources=lambda: both)
        monkeypatch.setattr(resources, "ray", there)
        monkeypatch.setattr(resources, "available_resource", lambda resource: max(both[resource], most))

    cluster((6, 0), (6, 0))
    assert resources.ConcurrencyLimit(gpus=0.0, cpus=4)(0) == 2 + 1  # one on each machine, and one that waits
    assert resources.ConcurrencyLimit(gpus=0.0, cpus=4)(2) == 2 + 1
    cluster((96, 8))
    assert resources.ConcurrencyLimit(gpus=1.0, cpus=16)(0) == 6 + 1  # its CPUs suffice for six
    cluster((2, 0), most=12)
    assert resources.ConcurrencyLimit(gpus=0.0, cpus=1)(2) == 2 + 1 + 10  # ten more could be rented
    cluster(*[(8, 0)] * 100)
    room = resources.ConcurrencyLimit(gpus=0.0, cpus=1)
    assert [room(n) for n in (0, 100, 800)] == [128, 228, 801]  # never many that wait


@pytest.mark.parametrize("own_machine", [True, False])
def test_whoever_uses_tune_after_a_run_has_tune_s_own_again(own_machine, monkeypatch):
    from ray import tune
    from ray.tune.execution import tune_controller

    from rdstudy.execution.ray_tune.controller import in_charge

    def as_it_is() -> list[object]:
        names = ("RayActorManager", "_ActorClassCache")
        return [tune.tune.TuneController, *(getattr(tune_controller, name) for name in names), dict(os.environ)]

    monkeypatch.setenv("TUNE_MAX_PENDING_TRIALS_PG", "7")
    before = as_it_is()
    with in_charge(own_machine=own_machine):
        assert [a is b for a, b in zip(as_it_is(), before, strict=True)] == [False, False, not own_machine, False]
        assert os.environ["TUNE_MAX_PENDING_TRIALS_PG"] != "7"
    assert as_it_is() == before

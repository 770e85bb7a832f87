"""What becomes of packs when processes and machines die: every cell ends exactly once, or is given up alone."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdstudy.execution.ray_tune import pack_queue
from rdstudy.execution.ray_tune.pack_queue import CRASHES, PackQueue, Work
from rdstudy.study import Cell
from rdstudy.study.early_stopping import Limit, Limits
from rdstudy.training.packs import Pack
from tests.conftest import CELL

ALL = [replace(CELL, seed=seed) for seed in range(24)]


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(pack_queue, "RETRY_SECONDS", 0.0)


def taken(queue: PackQueue, worker: str) -> Work:
    work = queue.take(worker)
    assert work is not None
    return work


def packs(*sizes: int) -> list[Pack]:
    cells = iter(ALL)
    return [Pack(tuple(itertools.islice(cells, size))) for size in sizes]


def test_packs_are_given_in_their_order_and_each_once():
    planned = packs(3, 2, 1)
    queue = PackQueue(planned)
    assert [taken(queue, str(n)).pack for n in range(3)] == planned
    assert queue.take("another") is None
    assert queue
    for n in range(3):
        queue.ended(str(n))
    assert not queue


def test_a_machine_may_be_lost_any_number_of_times():
    queue = PackQueue(packs(4))
    for n in range(100):
        work = taken(queue, str(n))
        assert len(work.pack) == 4
        assert work.crashes == 0
        queue.lost(str(n))


def test_what_has_begun_goes_before_what_has_not():
    first, second, third = packs(1, 1, 1)
    queue = PackQueue([first, second, third])
    queue.take("a")
    queue.lost("a")
    assert taken(queue, "b").pack == first


def test_a_pack_waits_a_little_before_it_starts_again(monkeypatch):
    monkeypatch.setattr(pack_queue, "RETRY_SECONDS", 60.0)
    queue = PackQueue(packs(2, 2))
    queue.take("a")
    queue.lost("a")
    assert queue.take("b") is not None
    assert queue.take("c") is None
    assert queue


def test_nothing_waits_while_the_last_pack_trains_and_it_waits_again_when_it_is_lost():
    queue = PackQueue(packs(2))
    assert queue.waits()
    queue.take("a")
    assert queue
    assert not queue.waits()
    queue.lost("a")
    assert queue.waits()


def test_a_pack_that_starts_again_does_without_the_cells_that_were_stopped():
    limits: dict[str, Limits] = {cell.id: {10: Limit("test_distortion", 1.0, 4)} for cell in ALL}
    (pack,) = (each.limited(limits) for each in packs(5))
    queue = PackQueue([pack])
    queue.take("a")
    queue.stopped("a", [pack.cells[0].id, pack.cells[3].id])
    queue.lost("a")
    work = taken(queue, "b")
    assert (work.pack.cells, work.pack.resumed, work.of) == ((ALL[1], ALL[2], ALL[4]), True, pack)
    assert work.pack.limits == pack.limits
    queue.crashed("b", out_of_memory=True)
    assert all(taken(queue, name).pack.limits == pack.limits for name in "cd")


@pytest.mark.parametrize("end", ["lost", "crashed", "ended"])
def test_a_pack_whose_cells_were_all_stopped_does_not_start_again(end):
    queue = PackQueue(packs(2))
    for n in range(CRASHES):
        if queue.take(str(n)) is None:
            break
        if n == CRASHES - 1:
            queue.stopped(str(n), [cell.id for cell in ALL[:2]])
        assert getattr(queue, end)(str(n)) is None
    assert not queue


def test_memory_that_does_not_suffice_halves_a_pack_at_once():
    queue = PackQueue(packs(5))
    queue.take("a")
    assert queue.crashed("a", out_of_memory=True) is None
    assert sorted(len(taken(queue, name).pack) for name in "bc") == [2, 3]


@pytest.mark.parametrize("poisoned", [0, 3, 7])
def test_a_cell_that_kills_its_process_ends_alone_and_its_companions_finish(poisoned):
    (pack,) = packs(8)
    queue, attempts = PackQueue([pack]), 0
    finished: list[Cell] = []
    given_up: list[Work] = []
    while queue:
        work = taken(queue, "worker")
        if ALL[poisoned] in work.pack.cells:
            attempts += 1
            lost = queue.crashed("worker")
            if lost is not None:
                given_up.append(lost)
        else:
            finished += work.pack.cells
            queue.ended("worker")
    assert [work.pack.cells for work in given_up] == [(ALL[poisoned],)]
    assert given_up[0].of == pack
    assert sorted(cell.seed for cell in finished) == [n for n in range(8) if n != poisoned]
    assert attempts == CRASHES * 4  # 8 cells, 4, 2, 1


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers(1, 4), st.integers(0, 10**6))
def test_whatever_dies_every_cell_ends_once(sizes, workers, seed):
    rng = random.Random(seed)
    queue = PackQueue(packs(*sizes))
    ended: list[int] = []
    names = itertools.count()
    busy: list[str] = []
    while queue:
        while len(busy) < workers:
            name = str(next(names))
            if queue.take(name) is None:
                break
            busy.append(name)
        name = busy.pop(rng.randrange(len(busy)))
        fate = rng.random()
        if fate < 0.2:
            queue.lost(name)
            continue
        if fate < 0.5:
            given_up = queue.crashed(name, out_of_memory=fate < 0.3)
            ended += [cell.seed for cell in given_up.pack.cells] if given_up else []
            assert given_up is None or len(given_up.pack) == 1
            continue
        if fate < 0.55:
            queue.all_lost()
            busy.clear()
            continue
        ended += [cell.seed for cell in queue.running[name].pack.cells]
        queue.ended(name)
    assert sorted(ended) == list(range(sum(sizes)))


def test_more_is_asked_for_when_all_packs_have_ended_and_not_before():
    first, second, third = packs(1, 1, 1)
    asked: list[int] = []

    def more():
        asked.append(len(asked))
        return [[second, third], []][len(asked) - 1]

    queue = PackQueue([first], more)
    assert taken(queue, "a").pack == first
    assert queue.take("b") is None
    assert asked == [], "a search has to know what the last pack gave"
    queue.ended("a")
    assert [taken(queue, name).pack for name in "ab"] == [second, third]
    queue.ended("a")
    queue.lost("b")
    assert taken(queue, "c").pack == third
    assert asked == [0]
    queue.ended("c")
    assert not queue
    assert asked == [0, 1]
    assert queue.take("d") is None
    assert asked == [0, 1], "none means that there are no more"

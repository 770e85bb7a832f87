"""What a run has done and has left, told from what its packs report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rdstudy.cli.progress import ProgressTracker
from rdstudy.execution.protocols import PackProgress
from rdstudy.training.packs import Pack
from tests.conftest import CELL

STEPS = CELL.steps


def pack(*seeds: int) -> Pack:
    return Pack(tuple(replace(CELL, seed=seed) for seed in seeds))


def ids(of: Pack) -> tuple[str, ...]:
    return tuple(cell.id for cell in of.cells)


def told(of: Pack, step: int, cells: tuple[str, ...] | None = None, **how: Any) -> PackProgress:
    return PackProgress(step, STEPS, ids(of) if cells is None else cells, 1.0, **how)


@pytest.fixture
def two() -> tuple[ProgressTracker, Pack, Pack]:
    tally, first, second = ProgressTracker(), pack(0, 1), pack(2)
    tally.add([first, second])
    return tally, first, second


def test_done_and_left_are_all_model_steps_at_any_time(two):
    tally, first, second = two
    everything = 3 * STEPS
    assert (tally.done, tally.left, tally.n_cells) == (0, everything, 3)
    tally.update(first, told(first, 10))
    tally.update(second, told(second, 4))
    assert (tally.done, tally.left) == (24, everything - 24)
    tally.update(first, told(first, STEPS, staged="a"))
    tally.update(second, told(second, STEPS, staged="b"))
    assert (tally.done, tally.left) == (everything, 0)
    assert tally.ended == {"finished": 3}


def test_what_an_earlier_run_did_is_not_done_by_this_one(two):
    tally, first, _ = two
    tally.update(first, told(first, 60, start_step=50))
    assert tally.done == 2 * 10
    assert tally.left == 3 * STEPS - 2 * 60


def test_a_pack_that_begins_again_has_done_less(two):
    tally, first, _ = two
    tally.update(first, told(first, 60))
    tally.update(first, told(first, 50, start_step=50))
    assert tally.done == 2 * 50


def test_a_pack_that_lost_the_checkpoint_it_began_from_has_not_undone_anything(two):
    tally, first, _ = two
    tally.update(first, told(first, 60, start_step=50))
    tally.update(first, told(first, 5, start_step=0))
    assert tally.done == 2 * 5


def test_the_steps_that_stopped_and_failed_cells_will_not_make_are_not_left(two):
    tally, first, second = two
    one, other = ids(first)
    tally.update(first, told(first, 20))
    tally.update(first, told(first, 20, (one,), staged="a", stopped=True))
    tally.update(first, told(first, 0, (other,), failure="no memory"))
    assert tally.ended == {"stopped": 1, "failed": 1}
    assert (tally.done, tally.left) == (2 * 20, STEPS)
    assert not tally.is_active(first)
    assert not tally.is_active(second)


def test_what_is_said_twice_counts_once(two):
    tally, first, _ = two
    for _ in range(2):  # a worker that died after it had staged, and another that did it again
        tally.update(first, told(first, STEPS, staged="a"))
    assert tally.ended == {"finished": 2}
    assert tally.done == 2 * STEPS
    one, _ = ids(first)
    halves = ProgressTracker()
    halves.add([first])
    for _ in range(2):
        halves.update(first, told(first, STEPS, (one,), staged="half"))
    assert halves.ended == {"finished": 1}
    assert halves.is_active(first)


def test_a_pack_that_has_ended_leaves_nothing_behind():
    tally, packs = ProgressTracker(), [pack(2 * n, 2 * n + 1) for n in range(200)]
    tally.add(packs)
    for each in packs:
        tally.update(each, told(each, 10))
        tally.update(each, told(each, STEPS, staged="x"))
    assert not [part for part in (tally._active, tally._sizes) if part]
    assert tally.done == 400 * STEPS

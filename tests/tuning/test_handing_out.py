"""Packs go to all workers at once, and no more than that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rdstudy.budget import Budget
from rdstudy.packs import Pack
from tests.conftest import CELL

pytestmark = pytest.mark.slow  # imports Ray


def test_as_many_packs_are_handed_out_as_there_is_room_for_and_the_next_when_one_ends():
    from rdstudy.tuning.handing_out import PackSearcher
    from rdstudy.tuning.queue import PackQueue
    from rdstudy.tuning.relay import Relay

    room = 5
    packs = [Pack((replace(CELL, seed=seed),)) for seed in range(20)]
    queue = PackQueue(packs)
    search = PackSearcher(Relay(queue, lambda pack, progress: None, Budget()), lambda: room)
    given = [search.suggest(f"trial {i}") for i in range(10)]
    assert [each["pack"] for each in given[:5]] == [pack.id for pack in packs[:5]]
    assert given[5:] == [None] * 5
    queue.ended("trial 2")
    assert search.suggest("trial 10")["pack"] == packs[5].id
    assert search.suggest("trial 11") is None
    room = 7  # a machine has joined
    assert search.suggest("trial 12")["pack"] == packs[6].id

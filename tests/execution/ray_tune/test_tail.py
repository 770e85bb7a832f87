"""The end of a long run: how long some machines wait for the last ones. Simulated: 500 packs on 16 GPUs."""

from __future__ import annotations

import functools
import heapq
import itertools
from dataclasses import replace

import numpy as np
import pytest

from rdstudy.training.packs import flop, plan_packs
from tests.conftest import CELL

GPUS = 16
PIXELS = 3072


@functools.cache
def study() -> tuple[float, ...]:
    """The work of each pack, in the order that they are given out.

    Networks from small to large, in packs of 8: 500 packs, their work differing by a factor of 14.
    """
    shapes = itertools.product((1, 2, 3), (128, 256, 512, 1024))
    cells = [
        replace(CELL, depth=depth, width=width, seed=seed, steps=10_000)
        for depth, width in shapes
        for seed in range(336)
    ]
    packs = plan_packs(cells, pixels=PIXELS, pack_size=8, device="cuda", workers=GPUS)[:500]
    return tuple(sum(flop(cell, PIXELS) for cell in pack.cells) for pack in packs)


def simulated(packs: tuple[float, ...], *, seed: int, losses: int) -> tuple[float, float]:
    """Time until all packs are done and how much of it not all GPUs worked, in the order that the queue gives.

    GPUs differ in speed by 20% and packs' times by 10%; `losses` times a GPU goes away, and its pack begins again.
    """
    rng = np.random.default_rng(seed)
    speeds = rng.uniform(0.9, 1.1, GPUS)
    waiting = [work * rng.uniform(0.95, 1.05) for work in packs]
    lost_at = set(rng.choice(len(packs), losses, replace=False).tolist())
    free = [(0.0, gpu) for gpu in range(GPUS)]
    heapq.heapify(free)
    ends = np.zeros(GPUS)
    count = 0
    while waiting:
        now, gpu = heapq.heappop(free)
        work = waiting.pop(0)
        if count in lost_at:
            ends[gpu] = now + rng.uniform() * work / speeds[gpu]
            waiting.insert(0, work)
        else:
            ends[gpu] = now + work / speeds[gpu]
        count += 1
        heapq.heappush(free, (ends[gpu], gpu))
    return float(ends.max()), float(ends.max() - ends.min())


@pytest.mark.parametrize("losses", [0, 50])
def test_the_last_machine_does_not_work_alone_for_a_tenth_of_the_time(losses):
    packs = study()
    assert len(packs) == 500
    shares = []
    for seed in range(20):
        total, tail = simulated(packs, seed=seed, losses=losses)
        shares.append(tail / total)
    assert max(shares) < 0.1, shares


def test_the_longest_packs_come_first():
    work = list(study())
    assert work == sorted(work, reverse=True)
    assert work[0] > 10 * work[-1]

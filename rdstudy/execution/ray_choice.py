"""Whether a run starts Ray on this machine: only where Ray saves more time than it takes to start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from threadpoolctl import threadpool_limits

from rdstudy.execution import machine
from rdstudy.execution.costs import EFFICIENCY, Costs, makespan
from rdstudy.execution.executors import memory_here
from rdstudy.execution.packing import Workers, packs_of
from rdstudy.storage.paths import StoragePath
from rdstudy.study import Cell, Study

RAY_SECONDS = 10.0
"""Time until a local Ray and its workers have started, on two cores that nothing else uses."""
PACK_STEP_SECONDS = 1e-3
"""Least time of a training step of a pack on a CPU, which small networks take (14 of 9 units: 1 to 2 ms)."""
LONG_SECONDS = 120.0
"""Work for which Ray is started in any case: a worker that dies then ends an attempt at a pack, and not the run."""


class RayChoice(NamedTuple):
    """Whether to train on Ray.

    Attributes:
        ray: train on Ray; else in this process, pack after pack.
        why: the reason, in words; empty if it was the user's choice.
    """

    ray: bool
    why: str = ""


def choose_ray(study: Study, results: StoragePath, cells: Sequence[Cell], pixels: int, n_test: int) -> RayChoice:
    """Choose for cells that are to be trained on this machine, by its speed and theirs.

    Both times are those of an idle machine, so that the choice does not depend on what else runs on it.

    Args:
        study: says what is measured, and what a pack takes.
        results: the results folder, whose unfinished packs are continued.
        cells: which are to be trained.
        pixels: numbers per image.
        n_test: test examples.
    """
    if study.search is not None:
        return RayChoice(True, "a search decides as it goes how much there is to train")
    if study.resources.device in ("auto", "cuda") and machine.gpu_count():
        return RayChoice(True, "its workers share the GPU")
    n = machine.packs_side_by_side(study, 0)
    with threadpool_limits(1, user_api="blas"):  # threads that wait for each other are slow beside other programs
        now = machine.cpu_throughput(0.1)
    costs = Costs(study, pixels, n_test)
    rate = EFFICIENCY["cpu"] * now.flops / now.cpu_share * study.resources.cpus_per_pack

    def seconds(workers: int) -> float:
        where = Workers(workers, "cpu", memory_here(study, workers, "cpu"))
        packs = packs_of(study, results, cells, pixels, where)
        return makespan([costs.pack(pack) / rate + pack.steps * PACK_STEP_SECONDS for pack in packs], workers)

    return decide(seconds(1), seconds(n))


def decide(alone: float, on_ray: float) -> RayChoice:
    """Choose by the time that training takes, starting Ray not included.

    Args:
        alone: seconds in this process, pack after pack.
        on_ray: seconds with Ray's workers side by side.
    """
    if alone > LONG_SECONDS:
        return RayChoice(True, f"there is work for more than {LONG_SECONDS / 60:.0f} minutes")
    saved = max(0.0, alone - on_ray)
    work = f"about {max(1.0, alone):.0f} s of work"
    return RayChoice(
        saved > RAY_SECONDS, f"of {work} Ray would save {saved:.0f} s, and it takes {RAY_SECONDS:.0f} s to start"
    )

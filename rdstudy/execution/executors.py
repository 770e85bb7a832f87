"""Where packs are trained: one after the other in this process, or side by side on Ray."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from rdstudy.data.limits import memory_bytes
from rdstudy.execution.budget import Budget
from rdstudy.execution.packing import Workers
from rdstudy.execution.protocols import Executor, Listener, NextPacks, RunContext
from rdstudy.study import Study
from rdstudy.training.packs import Pack


class Backend(NamedTuple):
    """An executor, and what it offers.

    Attributes:
        execute: the executor.
        workers: how many there are, and what they offer.
        place: where packs train, in words for the display.
    """

    execute: Executor
    workers: Workers
    place: str


@contextmanager
def open_backend(context: RunContext, *, ray: bool, address: str | None = None, data_bytes: int) -> Iterator[Backend]:
    """This process as the only worker, or a Ray cluster, to which a connection is held meanwhile.

    Args:
        context: the run's study, data and, without Ray, device.
        ray: whether to train on Ray.
        address: of a Ray cluster; None: RAY_ADDRESS, or a local Ray that is started and stopped.
        data_bytes: of the images, which a local Ray keeps in its object store.

    Raises:
        UserError: there is no cluster at the address, or none with room for a pack.
    """
    if not ray:
        device = context.device.type
        yield Backend(run_in_process, Workers(1, device, memory_here(context.study, 1, device)), "in this process")
        return
    from rdstudy.execution.ray_tune.cluster import cluster
    from rdstudy.execution.ray_tune.executor import run_on_ray
    from rdstudy.execution.ray_tune.resources import (
        check_fits,
        device_kind,
        idle_gpus,
        memory_per_pack,
        one_pack_per_core,
        workers,
    )

    study = context.study
    with cluster(address, object_store_bytes=data_bytes, preload=one_pack_per_core(study)):
        check_fits(study)
        n = workers(study)
        place = f"on {n} workers{idle_gpus(study)}"
        yield Backend(run_on_ray, Workers(n, device_kind(study), memory_per_pack(study)), place)


def run_in_process(
    packs: list[Pack], context: RunContext, listener: Listener, budget: Budget, next_packs: NextPacks | None = None
) -> str | None:
    """An executor without Ray: the packs one after the other in this process (see `protocols.Executor`)."""
    from rdstudy.execution.device import use_threads
    from rdstudy.execution.worker import work

    use_threads(context.study)
    while packs := packs or (next_packs() if next_packs else []):
        for pack in packs:
            for progress in work(pack, context):
                listener(pack, progress)
                limit = budget.exceeded(lambda: 1)
                if limit:
                    return limit
        packs = []
    return None


def memory_here(study: Study, workers: int, device: str) -> float:
    """Bytes that a pack may use on this machine.

    What the study sets; else half of the machine's memory, shared by the workers; on a GPU no limit, because a pack
    that does not fit is split.
    """
    asked = study.resources.memory_per_pack_gib
    if asked != "auto":
        return asked * 2**30
    if device == "cuda":
        return math.inf
    return memory_bytes() / 2 / workers

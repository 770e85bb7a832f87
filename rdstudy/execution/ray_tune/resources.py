"""What the connected cluster, or this machine, has room for; or will have once its autoscaler has rented machines."""

from __future__ import annotations

import math
import time
from typing import Any

import ray

from rdstudy.execution.device import pick_device
from rdstudy.study import Study

MAX_WAITING = 128
"""Packs that wait for room at most."""
MAX_RESOURCES = 10_000.0
"""An autoscaler without a limit says so by a huge number."""
MEMORY_SHARE = 0.7
"""Of what Ray calls a machine's memory, which is some 70% of it, for all packs at once."""


def could_have(resource: str) -> float:
    """How much of a resource the connected cluster has, or its autoscaler may add."""
    most = ray._private.state.state.get_max_resources_from_cluster_config() or {}
    return max(float(ray.cluster_resources().get(resource, 0)), min(float(most.get(resource, 0)), MAX_RESOURCES))


def device_kind(study: Study) -> str:
    """What packs will train on: what the study says, or a GPU if the cluster has one or can rent one."""
    if study.resources.device != "auto":
        return study.resources.device
    return "cuda" if could_have("GPU") else pick_device("auto").type


def gpus_per_pack(study: Study) -> float:
    """GPUs that a pack asks Ray for."""
    asked = study.resources.gpus_per_pack
    return asked if asked != "auto" else float(device_kind(study) == "cuda")


def workers(study: Study) -> int:
    """How many packs the connected cluster can train side by side once it has grown; at least one."""
    gpus = gpus_per_pack(study)
    by_cpu = could_have("CPU") // study.resources.cpus_per_pack
    return max(1, int(min(by_cpu, could_have("GPU") // gpus) if gpus else by_cpu))


def one_pack_per_core(study: Study) -> bool:
    """Whether every core of this machine will train a pack, and no GPU."""
    return study.resources.cpus_per_pack == 1 and pick_device("auto").type == "cpu"


def memory_per_pack(study: Study) -> float:
    """Bytes that a pack may use on the smallest machine that trains; infinite while there is none.

    What a GPU has is not known here: there a pack that does not fit is halved.
    """
    asked = study.resources.memory_per_pack_gib
    if asked != "auto":
        return asked * 2**30
    if gpus_per_pack(study):
        return math.inf
    sides = [
        node["Resources"]["memory"] * MEMORY_SHARE / (node["Resources"]["CPU"] // study.resources.cpus_per_pack)
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU", 0) >= study.resources.cpus_per_pack
    ]
    return min(sides, default=math.inf)


class ConcurrencyLimit:
    """How many packs may be out at once: those at work, and as many more as may start soon.

    So all workers start at once. One pack waits for the next worker, and one for each that a machine not there yet
    could train: they are what an autoscaling cluster grows for. Never more than `MAX_WAITING`, for a pack that begins
    again stands behind them.
    """

    def __init__(self, *, gpus: float, cpus: int) -> None:
        """What each pack asks for."""
        self.gpus, self.cpus = gpus, cpus
        self._there = self._missing = 0
        self._until = -math.inf

    def __call__(self, at_work: int) -> int:
        """Packs, where so many are at work; the cluster is looked up anew every second."""
        if time.monotonic() > self._until:
            self._there = sum(map(self._on, ray.nodes()))
            resource, each = ("GPU", self.gpus) if self.gpus else ("CPU", float(self.cpus))
            missing = could_have(resource) - float(ray.cluster_resources().get(resource, 0))
            self._missing = int(max(0.0, missing) // each)
            self._until = time.monotonic() + 1.0
        return at_work + min(MAX_WAITING, max(0, self._there - at_work) + 1 + self._missing)

    def _on(self, node: dict[str, Any]) -> int:
        """How many packs a machine could train."""
        if not node["Alive"]:
            return 0
        by_cpu = node["Resources"].get("CPU", 0) // self.cpus
        return int(min(by_cpu, node["Resources"].get("GPU", 0) // self.gpus) if self.gpus else by_cpu)

"""Resources of the connected cluster, including machines that its autoscaler may add."""

from __future__ import annotations

import math
import time
from typing import Any

import ray
import torch

from rdstudy.errors import UserError
from rdstudy.execution.device import pick_device
from rdstudy.study import Study

MAX_WAITING = 128
"""Most packs that wait for resources at once."""
MAX_RESOURCES = 10_000.0
"""Cap on what an autoscaler may add: one without a limit reports a huge number."""
MEMORY_SHARE = 0.7
"""Share of the memory that Ray reports (about 70% of the machine's) for all packs of a machine together."""


def available_resource(resource: str) -> float:
    """Amount of a resource that the connected cluster has or its autoscaler may add."""
    most = ray._private.state.state.get_max_resources_from_cluster_config() or {}
    return max(float(ray.cluster_resources().get(resource, 0)), min(float(most.get(resource, 0)), MAX_RESOURCES))


def device_kind(study: Study) -> str:
    """Device that packs will train on: the study's, or a GPU if the cluster has one or can add one."""
    if study.resources.device != "auto":
        return study.resources.device
    return "cuda" if available_resource("GPU") else pick_device("auto").type


def gpus_per_pack(study: Study) -> float:
    """GPUs per pack."""
    asked = study.resources.gpus_per_pack
    return asked if asked != "auto" else float(device_kind(study) == "cuda")


def workers(study: Study) -> int:
    """Packs that the connected cluster, fully grown, can train side by side; at least one."""
    gpus = gpus_per_pack(study)
    by_cpu = available_resource("CPU") // study.resources.cpus_per_pack
    return max(1, int(min(by_cpu, available_resource("GPU") // gpus) if gpus else by_cpu))


def check_fits(study: Study) -> None:
    """Refuse a study whose packs fit on no machine of the cluster, for which Tune would wait without end.

    Raises:
        UserError: with what a pack takes, and what the cluster has.
    """
    here = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus, gpus = study.resources.cpus_per_pack, gpus_per_pack(study)
    grows = any(available_resource(name) > ray.cluster_resources().get(name, 0) for name in ("CPU", "GPU"))
    fits = any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in here)
    if not fits and not (grows and available_resource("CPU") >= cpus and available_resource("GPU") >= gpus):
        has = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in here[:3])
        raise UserError(
            f"a pack takes {cpus:,} CPUs and {gpus:g} GPUs (resources.cpus_per_pack, gpus_per_pack), and no machine "
            f"has that many free for Ray: {has}{', ...' if len(here) > 3 else ''}"
        )
    if len(here) == 1 and gpus and study.resources.device == "auto" and pick_device("auto").type != "cuda":
        raise UserError(
            f"Ray offers {available_resource('GPU'):g} GPUs, but PyTorch {torch.__version__} cannot use them: install "
            "a PyTorch for this GPU and driver, or train on the CPU with --set resources.device=cpu"
        )


def idle_gpus(study: Study) -> str:
    """What to say of GPUs that wait because a pack on each would take more CPUs than there are; else nothing."""
    gpus = gpus_per_pack(study)
    by_gpu = int(available_resource("GPU") // gpus) if gpus else 0
    if workers(study) >= by_gpu:
        return ""
    return f" ({by_gpu - workers(study)} GPUs idle: {available_resource('CPU'):g} CPUs, {by_gpu} packs would need more)"


def one_pack_per_core(study: Study) -> bool:
    """Whether this machine trains one pack on each core, without a GPU."""
    return study.resources.cpus_per_pack == 1 and pick_device("auto").type == "cpu"


def memory_per_pack(study: Study) -> float:
    """Bytes that a pack may use on the smallest machine that trains; infinite if there is none yet.

    On GPUs there is no limit, because their memory is not known here: a pack that does not fit is split.
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
    """How many packs may be given to Tune at once: those that train, and those that may start soon.

    Besides the packs in training: one for each free worker, one for the next, and one for each pack that machines not
    added yet could train, because waiting packs make an autoscaling cluster grow. At most `MAX_WAITING` wait, because a
    pack that is retried waits behind them.
    """

    def __init__(self, *, gpus: float, cpus: int) -> None:
        """GPUs and CPUs of each pack."""
        self.gpus, self.cpus = gpus, cpus
        self._there = self._missing = 0
        self._until = -math.inf

    def __call__(self, active: int) -> int:
        """The limit while `active` packs train; the cluster's resources are read again every second."""
        if time.monotonic() > self._until:
            self._there = sum(map(self._on, ray.nodes()))
            resource, each = ("GPU", self.gpus) if self.gpus else ("CPU", float(self.cpus))
            missing = available_resource(resource) - float(ray.cluster_resources().get(resource, 0))
            self._missing = int(max(0.0, missing) // each)
            self._until = time.monotonic() + 1.0
        return active + min(MAX_WAITING, max(0, self._there - active) + 1 + self._missing)

    def _on(self, node: dict[str, Any]) -> int:
        """Packs that a machine can train."""
        if not node["Alive"]:
            return 0
        by_cpu = node["Resources"].get("CPU", 0) // self.cpus
        return int(min(by_cpu, node["Resources"].get("GPU", 0) // self.gpus) if self.gpus else by_cpu)

"""Checks whether a machine can train: versions equal to the driver's, results folder reachable, device present.

Every node of a cluster is checked before training starts. Every worker process checks its machine again before its
first pack, because nodes may join later.
"""

from __future__ import annotations

import platform
import socket
import uuid
from dataclasses import dataclass

import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import rdstudy
from rdstudy.errors import UserError
from rdstudy.execution.device import pick_device
from rdstudy.storage.files import StorageError, atomic_write, remove
from rdstudy.storage.paths import storage_path

NODE_SECONDS = 120.0
"""Time limit for a node to answer; it has to import torch first."""


@dataclass(frozen=True, slots=True)
class Versions:
    """Versions that must be equal on all machines, so that a cell's numbers do not depend on the machine."""

    rdstudy: str
    torch: str
    ray: str
    python: str

    @classmethod
    def here(cls) -> Versions:
        minor = ".".join(platform.python_version_tuple()[:2])
        return cls(rdstudy.__version__, torch.__version__, ray.__version__, minor)


def machines() -> int:
    """Number of machines in the connected cluster now."""
    return sum(node["Alive"] for node in ray.nodes())


def complaint(driver: Versions, results: str, probe: str | None, device: str) -> str | None:
    """What is wrong with this machine, and the fix; None if nothing is.

    Args:
        driver: the driver's versions.
        results: the results folder.
        probe: name of a file that the driver wrote there; None: there is none.
        device: `resources.device` of the study.
    """
    mine, host = Versions.here(), socket.gethostname()
    for name in Versions.__slots__:
        if getattr(mine, name) != getattr(driver, name):
            return (
                f"{host} has {name} {getattr(mine, name)}, the driver {getattr(driver, name)}: install the same on all "
                "machines (setup_commands of the cluster file)"
            )
    try:
        pick_device(device)
    except UserError as error:
        return f"{host}: {error}"
    place = storage_path(results)
    if probe is not None:
        try:
            seen = (place / probe).exists()
        except OSError as error:
            return f"{host} cannot read {results}: {error.strerror or error}"
        if not seen:
            return (
                f"{host} does not see a file that the driver wrote to {results}: give --results a folder that all "
                "machines share, under the same path, or s3://BUCKET/NAME"
            )
    mark = place / f".aside-probe-{uuid.uuid4().hex}"
    try:
        atomic_write(mark, lambda file: file.write(b"rdstudy was here"))
        remove(mark)
    except StorageError as error:
        return f"{host}: {error}"
    return None


def check_nodes(results: str, device: str, *, gpus_per_pack: float) -> None:
    """Check every node of the connected cluster.

    Raises:
        UserError: the faults of all nodes.
    """
    place, probe = storage_path(results), f".aside-driver-{uuid.uuid4().hex}"
    atomic_write(place / probe, lambda file: file.write(b"rdstudy was here"))
    try:
        waiting = {}
        for node in ray.nodes():
            resources = node["Resources"]
            needed = "GPU" if gpus_per_pack else "CPU"
            if not node["Alive"] or not resources.get(needed):
                continue  # such as a head node that does not train
            here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            task = ray.remote(num_cpus=0, max_retries=0)(complaint).options(scheduling_strategy=here)
            seen_device = "cpu" if device == "auto" else device
            waiting[task.remote(Versions.here(), results, probe, seen_device)] = node["NodeManagerHostname"]
        done, silent = ray.wait(list(waiting), num_returns=len(waiting), timeout=NODE_SECONDS) if waiting else ([], [])
        found = [f"{waiting[one]} did not answer within {NODE_SECONDS:.0f} s" for one in silent]
        for one in done:
            try:
                found.append(ray.get(one))
            except ray.exceptions.RayError as error:
                reason = str(error).strip().splitlines()[-1]
                found.append(f"{waiting[one]}: {reason}: is this version of rdstudy installed there?")
    finally:
        remove(place / probe)
    complaints = sorted({each for each in found if each})
    if complaints:
        raise UserError("not every machine of the cluster can train:\n  " + "\n  ".join(complaints))

"""Checks a cluster file before machines are rented: Ray's own validation, and further checks."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import ray
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from rdstudy.errors import UserError
from rdstudy.study.yaml_loading import parse_yaml, read_text

PLACEHOLDERS = ("MY-BUCKET", "MY-PROJECT", "10.0.0.1", "10.0.0.2")
GPU_MACHINES = {
    "aws": r"(g[4-9]\w*|p[2-9]\w*)\.\w+",
    "gcp": r"(a2|a3|a4|g2|g4)-[\w-]+",
}
"""Machine types that have a GPU. On GCP others can be given one by `guestAccelerators`."""
MACHINES = {"aws": r"[a-z][\w-]*\.\w+", "gcp": r"[a-z]\w*-[\w-]+"}
Cluster = dict[str, Any]
"""A cluster file as YAML has it."""


def load_cluster(path: Path) -> Cluster:
    """Read a cluster file.

    Raises:
        UserError: it cannot be read, or is not a cluster file.
    """
    cluster, _ = parse_yaml(read_text(path), str(path), version_1_1=True)
    if not isinstance(cluster, dict) or not isinstance(cluster.get("provider"), dict):
        raise UserError(f"{path}: not a cluster file of Ray: it has no `provider:`")
    return cluster


def faults(cluster: Cluster) -> list[str]:
    """All faults of a cluster file, each with its fix."""
    found = list(_of_schema(cluster))
    for check in (_of_placeholders, _of_versions, _of_security, _of_machines, _of_own_machines):
        found += check(cluster)
    return found


def _of_schema(cluster: Cluster) -> Iterator[str]:
    logging.getLogger("ray.autoscaler").setLevel(logging.ERROR)
    try:
        validate_config(prepare_config(cluster))
    except jsonschema.ValidationError as error:
        where = ".".join(map(str, error.absolute_path)) or "the file"
        yield f"{where}: {error.message}"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        yield f"Ray refuses it: {error}"


def _of_placeholders(cluster: Cluster) -> Iterator[str]:
    text = yaml.safe_dump(cluster)
    for placeholder in PLACEHOLDERS:
        if re.search(rf"{re.escape(placeholder)}(?!\d)", text):
            yield f"it still contains {placeholder}: fill in the lines marked with <-"


def _images(cluster: Cluster) -> Iterator[str]:
    docker = cluster.get("docker") or {}
    for name in ("image", "head_image", "worker_image"):
        if docker.get(name):
            yield docker[name]
    for kind in (cluster.get("available_node_types") or {}).values():
        yield from (image for name, image in (kind.get("docker") or {}).items() if name.endswith("image"))


def _commands(cluster: Cluster) -> str:
    names = ("setup_commands", "head_setup_commands", "worker_setup_commands")
    starts = ("head_start_ray_commands", "worker_start_ray_commands")
    return "\n".join(str(line) for name in (*names, *starts) for line in cluster.get(name) or [])


def _of_versions(cluster: Cluster) -> Iterator[str]:
    for image in _images(cluster):
        if "ray-ml" in image:
            yield f"image {image}: ray-ml images ended with Ray 2.50: use rayproject/ray:{ray.__version__}-py311-gpu"
            continue
        version = re.search(r"rayproject/ray:(\d+\.\d+\.\d+)", image)
        if version and version[1] != ray.__version__:
            yield f"image {image}: has Ray {version[1]}, this machine {ray.__version__}: they must be equal"
    commands = _commands(cluster)
    pins = set(re.findall(r"ray(?:\[[\w,]*\])?==(\d+\.\d+\.\d+)", commands))
    for pin in sorted(pins - {ray.__version__}):
        yield f"setup_commands install Ray {pin}, this machine has {ray.__version__}: they must be equal"
    if not pins:
        yield f"setup_commands do not pin Ray: add ray=={ray.__version__} to what pip installs"
    if not re.search(r"pip install[^\n]*rdstudy", commands):
        yield "setup_commands do not install rdstudy: see cluster/gpu.yaml"


def _of_security(cluster: Cluster) -> Iterator[str]:
    commands = _commands(cluster)
    if "RAY_AUTH_MODE=token" not in commands:
        yield "nothing sets RAY_AUTH_MODE=token: anyone who can reach the cluster's ports could run programs on it"
    if not any(str(target).endswith(".ray/auth_token") for target in cluster.get("file_mounts") or {}):
        yield "file_mounts lack ~/.ray/auth_token: ~/.ray/auth_token, the cluster's token"
    if re.search(r"--dashboard-host[= ](?!127\.0\.0\.1|localhost)", commands):
        yield "the dashboard, which can start jobs, is open to others: use --dashboard-host=127.0.0.1"
    if "RDSTUDY_RESULTS=" not in commands:
        yield "nothing sets RDSTUDY_RESULTS, where results go: see cluster/gpu.yaml"


def _of_machines(cluster: Cluster) -> Iterator[str]:
    provider = cluster["provider"].get("type")
    if provider not in MACHINES:
        return
    kinds, head = cluster.get("available_node_types") or {}, cluster.get("head_node_type")
    trains = False
    for name, kind in kinds.items():
        config = kind.get("node_config") or {}
        field = "InstanceType" if provider == "aws" else "machineType"
        machine = str(config.get(field) or "")
        if not re.fullmatch(MACHINES[provider], machine):
            yield f"{name}: node_config.{field} is {machine or 'missing'}, which is no machine type"
        has_gpu = bool(re.fullmatch(GPU_MACHINES[provider], machine)) or "guestAccelerators" in config
        asks_gpu = (kind.get("resources") or {}).get("GPU", 0) > 0
        if asks_gpu and machine and not has_gpu:
            yield f"{name}: resources say GPU, but {machine} has none"
        if name != head and (kind.get("max_workers", cluster.get("max_workers", 2)) or 0) > 0:
            trains |= has_gpu
        yield from _of_spot(name, config, provider, is_head=name == head)
    if not trains:
        yield "no GPU worker could be started: give a worker type with a GPU max_workers above 0"


def _of_spot(name: str, config: dict[str, Any], provider: str, *, is_head: bool) -> Iterator[str]:
    if provider == "aws":
        market = config.get("InstanceMarketOptions")
        spot = isinstance(market, dict) and market.get("MarketType") == "spot"
        if market is not None and not spot:
            yield f"{name}: InstanceMarketOptions is {market!r}: for spot machines write {{MarketType: spot}}"
    else:
        scheduling = config.get("scheduling")
        if scheduling is not None and not isinstance(scheduling, dict):
            yield f"{name}: scheduling is a list: for spot machines write {{provisioningModel: SPOT}}"
            return
        spot = (scheduling or {}).get("provisioningModel") == "SPOT" or (scheduling or {}).get("preemptible") is True
    if spot and is_head:
        yield f"{name}: the head is a spot machine, and if it is lost the driver is lost: make it on demand"


def _of_own_machines(cluster: Cluster) -> Iterator[str]:
    provider = cluster["provider"]
    if provider.get("type") != "local" or "coordinator_address" in provider:
        return
    head, workers = provider.get("head_ip"), provider.get("worker_ips") or []
    if head in workers:
        yield f"worker_ips: {head} is the head_ip too"
    if len(set(workers)) < len(workers):
        yield "worker_ips: an address is listed twice"
    for name in ("min_workers", "max_workers"):
        if cluster.get(name) is not None and cluster[name] != len(workers):
            yield f"{name} is {cluster[name]}, but there are {len(workers)} worker_ips: they must be equal"
    key = cluster.get("auth", {}).get("ssh_private_key")
    if key and not Path(key).expanduser().is_file():
        yield f"auth.ssh_private_key: there is no file {key}"

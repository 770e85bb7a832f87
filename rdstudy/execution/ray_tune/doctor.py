"""Checks whether a study can run on this machine or with a cluster file: each fault with its fix."""

from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rdstudy.execution.ray_tune.cluster_config import Cluster, faults, load_cluster
from rdstudy.execution.ray_tune.node_checks import Versions, complaint
from rdstudy.storage.paths import StoragePath, absolute

SSH_SECONDS = 10


def diagnose(cluster_file: Path | None, results: StoragePath, device: str) -> list[str]:
    """All faults found; nothing is started or changed.

    Args:
        cluster_file: checked offline, its machines by ssh if they are one's own; None: only this machine is checked.
        results: where results would go; a test file is written and read.
        device: device to train on, as in `resources.device`.
    """
    mine = complaint(Versions.here(), absolute(results), None, device)
    found = [mine] if mine else []
    if cluster_file is None:
        return found
    cluster = load_cluster(cluster_file)
    found += faults(cluster)
    for program in ("ssh", "rsync"):
        if shutil.which(program) is None:
            found.append(f"{program} is not installed here; `ray up` needs it")
    token = Path("~/.ray/auth_token").expanduser()
    if not token.is_file():
        found.append(f"{token}: there is no token yet: ray get-auth-token --generate > /dev/null")
    if cluster["provider"].get("type") == "local" and shutil.which("ssh"):
        found += _machines(cluster)
    return found


def _machines(cluster: Cluster) -> list[str]:
    """Faults of one's own machines, checked in parallel."""
    provider = cluster["provider"]
    addresses = [provider.get("head_ip"), *(provider.get("worker_ips") or [])]
    with ThreadPoolExecutor(16) as pool:
        return [fault for fault in pool.map(lambda ip: _machine(str(ip), cluster), addresses) if fault]


def _machine(address: str, cluster: Cluster) -> str | None:
    auth = cluster.get("auth") or {}
    key = ["-i", str(Path(auth["ssh_private_key"]).expanduser())] if auth.get("ssh_private_key") else []
    options = ("BatchMode=yes", "StrictHostKeyChecking=no", f"ConnectTimeout={SSH_SECONDS}", "LogLevel=ERROR")
    words = ["ssh", *key, *(word for option in options for word in ("-o", option))]
    asked = (
        "rsync --version > /dev/null 2>&1 && echo rsync; python3 -c 'import sys, venv; print(*sys.version_info[:2])'"
    )
    try:
        done = subprocess.run(
            [*words, f"{auth.get('ssh_user', 'root')}@{address}", asked],
            capture_output=True,
            text=True,
            timeout=3 * SSH_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{address}: does not answer by ssh within {3 * SSH_SECONDS} s"
    if done.returncode == 255:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return f"{address}: ssh fails: {reason}: check the address, auth.ssh_user and auth.ssh_private_key"
    if "rsync" not in done.stdout:
        return f"{address}: has no rsync, which `ray up` needs: apt-get install rsync"
    version = tuple(int(word) for word in done.stdout.split() if word.isdigit())
    if not (3, 11) <= version[:2] <= (3, 13):
        return f"{address}: its python3 is {'.'.join(map(str, version)) or 'missing'}; rdstudy needs 3.11 to 3.13"
    return None

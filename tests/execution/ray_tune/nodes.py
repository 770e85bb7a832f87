"""Ray clusters of several nodes on one machine, each with an object store of its own; in no other Ray's way.

`ray.cluster_utils` has such clusters too, but its autoscaling one ends every Ray of the machine before it starts.
`python -m tests.execution.ray_tune.nodes ADDRESS` prints a cluster's nodes repeatedly. It is a process of its own
because Ray reads a cluster's token once per process.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

STORE_BYTES = 256 * 2**20
SECONDS = 600.0
"""How long a cluster may take to become as it is waited for."""
LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Look:
    """A cluster at a moment; nodes by their ids."""

    at: float
    cpus: dict[str, float]  # of the nodes that are alive
    stored: dict[str, int]  # bytes that ever came into a node's object store: made there, or sent there
    actors: list[str]  # the node of every actor that there ever was


@dataclass
class Nodes:
    """A Ray cluster on this machine."""

    folder: Path
    token: str
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return (self.folder / "ray_current_cluster").read_text().strip()

    def start_head(self, *options: str, port: int = 0, **environment: str) -> None:
        """A head without CPUs, on a port that is free unless one is given."""
        head = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={self.folder}", "--num-cpus=0"]
        self._ray(*head, *options, **environment)
        until = time.monotonic() + SECONDS
        while not (self.folder / "ray_current_cluster").exists():
            assert self._lives(until), self._said()
            time.sleep(0.2)
        self._start([sys.executable, "-m", "tests.execution.ray_tune.nodes", self.address], "looks")
        self.wait_for(1)

    def start_node(self, *, cpus: int) -> None:
        """One more node."""
        count = len(self.now().cpus)
        self._ray(f"--address={self.address}", f"--num-cpus={cpus}")
        self.wait_for(count + 1)

    def _ray(self, *options: str, **environment: str) -> None:
        command = [str(Path(sys.executable).parent / "ray"), "start", "--block", "--disable-usage-stats", *options]
        self._start([*command, f"--object-store-memory={STORE_BYTES}"], f"{len(self.processes)}.log", **environment)

    def _start(self, command: list[str], output: str, **environment: str) -> None:
        with (self.folder / output).open("wb") as said, (self.folder / f"{output}.errors").open("wb") as errors:
            process = subprocess.Popen(command, stdout=said, stderr=errors, env={**os.environ, **environment})
        self.processes.append(process)

    def looks(self) -> list[Look]:
        """What the cluster was like, from its first moment to this one."""
        lines = (self.folder / "looks").read_text().splitlines(keepends=True)
        return [Look(**json.loads(line)) for line in lines if line.endswith("\n")]

    def now(self) -> Look:
        """What the cluster is like."""
        asked, until = time.time(), time.monotonic() + SECONDS
        while True:
            looks = self.looks()
            if looks and looks[-1].at > asked:
                return looks[-1]
            assert self._lives(until), self._said()
            time.sleep(LOOK_SECONDS / 2)

    def wait_for(self, count: int) -> None:
        """Until so many nodes are alive."""
        until = time.monotonic() + SECONDS
        while len(self.now().cpus) != count:
            assert time.monotonic() < until, f"{count} nodes wanted: {self._said()}"

    def _lives(self, until: float) -> bool:
        return time.monotonic() < until and all(process.poll() is None for process in self.processes)

    def _said(self) -> str:
        files = [*self.folder.glob("*.log"), *self.folder.glob("*.errors")]
        return "\n".join(path.read_text() for path in files)

    def end(self) -> None:
        """End every process of the cluster, however it came to be."""
        family = [
            process
            for process in psutil.process_iter(["environ"])
            if (process.info["environ"] or {}).get("RAY_AUTH_TOKEN") == self.token
        ]
        for process in family:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        for ours in self.processes:
            ours.wait()


@contextmanager
def nodes() -> Iterator[Nodes]:
    """A cluster without any node yet."""
    folder = Path(tempfile.mkdtemp(prefix="rd-", dir="/tmp"))  # sockets lie in it: their names must be short
    made = Nodes(folder, secrets.token_hex(32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", made.token)
        try:
            yield made
        finally:
            made.end()
            shutil.rmtree(folder, ignore_errors=True)


def _look(state: Any) -> Look:
    import grpc  # type: ignore[import-untyped]
    from ray._private.internal_api import node_stats

    stored, table = {}, [node for node in state.node_table() if node["Alive"]]
    for node in table:
        try:
            stats = node_stats(node["NodeManagerAddress"], node["NodeManagerPort"], include_memory_info=False)
        except grpc.RpcError:
            continue  # it has just gone
        stored[node["NodeID"]] = stats.store_stats.cumulative_created_bytes
    return Look(
        at=time.time(),
        cpus={node["NodeID"]: node["Resources"].get("CPU", 0.0) for node in table},
        stored=stored,
        actors=[actor["Address"]["NodeID"] for actor in state.actor_table(None).values()],
    )


if __name__ == "__main__":
    from dataclasses import asdict

    from ray._private.internal_api import get_state_from_address

    cluster = get_state_from_address(sys.argv[1])
    while True:
        print(json.dumps(asdict(_look(cluster))), flush=True)
        time.sleep(LOOK_SECONDS)

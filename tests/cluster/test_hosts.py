"""A real cluster: `ray up cluster/local.yaml` on isolated hosts, and what happens to a study when they die.

Needs root and Debian's openssh-server, rsync, iproute2. `make cluster-test` runs it and prints the table of faults.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml

import rdstudy
from rdstudy.storage import finished_cells, load_measurements
from tests.cluster.hosts import Hosts, hosts, lacking
from tests.cluster.watch import Watch
from tests.execution.ray_tune.kill_and_resume import Runs, values, write_study

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(os.geteuid() != 0, reason="hosts are made by root only")]
ROOT = Path(__file__).parents[2]
SECONDS = 300.0
"""How long the study trains on a worker at work, so that it outlasts its faults."""
WORKER = "ray::ResourceTrainable.train"
TOKEN = "0123456789abcdef" * 4
RAY = ". ~/.rdstudy_env;"


class Cluster:
    """`ray up cluster/local.yaml` with the addresses of the hosts filled in."""

    def __init__(self, machines: Hosts, folder: Path) -> None:
        self.hosts, self.folder = machines, folder
        self.results = folder / "shared"
        self.results.mkdir()
        (folder / "token").write_text(TOKEN)

    def up(self, workers: list[int], *options: str) -> None:
        """Make it a cluster of host 1 and these workers."""
        cluster = yaml.safe_load((ROOT / "cluster" / "local.yaml").read_text())
        cluster["provider"] |= {
            "head_ip": self.hosts.address(1),
            "worker_ips": [self.hosts.address(n) for n in workers],
        }
        cluster["auth"] = {"ssh_user": "root", "ssh_private_key": str(self.hosts.key)}
        cluster |= {"min_workers": len(workers), "max_workers": len(workers)}
        cluster["file_mounts"] = {"/root/.ray/auth_token": str(self.folder / "token")}
        # The hosts share this machine's disk and reach no package index: they take its environment and folder.
        cluster["setup_commands"][0] = f"ln -sfn {sys.prefix} ~/rdstudy-env"
        cluster["setup_commands"][1] = cluster["setup_commands"][1].replace("/shared/rdstudy", str(self.results))
        for kind in ("head", "worker"):
            key = f"{kind}_start_ray_commands"
            cluster[key] = [each.replace("ray start", "ray start --num-cpus=1") for each in cluster[key]]
        path = self.folder / "cluster.yaml"
        path.write_text(yaml.safe_dump(cluster))
        command = [str(Path(sys.executable).parent / "ray"), "up", "-y", *options, str(path)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300, env=self.environment)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    @property
    def environment(self) -> dict[str, str]:
        own = {"RAY_UP_enable_autoscaler_v2": "0", "HOME": str(self.folder), "RAY_USAGE_STATS_ENABLED": "0"}
        return {**os.environ, **own}

    def wait_for_nodes(self, count: int, seconds: float = 180) -> None:
        """Until so many nodes are alive."""
        until = time.monotonic() + seconds
        ask = "import ray; ray.init('auto', log_to_driver=False); print(sum(n['Alive'] for n in ray.nodes()))"
        while True:
            found = self.hosts.ssh(1, f'{RAY} python -c "{ask}"', check=False)
            if found.stdout.strip().endswith(str(count)):
                return
            if time.monotonic() > until:
                log = self.hosts.ssh(1, "tail -20 /tmp/ray/session_latest/logs/monitor.log", check=False).stdout
                raise AssertionError(f"{count} nodes wanted: {found.stdout} {found.stderr} {log}")
            time.sleep(2)

    def run(self, study: Path, name: str, *options: str) -> subprocess.Popen[str]:
        """`rdstudy run` on the head."""
        more = " ".join(options)
        command = f"{RAY} RDSTUDY_RESULTS=$RDSTUDY_RESULTS/{name} rdstudy run {study} --address auto {more}"
        return subprocess.Popen(
            [*self.hosts.ssh_command(1), command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of three hosts, one CPU each: the head, which trains too, and two workers."""
    assert not lacking(), f"install openssh-server, rsync and iproute2: {lacking()} not found"
    with tempfile.TemporaryDirectory(prefix="rd-cluster-", dir="/tmp") as folder, hosts(Path(folder), 3) as machines:
        made = Cluster(machines, Path(folder))
        made.up([2, 3])
        made.wait_for_nodes(3)
        yield made


def wait_until(true: Callable[[], bool], process: subprocess.Popen[str], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not true():
        if process.poll() is not None:
            output = process.stdout.read() if process.stdout else ""
            raise AssertionError(f"the run ended with {process.returncode}: {output}")
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.2)


def steps_for(seconds: float, folder: Path) -> int:
    """So many steps that 32 cells in packs of 3 take so long on two workers of one CPU."""
    few, took = 200, []
    for steps in (few // 10, few):
        study = write_study(folder, cells=32, steps=steps, pack_size=3)
        began = time.monotonic()
        code, said = Runs(study, folder / f"speed{steps}", folder).finish("--no-ray")
        assert code == 0, said
        took.append(time.monotonic() - began)
    return int(2 * seconds / max((took[1] - took[0]) / (few * 0.9), 1e-3))


def test_a_client_without_the_token_is_refused(cluster: Cluster):
    status = f"~/rdstudy-env/bin/ray status --address {cluster.hosts.address(1)}:6379"
    assert "Active" in cluster.hosts.ssh(2, f"{RAY} {status}").stdout
    for credentials in ("RAY_AUTH_MODE=token RAY_AUTH_TOKEN=wrong", "RAY_AUTH_MODE=disabled"):
        asked = cluster.hosts.ssh(2, f"{credentials} {status}", check=False)
        assert asked.returncode != 0
        assert "Active" not in asked.stdout


def test_no_port_lets_in_strangers(cluster: Cluster):
    """The dashboard, from which jobs can be started, listens on loopback alone."""
    listening = [line.split()[3] for line in cluster.hosts.ssh(1, "ss -tlnH").stdout.splitlines()]
    assert [address for address in listening if address.endswith(":8265")] == ["127.0.0.1:8265"]


def _unshared(cluster: Cluster) -> tuple[str, str]:
    return f"mount -t tmpfs tmpfs {cluster.results}", f"umount {cluster.results}"


def _another_version(cluster: Cluster) -> tuple[str, str]:
    installed = importlib.metadata.distribution("rdstudy").locate_file("") / f"rdstudy-{rdstudy.__version__}.dist-info"
    metadata, other = f"{installed}/METADATA", cluster.folder / "METADATA"
    other.write_text("Metadata-Version: 2.1\nName: rdstudy\nVersion: 0.0.9\n")
    return f"mount --bind {other} {metadata}", f"umount {metadata}"


def _unwritable(cluster: Cluster) -> tuple[str, str]:
    return f"mount --bind -o ro {cluster.results} {cluster.results}", f"umount {cluster.results}"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (_unshared, "rdhost3 does not see what the driver wrote"),
        (_another_version, f"rdhost3 has rdstudy 0.0.9, the driver {rdstudy.__version__}: install the same"),
        (_unwritable, "rdhost3: "),
    ],
)
def test_a_machine_that_cannot_train_is_named_before_training(cluster: Cluster, fault, words: str):
    do, undo = fault(cluster)
    cluster.hosts.ssh(3, do)
    try:
        study = write_study(cluster.folder, cells=16, steps=10, pack_size=4)
        process = cluster.run(study, "unfit")
        said, _ = process.communicate(timeout=180)
    finally:
        cluster.hosts.ssh(3, undo)
    assert process.returncode == 2, said
    assert "not every machine of the cluster can train" in said
    assert words in said
    assert "rdhost2" not in said
    assert "Traceback" not in said


def test_the_doctor_names_what_is_wrong_with_one_s_own_machines(cluster: Cluster):
    machines = cluster.hosts
    machines.ssh(2, "mount --bind /dev/null /usr/bin/rsync")
    locked = "mv ~/.ssh/authorized_keys ~/.ssh/away; echo; read; mv ~/.ssh/away ~/.ssh/authorized_keys"
    inside = subprocess.Popen([*machines.ssh_command(3), locked], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert inside.stdout is not None
    inside.stdout.readline()
    doctor = [sys.executable, "-m", "rdstudy", "doctor", str(cluster.folder / "cluster.yaml")]
    doctor += ["--results", str(cluster.results / "doctor")]
    environment = {**cluster.environment, "HOME": str(cluster.folder / "home")}
    (cluster.folder / "home" / ".ray").mkdir(parents=True)
    (cluster.folder / "home" / ".ray" / "auth_token").write_text(TOKEN)

    def said() -> str:
        return subprocess.run(
            doctor, env=environment, capture_output=True, text=True, check=False, timeout=120
        ).stderr.replace("\n", " ")

    try:
        broken = said()
    finally:
        machines.ssh(2, "umount /usr/bin/rsync")
        inside.communicate(b"\n", timeout=30)
    assert f"{machines.address(1)}: " not in broken
    assert f"{machines.address(2)}: has no rsync" in broken
    assert f"{machines.address(3)}: ssh fails: " in broken
    assert "Permission denied" in broken
    machines.cut(3)
    try:
        cut = said()
    finally:
        machines.heal(3)
    assert f"{machines.address(3)}: ssh fails: " in cut
    assert f"{machines.address(2)}: " not in cut


def test_a_study_handed_over_runs_without_who_handed_it_over(cluster: Cluster):
    study = write_study(cluster.folder, cells=16, steps=20, pack_size=4)
    command = [sys.executable, "-m", "rdstudy", "submit", str(cluster.folder / "cluster.yaml"), str(study)]
    done = subprocess.run(command, env=cluster.environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "interrupted: submitted to" in done.stdout
    results, until = cluster.results / "interrupted", time.monotonic() + 180
    while len(finished_cells(results / "measurements")) < 16:
        assert time.monotonic() < until, cluster.hosts.ssh(1, f"{RAY} ray job list", check=False).stdout
        time.sleep(1)


def test_a_study_goes_on_through_every_fault_to_the_table_of_one_machine(cluster: Cluster):
    study = write_study(cluster.folder, cells=32, steps=steps_for(SECONDS, cluster.folder), pack_size=3)
    results = cluster.results / "faults" / "interrupted"
    machines, watch = cluster.hosts, Watch(results)
    log: list[tuple[str, float, list[str]]] = []

    def hit(fault: str, act: Callable[[], object]) -> None:
        assert process.poll() is None, f"the study ended before {fault}: raise SECONDS"
        busy = watch.at_work(time.time(), within=5.0)
        act()
        log.append((fault, time.time(), busy))

    def add() -> None:
        machines.start(4)
        cluster.up([2, 4], "--no-restart")

    process = cluster.run(study, "faults")
    wait_until(lambda: len(watch.saves) >= 3, process, 240)
    wait_until(lambda: not machines.ssh(2, f"pgrep -f '{WORKER}'", check=False).returncode, process, 60)
    hit("worker process killed", lambda: machines.ssh(2, f"pkill -9 -f '{WORKER}'"))
    time.sleep(20)
    hit(
        "disk full on one host for 40 s",
        lambda: machines.ssh(3, f"mount -t tmpfs -o size=200k tmpfs {cluster.results}"),
    )
    time.sleep(40)
    machines.ssh(3, f"umount -l {cluster.results}")
    time.sleep(10)
    hit("host powered off", lambda: machines.power_off(3))
    time.sleep(15)
    hit("host added", add)
    n = len(finished_cells(results / "measurements"))
    wait_until(lambda: len(finished_cells(results / "measurements")) > n, process, 600)
    hit("host cut from the network for 60 s", lambda: machines.cut(2))
    time.sleep(60)
    machines.heal(2)
    time.sleep(10)
    hit("driver killed", lambda: machines.ssh(1, "pkill -9 -f 'rdstudy run'"))
    process.communicate(timeout=60)
    assert process.returncode != 0
    process = cluster.run(study, "faults")
    time.sleep(30)
    hit("spot notice (SIGTERM to the node)", lambda: machines.ssh(4, "pkill -TERM raylet", check=False))
    time.sleep(20)
    hit("head lost", lambda: machines.power_off(1))
    process.kill()  # only ssh, which has nobody to talk to any more
    process.communicate(timeout=30)
    machines.start(1)
    cluster.up([2, 4])
    cluster.wait_for_nodes(3)
    process = cluster.run(study, "faults")
    said, _ = process.communicate(timeout=900)
    watch.end()
    assert process.returncode == 0, said

    alone = Runs(study, cluster.folder / "alone", cluster.folder)
    code, output = alone.finish()
    assert code == 0, output
    pd.testing.assert_frame_equal(values(results), values(alone.results), check_exact=True)
    table = load_measurements(results)
    assert table["cell_id"].nunique() == rdstudy.load_study(study).n_cells
    assert (table["status"] == "ok").all()
    assert {"rdhost1", "rdhost2", "rdhost4"} <= set(table["host"])
    print("\n| fault | packs at work | seconds of work lost | seconds until it went on |\n|---|---|---|---|")
    for fault, at, packs in log:
        lost, recovered = watch.fault(at, packs, pause=3.0)
        print(f"| {fault} | {len(packs)} | {lost:.1f} | {recovered:.0f} |")

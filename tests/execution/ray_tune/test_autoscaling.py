"""A cluster that grows and shrinks: Ray's own autoscaler, renting nodes of this machine while a study runs.

How long a pack trains is the test's to say: each waits for a file. So nothing here depends on how fast a machine is.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID, FAKE_HEAD_NODE_TYPE
from ray.util import get_node_ip_address

from rdstudy.storage import load_measurements
from tests.conftest import STUDY
from tests.execution.ray_tune.kill_and_resume import Runs, kill_all
from tests.execution.ray_tune.nodes import Nodes, nodes

pytestmark = pytest.mark.cluster

MOST = 6
"""Nodes that the cluster may rent."""
IDLE_SECONDS = 4.0
"""How long a node may have nothing to do."""
HOLD = """
import os, pathlib, sys, time
class Hold:
    def find_spec(self, name, path=None, target=None):
        if name == "rdstudy.execution.ray_tune.trainable":
            sys.meta_path.remove(self)
            from rdstudy.execution import pack_run
            from rdstudy.execution.ray_tune import node_checks as preflight
            train, complaint = pack_run.PackRun.train, preflight.complaint
            folder = pathlib.Path(os.environ["HOLD"])
            def held(self, until):
                width = self.pack.cells[0].width
                (folder / f"at-work-{width}").touch()
                while not (folder / f"go-{width}").exists():
                    time.sleep(0.1)
                train(self, until)
            def asked(*arguments):
                (folder / f"asked-{os.getpid()}").touch()
                return complaint(*arguments)
            pack_run.PackRun.train, preflight.complaint = held, asked
        return None
sys.meta_path.insert(0, Hold())
"""
"""For `sitecustomize`: a pack trains when there is a file of its width, and says that it is there by another; a worker
says that it was asked whether its machine can train.
"""


def start_head(cluster: Nodes) -> None:
    """A head that trains nothing, and Ray's autoscaler, which rents nodes of one CPU."""
    ip = get_node_ip_address()
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    config = {
        "cluster_name": "autoscaling",
        "provider": {
            "type": "external",
            "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "launch_multiple": True,
            "head_node_id": FAKE_HEAD_NODE_ID,
            "gcs_address": f"{ip}:{port}",
        },
        "head_node_type": FAKE_HEAD_NODE_TYPE,
        "available_node_types": {
            FAKE_HEAD_NODE_TYPE: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": {
                "resources": {"CPU": 1, "object_store_memory": 100 * 2**20},
                "node_config": {},
                "min_workers": 0,
                "max_workers": MOST,
            },
        },
        "max_workers": MOST,
        "idle_timeout_minutes": IDLE_SECONDS / 60,
        "auth": {},
        "file_mounts": {},
        "cluster_synced_files": [],
        "initialization_commands": [],
        "setup_commands": [],
        **{f"{kind}_{name}": [] for kind in ("head", "worker") for name in ("setup_commands", "start_ray_commands")},
    }
    file = cluster.folder / "autoscaling.yaml"
    file.write_text(json.dumps(config))
    cluster.start_head(
        f"--autoscaling-config={file}",
        port=port,
        AUTOSCALER_UPDATE_INTERVAL_S="1",
        RAY_FAKE_CLUSTER="1",
        RAY_enable_autoscaler_v2="1",
        RAY_CLOUD_INSTANCE_ID=FAKE_HEAD_NODE_ID,
        RAY_OVERRIDE_NODE_ID_FOR_TESTING=FAKE_HEAD_NODE_ID,
    )


def wait_until(true: Callable[[], bool], what: str, seconds: float = 600.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.2)


def test_a_cluster_rents_a_node_for_each_pack_and_gives_it_back_when_no_pack_needs_it(
    images_file: Path, tmp_path: Path, monkeypatch
):
    study, widths = tmp_path / "tiny.yaml", (5, 7, 9)
    text = (STUDY % images_file).replace("width: [9]", f"width: {list(widths)}")
    study.write_text(text.replace("resources: {", "resources: {pack_size: 4, "))
    hold = tmp_path / "hold"
    hold.mkdir()
    (hold / "sitecustomize.py").write_text(HOLD)
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", str(hold), prepend=":")
        patch.setenv("HOLD", str(hold))
        with nodes() as cluster:
            start_head(cluster)

            def rented() -> int:
                return len(cluster.now().cpus) - 1

            assert rented() == 0
            run = Runs(study, tmp_path / "results", tmp_path)
            process = run.start("--address", cluster.address)
            try:
                wait_until(lambda: all((hold / f"at-work-{width}").exists() for width in widths), "all packs at work")
                assert rented() == len(widths)
                time.sleep(3 * IDLE_SECONDS)  # in which more could come
                for left, width in reversed(list(enumerate(widths))):
                    assert rented() == left + 1
                    assert process.poll() is None
                    (hold / f"go-{width}").touch()
                    wait_until(lambda left=left: rented() == left, f"{left} nodes")  # type: ignore[misc]
                said, _ = process.communicate(timeout=300)
            finally:
                if process.poll() is None:
                    kill_all(process)
            looks = cluster.looks()
    assert process.returncode == 0, said
    steps = [len(looks[0].cpus) - 1]
    for look in looks:
        if len(look.cpus) - 1 != steps[-1]:
            steps.append(len(look.cpus) - 1)
    print(f"\nnodes rented, of {MOST} that could be, while 3 packs train: {steps}")
    assert max(steps) == len(widths)
    assert steps[steps.index(max(steps)) :] == [3, 2, 1, 0]
    assert len(list(hold.glob("asked-*"))) == len(widths), "machines joined that were not asked whether they can train"
    assert load_measurements(run.results)["cell_id"].nunique() == 12

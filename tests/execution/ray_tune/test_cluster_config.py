"""The shipped cluster files are sound, and what is wrong with a file is named with its mend."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml

from rdstudy.execution.ray_tune.cluster_config import PLACEHOLDERS, faults, load_cluster
from tests.command import refused

CLUSTERS = Path(__file__).parents[3] / "cluster"
FILLED = {"MY-BUCKET": "lab-results", "MY-PROJECT": "lab", "10.0.0.1": "10.9.0.1", "10.0.0.2": "10.9.0.2"}
FILES = ("gpu.yaml", "gcp.yaml", "local.yaml")


def filled(name: str, tmp_path: Path) -> dict[str, Any]:
    """A shipped file with what is marked filled in."""
    text = (CLUSTERS / name).read_text()
    for placeholder, value in FILLED.items():
        text = re.sub(rf"{re.escape(placeholder)}(?!\d)", value, text)
    (tmp_path / "key").touch()
    path = tmp_path / name
    path.write_text(text.replace("~/.ssh/id_ed25519", str(tmp_path / "key")))
    return load_cluster(path)


@pytest.mark.parametrize("name", FILES)
def test_a_shipped_file_that_is_filled_in_is_sound(name, tmp_path):
    assert faults(filled(name, tmp_path)) == []


@pytest.mark.parametrize("name", FILES)
def test_a_shipped_file_says_what_to_fill_in(name, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    found = faults(load_cluster(CLUSTERS / name))
    used = [each for each in PLACEHOLDERS if each in (CLUSTERS / name).read_text()]
    assert used
    for placeholder in used:
        assert any(f"it still contains {placeholder}:" in fault for fault in found)


@pytest.mark.parametrize("name", FILES)
def test_a_shipped_file_pins_the_version_of_ray_that_is_installed_here(name):
    text = (CLUSTERS / name).read_text()
    assert set(re.findall(r"ray(?:==|:)(\d+\.\d+\.\d+)", text)) == {ray.__version__}


def test_kuberay_s_file_is_of_the_same_version_and_secret():
    documents = list(yaml.safe_load_all((CLUSTERS / "kuberay.yaml").read_text()))
    job = next(each for each in documents if each["kind"] == "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["rayVersion"] == ray.__version__
    assert cluster["authOptions"] == {"mode": "token"}
    text = (CLUSTERS / "kuberay.yaml").read_text()
    images = re.findall(r"(?:image: |FROM )([\w/-]+:[\w.-]+)", text)
    assert len(images) == 3
    assert {image.split(":")[1].split("-")[0] for image in images} == {ray.__version__}
    groups = {group["groupName"]: group for group in cluster["workerGroupSpecs"]}
    assert all(group["minReplicas"] == 0 < group["maxReplicas"] for group in groups.values())
    limits = groups["gpu"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == 1


def gpu(cluster: dict[str, Any]) -> dict[str, Any]:
    kind: dict[str, Any] = cluster["available_node_types"]["gpu_spot"]
    return kind


def worker_types(cluster: dict[str, Any], value: int) -> None:
    for name in ("gpu_spot", "gpu_on_demand"):
        cluster["available_node_types"][name]["max_workers"] = value


BROKEN: dict[str, tuple[str, Callable[[dict[str, Any]], object], str]] = {
    "ray-ml image": (
        "gpu.yaml",
        lambda c: c["docker"].update(worker_image="rayproject/ray-ml:2.9.0-gpu"),
        "ray-ml images ended with Ray 2.50: use rayproject/ray:",
    ),
    "image of another Ray": (
        "gpu.yaml",
        lambda c: c["docker"].update(head_image="rayproject/ray:2.40.0-py311-cpu"),
        "has Ray 2.40.0, this machine",
    ),
    "pip of another Ray": (
        "local.yaml",
        lambda c: c["setup_commands"].append("pip install ray==2.9.0"),
        "setup_commands install Ray 2.9.0",
    ),
    "no rdstudy": (
        "gcp.yaml",
        lambda c: c["setup_commands"].__setitem__(0, "pip install ray==2.60.0"),
        "do not install rdstudy",
    ),
    "no GPU workers": ("gpu.yaml", lambda c: worker_types(c, 0), "no GPU worker could be started"),
    "a machine without GPU": (
        "gpu.yaml",
        lambda c: gpu(c)["node_config"].update(InstanceType="m7i.large"),
        "resources say GPU, but m7i.large has none",
    ),
    "no machine type": (
        "gpu.yaml",
        lambda c: gpu(c)["node_config"].update(InstanceType="huge"),
        "InstanceType is huge, which is no machine type",
    ),
    "spot in the wrong form": (
        "gpu.yaml",
        lambda c: gpu(c)["node_config"].update(InstanceMarketOptions="spot"),
        "for spot machines write {MarketType: spot}",
    ),
    "spot in GCP's old form": (
        "gcp.yaml",
        lambda c: gpu(c)["node_config"].update(scheduling=[{"preemptible": True}]),
        "for spot machines write {provisioningModel: SPOT}",
    ),
    "head on spot": (
        "gpu.yaml",
        lambda c: c["available_node_types"]["head"]["node_config"].update(InstanceMarketOptions={"MarketType": "spot"}),
        "the head is a spot machine",
    ),
    "no secret": (
        "gpu.yaml",
        lambda c: c["file_mounts"].pop("~/.ray/auth_token"),
        "file_mounts lack ~/.ray/auth_token",
    ),
    "no authentication": (
        "local.yaml",
        lambda c: c.update(setup_commands=[s.replace("RAY_AUTH_MODE=token", "") for s in c["setup_commands"]]),
        "nothing sets RAY_AUTH_MODE=token",
    ),
    "open dashboard": (
        "local.yaml",
        lambda c: c.update(
            head_start_ray_commands=[s.replace("127.0.0.1", "0.0.0.0") for s in c["head_start_ray_commands"]]
        ),
        "the dashboard, which can start jobs, is open to others",
    ),
    "workers not counted": (
        "local.yaml",
        lambda c: c.update(max_workers=9),
        "max_workers is 9, but there are 2 worker_ips",
    ),
    "no key": (
        "local.yaml",
        lambda c: c["auth"].update(ssh_private_key="/nowhere/key"),
        "auth.ssh_private_key: there is no file /nowhere/key",
    ),
    "unknown key": ("gpu.yaml", lambda c: c.update(max_wokers=3), "max_wokers"),
    "unknown head type": ("gpu.yaml", lambda c: c.update(head_node_type="haed"), "`head_node_type` must be one of"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_wrong_is_named_with_its_mend(broken, tmp_path):
    name, break_it, words = BROKEN[broken]
    cluster = filled(name, tmp_path)
    break_it(cluster)
    found = faults(cluster)
    assert any(words in fault for fault in found), found
    assert len(found) <= 2, found


def test_the_doctor_names_each_fault_once(command, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for program in ("ssh", "rsync"):  # not every machine has them
        (tmp_path / program).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    ended = command("doctor", CLUSTERS / "gpu.yaml")
    refused(ended, "gpu.yaml: 2 to fix:", "it still contains MY-BUCKET", "ray get-auth-token --generate")


def test_the_doctor_asks_one_s_own_machines_by_ssh(command, tmp_path):
    cluster = filled("local.yaml", tmp_path)
    cluster["provider"] |= {"head_ip": "127.0.0.1", "worker_ips": ["localhost"]}
    cluster |= {"min_workers": 1, "max_workers": 1}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(cluster))
    refused(command("doctor", tmp_path / "mine.yaml"), "127.0.0.1: ssh fails: ", "localhost: ssh fails: ")


def test_the_doctor_is_content_where_nothing_is_wrong(command):
    assert "no faults found; results can be written to results" in command("doctor").out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no.yaml"], ["no.yaml: cannot be read: No such file"]),
        (["--results", "/proc/nothing"], ["/proc/nothing"]),
        (["--device", "cuda"], ["resources.device is cuda, which this machine does not have"]),
        (["--device", "tpu"], ["expected auto, cpu, cuda or mps; found 'tpu'"]),
    ],
)
def test_what_the_doctor_finds_here_is_one_message(command, arguments, words):
    refused(command("doctor", *arguments), *words)

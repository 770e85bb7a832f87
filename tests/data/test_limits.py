import os

import pytest

from rdstudy.data import limits


@pytest.fixture
def group(tmp_path, monkeypatch):
    """A control group `job/step` of this process, whose files the test writes."""
    inside = tmp_path / "job" / "step"
    inside.mkdir(parents=True)
    (tmp_path / "cgroup").write_text("0::/job/step\n")
    monkeypatch.setattr(limits, "CGROUPS", tmp_path)
    monkeypatch.setattr(limits, "OWN_CGROUPS", tmp_path / "cgroup")
    return inside


def test_the_memory_limit_of_a_group_above_counts(group):
    (group / "memory.max").write_text("max\n")
    (group.parent / "memory.max").write_text(f"{3 * 2**20}\n")
    assert limits.memory_bytes() == 3 * 2**20


def test_the_memory_limit_of_version_1_counts(group, tmp_path):
    (tmp_path / "cgroup").write_text("5:cpu,cpuacct:/\n4:memory:/job\n")
    (tmp_path / "memory" / "job").mkdir(parents=True)
    (tmp_path / "memory" / "job" / "memory.limit_in_bytes").write_text(f"{2**21}\n")
    assert limits.memory_bytes() == 2**21


def test_without_a_limit_the_memory_is_the_machines(group):
    (group / "memory.max").write_text("nonsense")
    assert limits.memory_bytes() == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_affinity_and_quota_limit_the_cores(group, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3})
    assert limits.cores() == 4
    (group.parent / "cpu.max").write_text("150000 100000\n")
    assert limits.cores() == 2
    (group / "cpu.max").write_text("max 100000\n")
    assert limits.cores() == 2
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {5})
    assert limits.cores() == 1

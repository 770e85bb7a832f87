"""What this process may use of its machine: cores and memory, as affinity and control groups allow.

Standard library only. A batch system gives a job some of a machine's cores and memory, and kills what takes more.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


def cores() -> int:
    """Cores that this process may use: by its affinity, and by the quotas of its control groups."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [affinity]
    for folder in _cgroups("cpu"):
        quota, period = [*_read(folder / "cpu.max").split(), "", ""][:2]
        if not quota:
            quota, period = _read(folder / "cpu.cfs_quota_us").strip(), _read(folder / "cpu.cfs_period_us").strip()
        if quota.isdigit() and period.isdigit() and int(quota) > 0 and int(period) > 0:
            quotas.append(math.ceil(int(quota) / int(period)))
    return max(1, min(quotas))


def memory_bytes() -> int:
    """Memory that this process may use: the machine's, or less where a control group or one above it has a limit."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for folder in _cgroups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = _read(folder / name).strip()
            if text.isdigit() and int(text) > 0:
                limits.append(int(text))
    return min(limits)


def _cgroups(controller: str) -> Iterator[Path]:
    """Folders of this process's control groups and of those above them, of version 2 and of version 1."""
    for line in _read(OWN_CGROUPS).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        top = CGROUPS / controllers if controllers else CGROUPS
        if controllers and not top.is_dir():
            top = CGROUPS / controller
        inside = Path(path.lstrip("/"))
        for above in (inside, *inside.parents):
            yield top / above


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError):
        return ""

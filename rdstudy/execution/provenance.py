"""Provenance of a row: versions, commit, device, host."""

from __future__ import annotations

import functools
import platform
import socket
import subprocess
from dataclasses import dataclass

import torch

import rdstudy


@dataclass(frozen=True, slots=True)
class Commit:
    """The working directory's git commit, and whether it had uncommitted changes."""

    id: str
    dirty: bool


def git_commit() -> Commit | None:
    """The commit of the working directory's repository; None outside a repository or without git."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
        changes = subprocess.run(
            ["git", "status", "--porcelain"], capture_output=True, text=True, timeout=10, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return Commit(found, bool(changes.strip()))


@functools.cache
def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def device_name(device: torch.device) -> str:
    """The device's type and model, and the number of CPU threads, on which rounding may depend."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        return f"cpu ({_processor()}, {torch.get_num_threads()} threads)"
    return device.type


def provenance(device: torch.device, commit: Commit | None) -> dict[str, object]:
    """The provenance columns that are the same for every row of a pack."""
    return {
        "device": device_name(device),
        "host": socket.gethostname(),
        "rdstudy_version": rdstudy.__version__,
        "torch_version": torch.__version__,
        "git_commit": commit.id if commit else None,
        "git_dirty": commit.dirty if commit else None,
    }

"""This machine: its GPUs, and how fast it multiplies matrices now."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_info

from rdstudy.data.limits import cores
from rdstudy.errors import UserError
from rdstudy.study import SettingError, Study


class Throughput(NamedTuple):
    """Measured speed of a CPU or GPU.

    Attributes:
        flops: float32 matrix-product FLOP/s of all cores, or of a GPU, while other programs run too.
        cpu_share: share of the wall-clock time that this process's threads ran; other programs had the rest.
    """

    flops: float
    cpu_share: float


def cpu_throughput(seconds: float = 0.3) -> Throughput:
    """Measure the CPU. With NumPy, because PyTorch (`training.throughput.matmul_flops`) takes seconds to import.

    Args:
        seconds: how long to measure.
    """
    a = np.ones((512, 1024), dtype=np.float32)
    b = np.ones((1024, 1024), dtype=np.float32)
    a @ b
    n, started, used = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - started < seconds:
        a @ b
        n += 1
    wall, used = time.perf_counter() - started, time.process_time() - used
    threads = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    return Throughput(n * 2 * a.size * b.shape[1] / wall, min(1.0, used / (wall * max(threads, default=1))))


def gpu_count() -> int:
    """Number of CUDA devices. PyTorch, which takes seconds to import, is asked only if there is a driver."""
    if not Path("/dev/nvidiactl").exists():
        return 0
    import torch

    return torch.cuda.device_count()


def gpu_throughput() -> Throughput:
    """Measure a CUDA device.

    Raises:
        UserError: its memory is in use.
    """
    import torch

    from rdstudy.training.throughput import matmul_flops

    try:
        return Throughput(matmul_flops(torch.device("cuda")), 1.0)
    except torch.OutOfMemoryError as error:
        raise UserError(
            "the GPU's speed cannot be measured, because its memory is in use: plan when it is free, or for this "
            "machine's CPU with --set resources.device=cpu"
        ) from error


def check_fits(study: Study, gpus: int) -> None:
    """Refuse a study whose packs this machine has no room for.

    Args:
        study: says how many CPUs and GPUs a pack takes.
        gpus: number of GPUs of this machine.

    Raises:
        SettingError: a pack takes more than there is.
    """
    resources = study.resources
    if resources.cpus_per_pack > cores():
        raise SettingError(
            ("resources", "cpus_per_pack"),
            f"a pack takes {resources.cpus_per_pack:,} CPUs, and this machine gives this process {cores()}",
        )
    asked = resources.gpus_per_pack
    if asked != "auto" and asked > gpus:
        raise SettingError(("resources", "gpus_per_pack"), f"a pack takes {asked:g} GPUs, and this machine has {gpus}")
    if resources.device == "cuda" and not gpus:
        raise SettingError(("resources", "device"), "cuda, and this machine has no GPU that PyTorch can use")


def packs_side_by_side(study: Study, gpus: int) -> int:
    """Number of packs that this machine trains at once.

    Args:
        study: says how many CPUs and GPUs a pack takes.
        gpus: number of GPUs to be used; 0: train on the CPU.
    """
    by_cpu = cores() // study.resources.cpus_per_pack
    if not gpus:
        return max(1, by_cpu)
    asked = study.resources.gpus_per_pack
    each = 1.0 if asked == "auto" else asked
    return max(1, min(by_cpu, int(gpus / each) if each else by_cpu))

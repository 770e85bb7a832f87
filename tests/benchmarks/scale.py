"""What would limit a large cluster: the driver's work for each pack, the table's growth, Ray's trials.

    python -m tests.benchmarks.scale

Prints figures of this machine, for a page to extrapolate from.
"""

from __future__ import annotations

import gc
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil

from rdstudy.execution.ray_tune.pack_queue import PackQueue
from rdstudy.storage import Table, finished_cells, load_measurements, stage
from rdstudy.training.packs import plan_packs
from tests.execution.ray_tune.trials_kept import run_small_packs, small_study
from tests.storage.test_table import ROW

STEPS = 12


def commits(packs: int = 1500, models: int = 8) -> None:
    """The driver's part of a pack that ends: its rows into the table, bundles and all."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "measurements").mkdir()
        table, seconds = Table(root), []
        for pack in range(packs):
            rows = [
                replace(ROW, cell_id=f"{pack}-{model}", step=step, is_final=step == STEPS, population=population)
                for model in range(models)
                for step in range(1, STEPS + 1)
                for population in ("train", "test")
            ]
            staged = stage(root, f"pack-{pack:05d}", rows)
            began = time.perf_counter()
            table.commit(staged)
            seconds.append(time.perf_counter() - began)
        size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
        print(
            f"commit: {1e3 * np.median(seconds):.1f} ms a pack of {models} (median of {packs:,}), "
            f"the slowest, which bundles, {max(seconds):.2f} s; {size / packs / 1024:.0f} KiB a pack, bundles included"
        )
        began = time.perf_counter()
        finished = finished_cells(root / "measurements")
        looked = time.perf_counter() - began
        began = time.perf_counter()
        load_measurements(root)
        print(
            f"{len(finished):,} cells finished: read in {looked:.2f} s; the table loaded in "
            f"{time.perf_counter() - began:.2f} s"
        )


def planning(cells: int = 100_000) -> None:
    """From a grid to packs, and what the queue costs."""
    study = small_study(cells)
    began = time.perf_counter()
    packs = plan_packs(study.cells.values(), pixels=784, pack_size=10)
    print(f"planned {cells:,} cells as {len(packs):,} packs in {time.perf_counter() - began:.1f} s")
    queue = PackQueue(packs)
    began = time.perf_counter()
    while queue:
        work = queue.take("worker")
        assert work is not None
        queue.ended("worker")
    print(f"queue: {1e6 * (time.perf_counter() - began) / len(packs):.1f} us a pack")


def trials(packs: int = 8000) -> None:
    """Ray's part: seconds and driver memory for each trial, with packs of next to no work."""
    process = psutil.Process()
    ended: list[tuple[float, int]] = []
    with tempfile.TemporaryDirectory() as folder:
        run_small_packs(Path(folder), packs, lambda _: ended.append((time.perf_counter(), process.memory_info().rss)))
    late = ended[len(ended) // 2 :]  # before, buffers of Ray's and of the allocator's fill up
    times, memory = zip(*late, strict=True)
    growth = np.polyfit(range(len(late)), memory, 1)[0] / 1024
    rate = len(late) / (times[-1] - times[0])
    print(
        f"Ray: {len(ended)} trials; {rate:.1f} packs of no work a second on this machine; the driver grows by "
        f"{growth:.1f} KiB a trial, and has {memory[-1] / 2**20:.0f} MiB at the end"
    )


def main() -> None:
    planning()
    commits()
    gc.collect()
    trials()
    print(f"peak memory of the driver {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()

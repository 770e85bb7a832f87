"""How long a report of a large study takes, and how much memory: 10,000 cells, 12 steps, 2 populations.

    python -m tests.benchmarks.report_speed [cells]

Allowed: 60 seconds for the whole report, 1 GiB.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from rdstudy.report import Findings, write_report
from tests.analysis.synthetic import GRID, Planted, falling, study_table, u_shaped

SEEDS = 5
STEPS = tuple(int(step) for step in np.geomspace(100, 160000, 12).round())


def large_study(cells: int) -> list[Planted]:
    """As many settings as have this many cells, with the axes of a real study."""
    settings = []
    for split in ("checkerboard", "random"):
        for train_size in (1024, 2048, 8192, 16384, 32768, 65536, 81920):
            for depth in (1, 2, 3):
                for width in (128, 256, 512, 1024):
                    gap = falling() if depth == 3 else u_shaped()
                    settings.append(Planted(gap, split=split, train_size=train_size, depth=depth, width=width))
    return settings[: -(-cells // (len(GRID) * SEEDS))]


def main() -> None:
    cells = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    settings = large_study(cells)
    table = study_table(settings, seeds=SEEDS, steps=STEPS)
    made = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{table['cell_id'].nunique():,} cells, {len(table):,} rows, {len(settings)} settings; {made:.0f} MiB so far")

    start, cpu = time.perf_counter(), time.process_time()
    Findings.of(table)
    print(f"analyses      {time.perf_counter() - start:6.1f} s, processor {time.process_time() - cpu:6.1f} s")

    with tempfile.TemporaryDirectory() as folder:
        start, cpu = time.perf_counter(), time.process_time()
        paths = write_report(Path(folder), table, {"name": "large"}, formats=("html", "md"))
        print(f"whole report  {time.perf_counter() - start:6.1f} s, processor {time.process_time() - cpu:6.1f} s")
        page = (Path(folder) / "report" / "index.html").stat().st_size / 2**20
        total = sum(path.stat().st_size for path in paths) / 2**20
        print(f"page {page:.1f} MiB, {len(paths)} files, {total:.1f} MiB")
    print(f"peak memory   {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:6.0f} MiB")


if __name__ == "__main__":
    main()

"""How long a report of a large study takes, and how much memory: 10,000 cells, 12 steps, 2 populations.

    python -m tests.benchmarks.report_speed [cells]

Wanted: 2 seconds to import the analysis, 2 to load the table, 2 for `rdstudy status`, 60 for the whole report, 1 GiB.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa

from rdstudy.report import write_report
from rdstudy.storage import Table, finished_cells, load_measurements
from rdstudy.storage.parts import SCHEMA, write_part
from rdstudy.study import parse_study
from tests.analysis.synthetic import GRID, Planted, falling, study_table, u_shaped

SEEDS = 5
PACKS = (128, 8)
"""Models in a pack on a GPU, and on a CPU."""
T = TypeVar("T")
STEPS = tuple(int(step) for step in np.geomspace(100, 160000, 12).round())


STUDY = """
name: large
dataset: {name: tetrominoes}
grid:
  split: [checkerboard, random]
  beta: [5, 3, 2, 1, 0.9, 0.7, 0.5, 0.3, 0.1, 0.01, 0.005, 0.001]
  depth: [1, 2, 3]
  width: [128, 256, 512, 1024]
  train_size: [1024, 2048, 8192, 16384, 32768, 65536, 81920]
  seed: {count: 5}
training: {steps: 160000}
"""
"""10,080 cells."""


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


def write_parts(folder: Path, table: pd.DataFrame, models_per_pack: int) -> None:
    """The table as packs of this size leave it."""
    n_parts = -(-table["cell_id"].nunique() // models_per_pack)
    results = Table(folder)
    for number, cell_ids in enumerate(np.array_split(table["cell_id"].unique(), n_parts)):
        part = pa.Table.from_pandas(table[table["cell_id"].isin(cell_ids)], schema=SCHEMA, preserve_index=False)
        staged = folder / "staging" / f"pack-{number}.parquet"
        write_part(staged, part)
        results.commit(staged)
    print(f"\n{n_parts:,} parts, packs of {models_per_pack}")


def timed(name: str, call: Callable[[], T]) -> T:
    start, cpu = time.perf_counter(), time.process_time()
    found = call()
    print(f"{name:14}{time.perf_counter() - start:6.1f} s, processor {time.process_time() - cpu:6.1f} s")
    return found


def read_and_report(folder: Path) -> None:
    """What `rdstudy report` does, in a process of its own, so that the peak of memory is its own."""
    timed("what is done", lambda: finished_cells(folder / "measurements"))
    table = timed("load", lambda: load_measurements(folder))
    paths = timed("whole report", lambda: write_report(folder, table, {"name": "large"}, formats=("html", "md")))
    page = (folder / "report" / "index.html").stat().st_size / 2**20
    total = sum(path.stat().st_size for path in paths) / 2**20
    print(f"page {page:.1f} MiB, {len(paths)} files, {total:.1f} MiB")
    print(f"peak memory   {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:6.0f} MiB")


def status_speed(folder: Path, repetitions: int = 5) -> None:
    """The command, from its start to its end."""
    study = parse_study(STUDY)
    (folder / "study.json").write_text(study.model_dump_json())
    seconds = []
    for _ in range(repetitions):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "rdstudy", "status", folder], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    print(
        f"rdstudy status, {study.n_cells:,} cells: {min(seconds):.2f} - {np.median(seconds):.2f} - {max(seconds):.2f} s"
    )


def import_speed(repetitions: int = 5) -> None:
    """What a fresh interpreter takes for the analysis, and for the libraries it stands on."""
    programs: dict[str, list[float]] = {
        "import rdstudy.analysis, rdstudy.report.figures, rdstudy.report": [],
        "import pandas, matplotlib.figure": [],
    }
    for _ in range(repetitions):
        for program, seconds in programs.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", program], check=True)
            seconds.append(time.perf_counter() - start)
    for program, seconds in programs.items():
        print(f"{program}: {min(seconds):.2f} - {np.median(seconds):.2f} - {max(seconds):.2f} s")


def main() -> None:
    if len(sys.argv) > 2:
        read_and_report(Path(sys.argv[2]))
        return
    import_speed()
    cells = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    settings = large_study(cells)
    table = study_table(settings, seeds=SEEDS, steps=STEPS)
    print(f"{table['cell_id'].nunique():,} cells, {len(table):,} rows, {len(settings)} settings", flush=True)
    for models_per_pack in PACKS:
        with tempfile.TemporaryDirectory() as folder:
            write_parts(Path(folder), table, models_per_pack)
            sys.stdout.flush()
            status_speed(Path(folder))
            sys.stdout.flush()
            subprocess.run([sys.executable, "-m", "tests.benchmarks.report_speed", "-", folder], check=True)


if __name__ == "__main__":
    main()

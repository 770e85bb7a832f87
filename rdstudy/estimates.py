"""What a study will cost: seconds and bytes, roughly, before anything is trained."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence

import numpy as np

from rdstudy.packs import Pack, flop
from rdstudy.shapes import model_shape
from rdstudy.store.location import Location
from rdstudy.study import Cell, Study

EFFICIENCY = 0.45
"""Share of the matrix-product rate that training reaches on one core (measured: 0.4-0.5 at width 512)."""
FLOP_PER_PAIR, FLOP_PER_PIXEL = 150.0, 180.0
"""What a pair of examples costs in the mutual information, and a pixel in a draw of the NLL, in operations that a
matrix product would do in that time (measured)."""
BYTES_PER_ROW, BYTES_PER_SHEET_PIXEL = 250, 0.3
"""Of the table and of a compressed sheet (measured on Tetrominoes and MNIST)."""


def evaluation_flop(cell: Cell, study: Study, pixels: int, n_test: int) -> float:
    """Arithmetic of a cell's evaluations: forward passes over both populations, and the estimates asked for."""
    evaluation, shape = study.evaluation, model_shape(cell, pixels)
    forward = shape.flop_per_example() / 3
    total = 0.0
    for step in evaluation.steps_of(cell.steps):
        for n in (cell.train_size, n_test):
            total += forward * n
            if evaluation.includes("information", step, cell.steps):
                m = _at_most(evaluation.information.examples, n)
                total += FLOP_PER_PAIR * m * m * evaluation.information.draws
            if evaluation.includes("likelihood", step, cell.steps):
                draws = _at_most(evaluation.likelihood.examples, n) * evaluation.likelihood.importance_samples
                total += (forward / 2 + FLOP_PER_PIXEL * pixels) * draws
    return total


def _at_most(examples: str | int, n: int) -> int:
    return n if isinstance(examples, str) else min(examples, n)


def product_rate(seconds: float = 0.3) -> float:
    """Floating-point operations per second of one process's float32 matrix products, on all of its threads."""
    a = np.ones((512, 1024), dtype=np.float32)
    b = np.ones((1024, 1024), dtype=np.float32)
    a @ b
    n, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        a @ b
        n += 1
    return n * 2 * a.size * b.shape[1] / (time.perf_counter() - started)


def measured_rate(results: Location, cells: dict[str, Cell], study: Study, pixels: int) -> float | None:
    """Operations per second and pack that finished cells of this study took; None where there are none."""
    from rdstudy.store.table import load_measurements

    if not (results / "measurements").is_dir():
        return None
    columns = ["cell_id", "pack_id", "seconds", "is_final", "status", "n_examples", "population"]
    table = load_measurements(results, columns=columns)
    table = table[table["pack_id"].notna()]  # not what was only measured again
    table = table[table["is_final"] & (table["status"] == "ok") & table["cell_id"].isin(cells.keys())]
    if table.empty:
        return None
    work = 0.0
    for cell_id, n_test in table[table["population"] == "test"][["cell_id", "n_examples"]].itertuples(index=False):
        cell = cells[cell_id]
        work += flop(cell, pixels) + evaluation_flop(cell, study, pixels, int(n_test))
    return work / float(table.groupby("pack_id")["seconds"].max().sum())


def pack_seconds(pack: Pack, study: Study, pixels: int, n_test: int, rate: float) -> float:
    """Seconds to train and measure a pack at a rate in operations per second."""
    return sum(flop(c, pixels) + evaluation_flop(c, study, pixels, n_test) for c in pack.cells) / rate


def evaluation_share(packs: Sequence[Pack], study: Study, pixels: int, n_test: int) -> float:
    """Share of the work that is measuring, not training."""
    cells = [cell for pack in packs for cell in pack.cells]
    measuring = sum(evaluation_flop(cell, study, pixels, n_test) for cell in cells)
    return measuring / (measuring + sum(flop(cell, pixels) for cell in cells))


def makespan(seconds: Sequence[float], workers: int) -> float:
    """Time until all packs are done, each taken by the next free worker."""
    free = [0.0] * max(1, workers)
    for each in seconds:
        free.sort()
        free[0] += each
    return max(free)


def storage(cells: Iterable[Cell], study: Study, pixels: int) -> float:
    """Bytes that the results of these cells take."""
    total = 0.0
    for cell in cells:
        rows = 2 * len(study.evaluation.steps_of(cell.steps))
        total += rows * BYTES_PER_ROW + 5 * study.evaluation.sheet_examples * pixels * BYTES_PER_SHEET_PIXEL
        if study.resources.keep_models:
            total += 4 * model_shape(cell, pixels).n_parameters
    return float(math.ceil(total))

"""What a study will cost: seconds and bytes, roughly, before anything is trained."""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_info

from rdstudy.errors import UserError
from rdstudy.models.shape import ModelShape, model_shape
from rdstudy.storage.paths import StoragePath
from rdstudy.study import Cell, Study
from rdstudy.training.packs import Pack, flop

EFFICIENCY = {"cpu": 0.45, "cuda": 0.4}
"""Share of the float32 matrix-product rate that training reaches (measured at width 512: 0.4-0.5 on one core, 0.38-0.45
on an H100)."""
STEP_SECONDS = {"cpu": 0.0, "cuda": 2.5e-4}
"""What a step takes however little it has to do: the latency of a GPU's kernels (on an H100 1.8e-4 to 4e-4)."""
MEASURING = {"cpu": 1.0, "cuda": 3.0}
"""How much slower measuring is than its arithmetic (2.8 on an H100: models are measured one by one)."""
FLOP_PER_PAIR, FLOP_PER_PIXEL = 150.0, 180.0
"""What a pair of examples costs in the mutual information, and a pixel in a draw of the NLL, in operations that a
matrix product would do in that time (measured)."""
BYTES_PER_ROW, BYTES_PER_SHEET_PIXEL = 250, 0.3
"""Of the table and of a compressed sheet (measured on Tetrominoes and MNIST)."""


class Costs:
    """Arithmetic and bytes of the cells of one study. Cells that differ in beta, split or seed cost the same."""

    def __init__(self, study: Study, pixels: int, n_test: int, device: str = "cpu") -> None:
        """
        Args:
            study: says what is measured and kept.
            pixels: numbers per image.
            n_test: test examples.
            device: cpu or cuda.
        """
        self.study, self.pixels, self.n_test, self.device = study, pixels, n_test, device
        self._evaluation: dict[tuple[ModelShape, int, int], float] = {}

    def training(self, cell: Cell) -> float:
        """Floating-point operations of the matrix products of a cell's training."""
        return flop(cell, self.pixels)

    def evaluation(self, cell: Cell) -> float:
        """The same of its evaluations: forward passes over both populations, and the estimates asked for."""
        shape = model_shape(cell, self.pixels)
        key = (shape, cell.steps, cell.train_size)
        if key not in self._evaluation:
            self._evaluation[key] = self._evaluation_of(*key)
        return self._evaluation[key]

    def _evaluation_of(self, shape: ModelShape, final: int, train_size: int) -> float:
        asked, forward, total = self.study.evaluation, shape.flop_per_example / 3, 0.0
        for step in asked.steps_of(final):
            for n in (train_size, self.n_test):
                total += forward * n
                if asked.includes("mutual_information", step, final):
                    m = _at_most(asked.mutual_information.examples, n)
                    total += FLOP_PER_PAIR * m * m * asked.mutual_information.draws
                if asked.includes("nll", step, final):
                    draws = _at_most(asked.nll.examples, n) * asked.nll.importance_samples
                    total += (forward / 2 + FLOP_PER_PIXEL * self.pixels) * draws
        return total * MEASURING[self.device]

    def pack(self, pack: Pack) -> float:
        """The same of all that a pack does."""
        return sum(self.training(cell) + self.evaluation(cell) for cell in pack.cells)

    def evaluation_share(self, packs: Iterable[Pack]) -> float:
        """Share of the work that is measuring, not training."""
        cells = [cell for pack in packs for cell in pack.cells]
        measuring = sum(map(self.evaluation, cells))
        return measuring / (measuring + sum(map(self.training, cells)))

    def storage(self, cells: Collection[Cell]) -> float:
        """Bytes that the results of these cells take."""
        n_rows = {final: 2 * len(self.study.evaluation.steps_of(final)) for final in {cell.steps for cell in cells}}
        sheet = 5 * self.study.evaluation.num_images * self.pixels * BYTES_PER_SHEET_PIXEL
        total = 0.0
        for cell in cells:
            total += n_rows[cell.steps] * BYTES_PER_ROW + sheet
            if self.study.resources.save_models:
                total += 4 * model_shape(cell, self.pixels).n_parameters
        return float(math.ceil(total))


def _at_most(examples: str | int, n: int) -> int:
    return n if isinstance(examples, str) else min(examples, n)


class ProductRate(NamedTuple):
    """What a machine does just now."""

    flops: float
    """Operations per second of float32 matrix products on all cores, or a GPU, beside whatever else is at work."""
    share: float
    """Share of the wall-clock time that a CPU's threads were at work; in the rest, cores had other programs' work."""


def matmul_flops(seconds: float = 0.3) -> ProductRate:
    """How fast this CPU multiplies matrices now; by NumPy, which loads faster than PyTorch."""
    a = np.ones((512, 1024), dtype=np.float32)
    b = np.ones((1024, 1024), dtype=np.float32)
    a @ b
    n, started, used = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - started < seconds:
        a @ b
        n += 1
    wall, used = time.perf_counter() - started, time.process_time() - used
    pools = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    return ProductRate(n * 2 * a.size * b.shape[1] / wall, min(1.0, used / (wall * max(pools, default=1))))


def gpus_here() -> int:
    """CUDA devices of this machine; PyTorch, which takes seconds to load, is asked only where there is a driver."""
    if not Path("/dev/nvidiactl").exists():
        return 0
    import torch

    return torch.cuda.device_count()


def gpu_rate() -> ProductRate:
    """How fast a CUDA device of this machine multiplies matrices.

    Raises:
        UserError: it has no memory left for that.
    """
    import torch

    from rdstudy.training import throughput

    try:
        return ProductRate(throughput.matmul_flops(torch.device("cuda")), 1.0)
    except torch.OutOfMemoryError as error:
        raise UserError(
            "the GPU's memory is in use, so its speed cannot be seen: plan when it is free, or for this machine's CPU "
            "with --set resources.device=cpu"
        ) from error


def measured_rate(results: StoragePath, costs: Costs, cells: Mapping[str, Cell]) -> float | None:
    """Operations per second and pack that finished cells of the study took; None where there are none."""
    from rdstudy.storage.table import load_measurements

    if not (results / "measurements").is_dir():
        return None
    columns = ["cell_id", "pack_id", "seconds", "is_final", "status"]
    table = load_measurements(results, columns=columns)
    table = table[table["pack_id"].notna()]  # not what was only measured again
    table = table[table["is_final"] & (table["status"] == "ok") & table["cell_id"].isin(cells)]
    if table.empty:
        return None
    measured = [cells[cell_id] for cell_id in table["cell_id"].unique()]
    work = sum(costs.training(cell) + costs.evaluation(cell) for cell in measured)
    return work / float(table.groupby("pack_id")["seconds"].max().sum())


def makespan(seconds: Sequence[float], workers: int) -> float:
    """Time until all packs are done, each taken by the next free worker."""
    free = [0.0] * max(1, workers)
    for each in seconds:
        heapq.heapreplace(free, free[0] + each)
    return max(free)

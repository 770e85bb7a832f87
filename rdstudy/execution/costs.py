"""Estimates of what cells cost: arithmetic of training and evaluation, and bytes of results."""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Iterable, Sequence

from rdstudy.models.shape import ModelShape, model_shape
from rdstudy.study import Cell, Study
from rdstudy.training.packs import Pack, flop

EFFICIENCY = {"cpu": 0.45, "cuda": 0.4}
"""Training FLOP/s over float32 matrix-product FLOP/s (measured at width 512: 0.4-0.5 on one core, 0.38-0.45 on an
H100)."""
STEP_SECONDS = {"cpu": 0.0, "cuda": 2.5e-4}
"""Least time per training step: the launch latency of a GPU's kernels (on an H100 1.8e-4 to 4e-4)."""
EVALUATION_FACTOR = {"cpu": 1.0, "cuda": 3.0}
"""Time of evaluation over the time its arithmetic would take in training (2.8 on an H100, which measures models one by
one)."""
BYTES_PER_ROW, BYTES_PER_IMAGE_PIXEL = 340, 0.3
"""Of the table with 10 latent dimensions, and of a cell's compressed images (measured on Tetrominoes and MNIST)."""


class Costs:
    """Cost of the cells of one study, in floating-point operations and bytes.

    Cells that differ only in beta, split or seed cost the same.
    """

    def __init__(self, study: Study, pixels: int, n_test: int, device: str = "cpu") -> None:
        """
        Args:
            study: says what is measured and stored.
            pixels: numbers per image.
            n_test: test examples.
            device: `cpu` or `cuda`, where the cells train.
        """
        self.study, self.pixels, self.n_test, self.device = study, pixels, n_test, device
        self._evaluation: dict[tuple[ModelShape, int, int], float] = {}

    def training(self, cell: Cell) -> float:
        """Floating-point operations of a cell's training (matrix products only)."""
        return flop(cell, self.pixels)

    def evaluation(self, cell: Cell) -> float:
        """Floating-point operations of a cell's evaluations: forward passes and estimates."""
        shape = model_shape(cell, self.pixels)
        key = (shape, cell.steps, cell.train_size)
        if key not in self._evaluation:
            self._evaluation[key] = self._evaluation_of(*key)
        return self._evaluation[key]

    def _evaluation_of(self, shape: ModelShape, final: int, train_size: int) -> float:
        asked, forward, total = self.study.evaluation, shape.flop_per_example / 3, 0.0
        for step in asked.steps_of(final):
            for n in (train_size, self.n_test, self.study.dataset.validation_size):
                total += forward * n
                for measure in asked.measures.values():
                    if measure.is_due(step, final):
                        total += measure.cost(n, forward / 2, self.pixels)
        return total * EVALUATION_FACTOR[self.device]

    def pack(self, pack: Pack) -> float:
        """Floating-point operations of a pack's training and evaluations."""
        return sum(self.training(cell) + self.evaluation(cell) for cell in pack.cells)

    def evaluation_share(self, packs: Iterable[Pack]) -> float:
        """Share of the operations that is evaluation."""
        cells = [cell for pack in packs for cell in pack.cells]
        measuring = sum(map(self.evaluation, cells))
        return measuring / (measuring + sum(map(self.training, cells)))

    def storage(self, cells: Collection[Cell]) -> float:
        """Bytes of the results of these cells."""
        populations = 3 if self.study.dataset.validation_size else 2
        budgets = {cell.steps for cell in cells}
        n_rows = {final: populations * len(self.study.evaluation.steps_of(final)) for final in budgets}
        images = 5 * self.study.evaluation.num_images * self.pixels * BYTES_PER_IMAGE_PIXEL
        total = 0.0
        for cell in cells:
            total += n_rows[cell.steps] * BYTES_PER_ROW + images
            if self.study.resources.save_models:
                total += 4 * model_shape(cell, self.pixels).n_parameters
        return float(math.ceil(total))


def makespan(seconds: Sequence[float], workers: int) -> float:
    """Time until all packs are done, in seconds.

    Args:
        seconds: of each pack, in the order in which free workers take them.
        workers: packs that train side by side.
    """
    free = [0.0] * max(1, workers)
    for each in seconds:
        heapq.heapreplace(free, free[0] + each)
    return max(free)

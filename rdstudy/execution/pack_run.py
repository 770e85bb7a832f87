"""One pack from its last checkpoint to its staged rows.

restore or start -> train -> measure at the study's steps -> models and images -> staged rows
                      ^  `-> cells above their limit: staged as stopped, left out from then on
                      `----- checkpoint, as often as the study asks
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from rdstudy.evaluation.evaluate import sheet
from rdstudy.execution.evaluator import Evaluator
from rdstudy.execution.inputs import as_tensor, populations_of
from rdstudy.execution.interrupts import deferred_interrupts
from rdstudy.execution.protocols import PackProgress, RunContext
from rdstudy.execution.provenance import provenance
from rdstudy.execution.pruner import Pruner
from rdstudy.storage.checkpoints import AsyncCheckpointer, Checkpoint
from rdstudy.storage.files import StorageError
from rdstudy.storage.images import save_images
from rdstudy.storage.schema import DIVERGED, TEST, TRAIN, Measurement
from rdstudy.storage.table import stage, stage_stopped
from rdstudy.storage.weights import save_model
from rdstudy.study import Cell
from rdstudy.training.batches import CHUNK
from rdstudy.training.packs import Pack, flop
from rdstudy.training.throughput import matmul_flops
from rdstudy.training.trainer import PackTrainer

_log = logging.getLogger(__name__)


class PackRun:
    """Trains and measures one pack.

    Attributes:
        cells: members that were not stopped early.
        rows: what was measured of them so far.
        finished: whether its rows are staged, after which no checkpoint is needed.
        seconds: time spent on the pack, over all its runs.
    """

    def __init__(self, pack: Pack, context: RunContext, checkpointer: AsyncCheckpointer) -> None:
        """Resume from the newest checkpoint that holds the pack's cells, or start anew.

        Args:
            pack: cells that train together.
            context: study, data, results folder and device.
            checkpointer: writes checkpoints while training continues.
        """
        self.pack, self.context, self.checkpointer = pack, context, checkpointer
        self.cells = pack.cells
        self.dataset = context.data.of(pack.cells[0].data_seed)
        self.images = as_tensor(self.dataset.images).to(context.device)
        populations = populations_of(self.dataset, pack.cells)
        self.populations = {cell.id: own for cell, own in zip(pack.cells, populations, strict=True)}
        self.trainer = PackTrainer(pack.cells, self.images, [own[TRAIN] for own in populations])
        self.evaluator = Evaluator(context.study, self.images, self.provenance)
        self.pruner = Pruner(context.study, pack.limits)
        self.rows: list[Measurement] = []
        self.finished = False
        self._seconds_before = 0.0
        self._restore()
        self.start_step = self.trainer.step
        self._matmul_flops = matmul_flops(context.device, self.trainer.stack.product_dtype)
        self._trained_flop, self._trained_seconds = 0.0, 0.0
        self._started = self._saved = time.monotonic()
        self._provenance = {
            **provenance(context.device, context.commit),
            "data_fingerprint": self.dataset.short_fingerprint,
            "pack_id": pack.id,
            "pack_size": len(pack),
        }

    def __iter__(self) -> Iterator[PackProgress]:
        """Work through the pack; a report after every chunk of steps and every measured cell.

        Raises:
            StorageError: the results folder cannot be written.
        """
        yield from self.stop_early()
        for target in self.context.study.evaluation.steps_of(self.pack.steps):
            if target < self.trainer.step:
                continue
            if not self.cells:
                return  # all were stopped early
            while self.trainer.step < target:
                self.train(min(target, (self.trainer.step // CHUNK + 1) * CHUNK))
                yield self.progress()
            for _ in self.measure():
                yield self.progress()
            yield from self.stop_early()
        yield self.finish()

    @property
    def seconds(self) -> float:
        """Training time of the pack, over all interruptions."""
        return self._seconds_before + time.monotonic() - self._started

    def provenance(self) -> dict[str, object]:
        """Provenance columns of a row made now."""
        return {**self._provenance, "seconds": self.seconds}

    def progress(self, cells: tuple[Cell, ...] | None = None, *, staged: str | None = None) -> PackProgress:
        """A report about the pack, or about `cells` that were stopped early."""
        values = [row.value("distortion_nats") for row in self.rows if row.population == TEST]
        test = [value for value in values if value is not None]
        return PackProgress(
            step=self.trainer.step,
            steps=self.pack.steps,
            cells=tuple(cell.id for cell in (self.cells if cells is None else cells)),
            seconds=self.seconds,
            test_distortion_nats=float(np.median(test[-len(self.cells) :])) if test else None,
            mfu=self._trained_flop / self._trained_seconds / self._matmul_flops if self._trained_seconds else None,
            staged=staged,
            stopped=cells is not None,
            start_step=self.start_step,
        )

    def train(self, until: int) -> None:
        """Train to step `until`, and save a checkpoint if one is due."""
        started, first = time.monotonic(), self.trainer.step
        with deferred_interrupts():  # within a step there is nothing that could be saved
            self.trainer.advance(until)
        self._trained_seconds += time.monotonic() - started
        flop_per_step = sum(flop(cell, self.images.shape[1]) for cell in self.cells) / self.pack.steps
        self._trained_flop += (self.trainer.step - first) * flop_per_step
        self.save_if_due()

    def measure(self) -> Iterator[None]:
        """Measure cell after cell, without those that were measured at this step before an interruption."""
        step = self.trainer.step
        measured = {row.cell_id for row in self.rows if row.step == step}
        for k, cell in enumerate(self.cells):
            if cell.id in measured:
                continue
            if k in self.trainer.diverged:
                self.rows += self.evaluator.diverged_rows(cell, self.trainer.diverged[k], step)
            else:
                self.rows += self.evaluator.rows(self.trainer.model(k), cell, self.populations[cell.id], step)
            self.save_if_due()
            yield

    def stop_early(self) -> Iterator[PackProgress]:
        """Stage the rows of cells above their limit, continue without them, and save that in a checkpoint."""
        found = [(k, self.pruner.stopped_rows(cell, self.rows, self.provenance())) for k, cell in enumerate(self.cells)]
        stopped = {k: rows for k, rows in found if rows}
        if not stopped:
            return
        staged = {self.cells[k]: stage_stopped(self.context.results, rows) for k, rows in stopped.items()}
        with deferred_interrupts():
            self.cells = tuple(cell for cell in self.cells if cell not in staged)
            members = {cell.id for cell in self.cells}
            self.rows = [row for row in self.rows if row.cell_id in members]
            if self.cells:
                self.trainer = self.trainer.without(stopped)
                self.save()
        self.checkpointer.wait()
        for cell, path in staged.items():
            yield self.progress((cell,), staged=path.name)

    def save_if_due(self) -> None:
        """Save a checkpoint every `resources.checkpoint_seconds`, or as often as the storage can write one."""
        due = time.monotonic() - self._saved > self.context.study.resources.checkpoint_seconds
        if due and not self.checkpointer.writing:
            self.save()

    def save_on_notice(self) -> None:
        """Save what was done since the start, because this process is about to end; does nothing after `finish`."""
        if self.finished or not self.cells or (self.trainer.step == self.start_step and not self.rows):
            return
        try:
            self.save()
            self.checkpointer.wait()
        except StorageError as error:
            _log.warning("pack %s could not be saved, and resumes from its older checkpoint: %s", self.pack.id, error)

    def save(self) -> None:
        """Copy the state and have it written while training continues."""
        tensors, record = self.trainer.state()
        record["seconds"] = self.seconds
        self.checkpointer.save(self.pack.id, Checkpoint(tensors, record, tuple(self.rows)))
        self._saved = time.monotonic()

    def finish(self) -> PackProgress:
        """Write models and images, then stage the rows: in this order, so that a row's model exists."""
        self.checkpointer.wait()
        study, results = self.context.study, self.context.results
        diverged = {row.cell_id for row in self.rows if row.status == DIVERGED}
        checksums: dict[str, str] = {}
        for k, cell in enumerate(self.cells):
            if cell.id in diverged:
                continue
            model = self.trainer.model(k)
            if study.resources.save_models:
                checksums[cell.id] = save_model(results, cell.id, model)
            if n := study.evaluation.num_images:
                own = self.populations[cell.id]
                images = sheet(model, self.images, own[TRAIN], own[TEST], n=n, stream_id=cell.stream_id)
                save_images(results, cell.id, images, self.dataset.shape)
        rows = [
            replace(row, weights_sha256=checksums[row.cell_id]) if row.is_final and row.cell_id in checksums else row
            for row in self.rows
        ]
        staged = stage(results, self.pack.id, rows)
        self.finished = True
        return self.progress(staged=staged.name)

    def _restore(self) -> None:
        """Load the newest checkpoint that is still of use."""
        checkpoints = self.checkpointer.checkpoints
        saved = checkpoints.load(self.pack.id, [cell.id for cell in self.pack.cells], elsewhere=self.pack.resumed)
        if saved is None:
            return
        rows = self._rows_of(saved)
        if rows is None:
            checkpoints.remove(self.pack.id)  # else it would count as newer than those of earlier steps to come
            return
        try:
            self.trainer.restore(saved.tensors, saved.record)
        except (ValueError, KeyError, IndexError, TypeError, RuntimeError) as error:
            _log.warning("a checkpoint of pack %s is of another model and is not used: %s", self.pack.id, error)
            checkpoints.remove(self.pack.id)
            populations = [own[TRAIN] for own in self.populations.values()]
            self.trainer = PackTrainer(self.pack.cells, self.images, populations)
            return
        self._seconds_before = saved.record.get("seconds", 0.0)
        self.rows = rows

    def _rows_of(self, saved: Checkpoint) -> list[Measurement] | None:
        """The members' rows of a checkpoint; None if it is past a step that now has to be measured.

        Rows of the checkpoint's own step may exist for some cells only. They are kept if this step is still to be
        measured by the same evaluation.
        """
        evaluation, step = self.context.study.evaluation, saved.record["step"]
        steps, members = evaluation.steps_of(self.pack.steps), {cell.id for cell in self.pack.cells}
        rows = [
            row
            for row in saved.rows
            if row.cell_id in members
            and (row.step < step or (row.step in steps and row.evaluation_id == evaluation.evaluation_id))
        ]
        measured = {(row.cell_id, row.step) for row in rows}
        needed = {(cell_id, earlier) for cell_id in members for earlier in steps if earlier < step}
        return rows if needed <= measured else None

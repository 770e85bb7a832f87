"""One pack, from wherever it stands to its staged rows: training, measurement and storage together.

    checkpoint or start -> train -> measure at the steps asked for -> models, sheets -> staged rows
                              `-> members above their limit: staged as stopped, and left behind

What a Ray trial and an inline run both do; knows no Ray. Progress comes out as it is made, so that whoever runs the
pack can report, stop between two steps, or go on.
"""

from __future__ import annotations

import datetime as dt
import gc
import io
import logging
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from rdstudy.data.dataset import Dataset
from rdstudy.data.splits import Split, split_dataset
from rdstudy.errors import UserError
from rdstudy.evaluation.evaluate import Values, measure, sheet
from rdstudy.execution.provenance import Commit, provenance
from rdstudy.storage.checkpoints import AsyncCheckpointer, Checkpoint, Checkpoints
from rdstudy.storage.files import StorageError, atomic_write
from rdstudy.storage.location import StoragePath
from rdstudy.storage.schema import DIVERGED, FAILED, OK, POPULATIONS, STOPPED, TEST, TRAIN, Measurement
from rdstudy.storage.table import stage, stage_stopped
from rdstudy.storage.weights import save_model
from rdstudy.study import Cell, Study
from rdstudy.study.axes import AXES
from rdstudy.study.early_stopping import Measured, first_above
from rdstudy.training.batches import CHUNK
from rdstudy.training.packs import Pack, flop
from rdstudy.training.throughput import matmul_flops
from rdstudy.training.trainer import PackTrainer

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pack is. At its end `staged` names its rows, or `failure` says why there are none.

    Where one of its cells is `stopped` early, `staged` names the rows of that cell, and the others go on.
    """

    step: int
    steps: int
    cells: tuple[str, ...]
    seconds: float
    test_distortion_nats: float | None = None
    mfu: float | None = None  # arithmetic of training per second, over the device's matrix-product rate
    staged: str | None = None
    failure: str | None = None
    stopped: bool = False
    began_at: int = 0  # the step of the checkpoint from which the pack went on


@dataclass(frozen=True)
class RunContext:
    """Where and for whom a pack is trained; or, with `again`, measured once more from its stored weights."""

    study: Study
    dataset: Dataset
    results: StoragePath
    device: torch.device
    commit: Commit | None = None
    again: bool = False


def pick_device(wanted: str) -> torch.device:
    """The device that `resources.device` means on this machine.

    Raises:
        UserError: it is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return torch.device(next(name for name, is_there in there.items() if is_there))
    if not there[wanted]:
        raise UserError(
            f"resources.device is {wanted}, which this machine does not have; "
            f"it has {', '.join(name for name, is_there in there.items() if is_there)}"
        )
    return torch.device(wanted)


def use_threads(study: Study) -> None:
    """Give PyTorch the threads that the study grants a pack."""
    torch.set_num_threads(study.resources.cpus_per_pack)


def run_pack(pack: Pack, at: RunContext, *, attempts: int | None = None) -> Iterator[Progress]:
    """Train and measure a pack.

    An error is tried again `resources.max_retries` times, from the last checkpoint. After that, and at once where
    memory does not suffice, the pack is halved: what ails one cell ends up with that cell alone, recorded as its
    failure, and its companions finish. What was stopped early is not begun again.

    Raises:
        StorageError: the results folder cannot be written; trying again would not help.
    """
    attempts = at.study.resources.max_retries + 1 if attempts is None else attempts
    for attempt in range(attempts):
        try:
            for progress in _run_pack(pack, at):
                if progress.stopped:
                    pack = pack.without(progress.cells)
                yield progress
            return
        except StorageError:
            raise
        except Exception as error:
            failure = "".join(traceback.format_exception_only(error)).strip()
            out_of_memory = _is_out_of_memory(error)
            details = traceback.format_exc()
        gc.collect()  # what failed refers to itself, and holds memory of the device until it is collected
        if at.device.type == "cuda":
            torch.cuda.empty_cache()
        if out_of_memory:
            break
        _log.warning("pack %s, attempt %d of %d: %s", pack.id, attempt + 1, attempts, details)
    if len(pack) == 1:
        yield Progress(0, pack.steps, (pack.cells[0].id,), 0.0, failure=failure)
        return
    middle = len(pack) // 2
    for half in (pack.cells[:middle], pack.cells[middle:]):
        yield from run_pack(pack.part(half), at, attempts=1)


def _is_out_of_memory(error: BaseException | None) -> bool:
    """Whether memory did not suffice for this, or for what it was raised while handling."""
    if error is None:
        return False
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error)  # PyTorch's CPU allocator, CUDA's driver and cuBLAS raise a plain RuntimeError
    if any(words in text for words in ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")):
        return True
    return _is_out_of_memory(error.__cause__ or error.__context__)


def _run_pack(pack: Pack, at: RunContext) -> Iterator[Progress]:
    with AsyncCheckpointer(Checkpoints(at.results)) as saver:
        run = _PackRun(pack, at, saver)
        yield from run.stop_hopeless()
        for target in at.study.evaluation.steps_of(pack.steps):
            if target < run.training.step:
                continue
            if not run.cells:
                return  # all were stopped early
            while run.training.step < target:
                run.train(min(target, (run.training.step // CHUNK + 1) * CHUNK))
                yield run.progress()
            for _ in run.measure():
                yield run.progress()
            yield from run.stop_hopeless()
        yield run.finish()


class _PackRun:
    """A pack at work: its training, the rows measured so far, and the clock. `cells`: those not stopped early."""

    def __init__(self, pack: Pack, at: RunContext, saver: AsyncCheckpointer) -> None:
        self.pack, self.at, self.saver = pack, at, saver
        self.cells = pack.cells
        self.images = as_tensor(at.dataset.images).to(at.device)
        self.populations = populations_of(at.dataset, pack.cells)
        self.training = PackTrainer(pack.cells, self.images, [p[TRAIN] for p in self.populations])
        self.rows: list[Measurement] = []
        self.before = 0.0
        saved = saver.checkpoints.load(pack.id, [cell.id for cell in pack.cells], elsewhere=pack.begun)
        rows = None if saved is None else self._still_wanted(saved)
        if saved is not None and rows is not None:
            self.training.restore(saved.tensors, saved.record)
            self.before = saved.record["seconds"]
            self.rows = rows
        elif saved is not None:
            saver.checkpoints.remove(pack.id)  # or those to come, of earlier steps, would count as older
        self.began_at = self.training.step
        self.matmul_flops = matmul_flops(at.device, self.training.stack.product_dtype)
        self.trained_flop, self.trained_seconds = 0.0, 0.0
        self.started = self.saved = time.monotonic()
        self.provenance = {
            **provenance(at.device, at.commit),
            "pack_id": pack.id,
            "pack_size": len(pack),
        }

    def _still_wanted(self, saved: Checkpoint) -> list[Measurement] | None:
        """The members' rows of a checkpoint; None where it was made past a step that is now to be measured.

        Those of its own step may be of some cells only, so they count if they are what would be measured now.
        """
        asked, step = self.at.study.evaluation, saved.record["step"]
        steps, members = asked.steps_of(self.pack.steps), {cell.id for cell in self.pack.cells}
        rows = [
            row
            for row in saved.rows
            if row.cell_id in members
            and (row.step < step or (row.step in steps and row.evaluation_id == asked.evaluation_id))
        ]
        measured = {(row.cell_id, row.step) for row in rows}
        passed = {(cell_id, each) for cell_id in members for each in steps if each < step}
        return rows if passed <= measured else None

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self.started

    def progress(self, staged: StoragePath | None = None, stopped: Cell | None = None) -> Progress:
        test = [row.distortion_nats for row in self.rows if row.population == TEST and row.distortion_nats is not None]
        latest = float(np.median(test[-len(self.cells) :])) if test else None
        cells = tuple(cell.id for cell in ([stopped] if stopped else self.cells))
        staged_name = staged.name if staged else None
        share = None
        if self.trained_seconds:
            share = self.trained_flop / self.trained_seconds / self.matmul_flops
        return Progress(
            self.training.step,
            self.pack.steps,
            cells,
            self.seconds,
            latest,
            share,
            staged_name,
            stopped=stopped is not None,
            began_at=self.began_at,
        )

    def train(self, until: int) -> None:
        began, first = time.monotonic(), self.training.step
        self.training.advance(until)
        self.trained_seconds += time.monotonic() - began
        flop_per_step = sum(flop(cell, self.images.shape[1]) for cell in self.cells) / self.pack.steps
        self.trained_flop += (self.training.step - first) * flop_per_step
        self.save_if_due()

    def measure(self) -> Iterator[None]:
        """Measure one cell after the other; those that were measured at this step before an interruption are."""
        measured = {row.cell_id for row in self.rows if row.step == self.training.step}
        for k, (cell, populations) in enumerate(zip(self.cells, self.populations, strict=True)):
            if cell.id in measured:
                continue
            for population in POPULATIONS:
                if k in self.training.diverged:
                    values = Values({}, DIVERGED, self.training.diverged[k])
                else:
                    values = measure(
                        self.training.model(k),
                        self.images,
                        populations[population],
                        self.at.study.evaluation,
                        cell_id=cell.id,
                        step=self.training.step,
                        final=cell.steps,
                        population=population,
                    )
                self.rows.append(self.row(cell, population, values))
            self.save_if_due()
            yield

    def stop_hopeless(self) -> Iterator[Progress]:
        """Stop the members that are above their limit: stage their rows, go on without them, and remember that."""
        hopeless = {k: rows for k, cell in enumerate(self.cells) if (rows := self._rows_if_hopeless(cell))}
        if not hopeless:
            return
        staged = [stage_stopped(self.at.results, rows) for rows in hopeless.values()]
        stopped = [self.cells[k] for k in hopeless]
        self.cells = tuple(cell for cell in self.cells if cell not in stopped)
        self.populations = [each for k, each in enumerate(self.populations) if k not in hopeless]
        members = {cell.id for cell in self.cells}
        self.rows = [row for row in self.rows if row.cell_id in members]
        if self.cells:
            self.training = self.training.without(hopeless)
            self.save()
        self.saver.wait()
        for cell, path in zip(stopped, staged, strict=True):
            yield self.progress(path, stopped=cell)

    def _rows_if_hopeless(self, cell: Cell) -> list[Measurement]:
        """The rows of a member that was above its limit, up to the step at which it was; else none."""
        limits = self.pack.limits.get(cell.id, {})
        mine = [row for row in self.rows if row.cell_id == cell.id]
        course = {
            row.step: Measured(row.distortion_nats, row.elbo_nats)
            for row in mine
            if row.population == TEST and row.status == OK and not row.is_final
        }
        step = first_above(course, limits)
        if step is None:
            return []
        why = limits[step].reason(course[step], step, cell.steps)
        measured = [replace(row, status=STOPPED, message=why) for row in mine if row.step <= step]
        made_by = {**self.provenance, "seconds": self.seconds}
        return [*measured, *rows_without_values(self.at.study, cell, STOPPED, why, made_by)]

    def row(self, cell: Cell, population: str, values: Values) -> Measurement:
        return Measurement(
            **cell_columns(self.at.study, cell),
            step=self.training.step,
            epoch=self.training.step * cell.batch_size / cell.train_size,
            is_final=self.training.step == cell.steps,
            population=population,
            evaluation_id=self.at.study.evaluation.evaluation_id,
            **values.columns,
            status=values.status,
            message=values.message,
            **self.provenance,
            seconds=self.seconds,
            finished_at=dt.datetime.now(dt.UTC),
        )

    def save_if_due(self) -> None:
        """Save as often as the study asks, or as the storage can take it: training does not wait for it."""
        due = time.monotonic() - self.saved > self.at.study.resources.checkpoint_seconds
        if due and not self.saver.at_work:
            self.save()

    def save(self) -> None:
        tensors, record = self.training.state()
        record["seconds"] = self.seconds
        self.saver.save(self.pack.id, Checkpoint(tensors, record, tuple(self.rows)))
        self.saved = time.monotonic()

    def finish(self) -> Progress:
        """Keep the models and sheets, then stage the rows: in that order, so that a row's model is there."""
        self.saver.wait()
        study, dataset = self.at.study, self.at.dataset
        diverged = {row.cell_id for row in self.rows if row.status == DIVERGED}
        for k, (cell, populations) in enumerate(zip(self.cells, self.populations, strict=True)):
            if cell.id in diverged:
                continue
            model = self.training.model(k)
            if study.resources.save_models:
                save_model(self.at.results, cell.id, model)
            n = study.evaluation.num_images
            if n:
                images = sheet(model, self.images, populations[TRAIN], populations[TEST], n=n, cell_id=cell.id)
                save_sheet(self.at.results, cell.id, images, dataset.shape)
        return self.progress(staged=stage(self.at.results, self.pack.id, self.rows))


def cell_columns(study: Study, cell: Cell) -> dict[str, Any]:
    """The columns that say which cell a row is of."""
    axes = {name: getattr(cell, name) for name, axis in AXES.items() if axis.column}
    return {"study": study.name, "cell_id": cell.id, **axes}


def failure_rows(study: Study, cell: Cell, pack: Pack, message: str) -> list[Measurement]:
    """The rows of a cell that could not be trained: values null, the reason in words."""
    return rows_without_values(study, cell, FAILED, message, {"pack_id": pack.id, "pack_size": len(pack)})


def rows_without_values(
    study: Study, cell: Cell, status: str, message: str, made_by: Mapping[str, Any]
) -> list[Measurement]:
    """Final rows of a cell that was not trained to its end, one for each population."""
    return [
        Measurement(
            **cell_columns(study, cell),
            step=cell.steps,
            epoch=cell.steps * cell.batch_size / cell.train_size,
            is_final=True,
            population=population,
            evaluation_id=study.evaluation.evaluation_id,
            status=status,
            message=message,
            **made_by,
            finished_at=dt.datetime.now(dt.UTC),
        )
        for population in POPULATIONS
    ]


def populations_of(dataset: Dataset, cells: Iterable[Cell]) -> list[dict[str, np.ndarray]]:
    """Which images each cell trains on, and which it is tested on; cells of one split share its arrays."""
    splits: dict[tuple[object, ...], Split] = {}
    found = []
    for cell in cells:
        key = (cell.split, cell.dataset_seed, cell.test_size)
        if key not in splits:
            splits[key] = split_dataset(dataset, cell.split, seed=cell.dataset_seed, test_size=cell.test_size)
        found.append({TRAIN: splits[key].training(cell.train_size), TEST: splits[key].test})
    return found


def as_tensor(images: np.ndarray) -> torch.Tensor:
    """A read-only array, mapped from disk or from Ray's object store, as a tensor over the same memory."""
    if images.flags.writeable:
        return torch.from_numpy(images)
    # PyTorch has no read-only tensors and warns of it; nothing here writes to the images.
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(images)


def save_sheet(results: StoragePath, cell_id: str, images: dict[str, np.ndarray], shape: Sequence[int]) -> None:
    """Write a cell's reconstructions and samples, [n, height, width, channels] each."""
    buffer = io.BytesIO()
    shaped = {name: array.reshape(-1, *shape) for name, array in images.items()}
    np.savez_compressed(buffer, allow_pickle=False, **shaped)
    atomic_write(results / "sheets" / f"{cell_id}.npz", lambda file: file.write(buffer.getvalue()))

"""What a worker does with a pack, in a Ray trial or in this process: run it, try again, halve it. Knows no Ray."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Generator, Iterator

from rdstudy.execution.device import is_out_of_memory, release_memory
from rdstudy.execution.pack_run import PackRun
from rdstudy.execution.protocols import PackProgress, RunContext
from rdstudy.execution.remeasure_pack import remeasure_pack
from rdstudy.storage.checkpoints import AsyncCheckpointer, Checkpoints
from rdstudy.storage.files import StorageError
from rdstudy.training.packs import Pack

_log = logging.getLogger(__name__)


def work(pack: Pack, context: RunContext) -> Iterator[PackProgress]:
    """Train and measure a pack; or, in a remeasuring run, measure its cells' stored weights."""
    return remeasure_pack(pack, context) if context.remeasure else run_pack(pack, context)


def run_pack(pack: Pack, context: RunContext, *, attempts: int | None = None) -> Generator[PackProgress, None, None]:
    """Train and measure one pack, resuming from its last checkpoint, and stage its rows.

    After an error the pack is retried `resources.max_retries` times, from its last checkpoint. If it fails again, or
    runs out of memory, it is split into halves that are run one after the other. So a cell that always fails ends up
    alone and is reported as failed, while the other cells finish. Cells that were stopped early are not run again.

    Args:
        pack: cells that train together.
        context: study, data, results folder and device.
        attempts: how often to try before splitting; None: `resources.max_retries` + 1.

    Raises:
        StorageError: the results folder cannot be written, so another attempt would not help.
    """
    attempts = context.study.resources.max_retries + 1 if attempts is None else attempts
    for attempt in range(attempts):
        try:
            with AsyncCheckpointer(Checkpoints(context.results)) as checkpointer:
                running = PackRun(pack, context, checkpointer)
                try:
                    for progress in running:
                        if progress.stopped:
                            pack = pack.without(progress.cells)
                        yield progress
                except (KeyboardInterrupt, GeneratorExit):  # the process, or the budget, ends
                    running.save_on_notice()
                    raise
            return
        except StorageError:
            raise
        except Exception as error:
            failure = "".join(traceback.format_exception_only(error)).strip()
            out_of_memory = is_out_of_memory(error)
            details = traceback.format_exc()
        release_memory(context.device)
        if out_of_memory:
            break
        _log.warning("pack %s, attempt %d of %d: %s", pack.id, attempt + 1, attempts, details)
    if len(pack) == 1:
        yield PackProgress(0, pack.steps, (pack.cells[0].id,), 0.0, failure=failure)
        return
    middle = len(pack) // 2
    for half in (pack.cells[:middle], pack.cells[middle:]):
        yield from run_pack(pack.part(half), context, attempts=1)

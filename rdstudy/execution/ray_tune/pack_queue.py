"""The queue of packs: which pack trains next, and what happens to one whose process or machine died.

    waiting -> running -> ended
       ^          |
       +----------+  its machine was lost or could not write: retried without limit, from the last checkpoint
       +- halves -+  its process died CRASHES times although the machine is alive: one cell may be the cause

So a cell that always kills its process ends up alone and is recorded as failed, while the other cells finish. Imports
no Ray: `searcher.py` takes packs, and `callback.py` reports what happened to them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from rdstudy.execution.protocols import NextPacks
from rdstudy.training.packs import Pack

CRASHES = 3
"""Process deaths, on machines that stay alive, after which a pack is halved."""
RETRY_SECONDS = 5.0
"""Pause before a pack whose process or machine was lost is retried."""


@dataclass(frozen=True, slots=True)
class Work:
    """A pack in the queue.

    Attributes:
        of: the pack as planned.
        pack: the part of it to be trained.
        crashes: deaths of its process so far.
        not_before: earliest start, on the monotonic clock.
    """

    of: Pack
    pack: Pack
    crashes: int = 0
    not_before: float = 0.0


class PackQueue:
    """The packs of a run.

    Attributes:
        waiting: packs without a worker, in order.
        running: packs in training, by worker.
    """

    def __init__(self, packs: Iterable[Pack], next_packs: NextPacks | None = None) -> None:
        """
        Args:
            packs: the first packs.
            next_packs: called when all packs have ended; no packs means that the search has ended.
        """
        self.waiting = deque(Work(pack, pack) for pack in packs)
        self.running: dict[str, Work] = {}
        self._next_packs = next_packs

    def __bool__(self) -> bool:
        """Whether any pack is waiting or running."""
        self._refill()
        return bool(self.waiting or self.running)

    def waits(self) -> bool:
        """Whether any pack is waiting."""
        self._refill()
        return bool(self.waiting)

    def take(self, worker: str) -> Work | None:
        """Give the next pack to a worker; None if no pack may start now."""
        self._refill()
        now = time.monotonic()
        for index, work in enumerate(self.waiting):
            if work.not_before <= now:
                del self.waiting[index]
                self.running[worker] = work
                return work
        return None

    def ended(self, worker: str) -> None:
        """Record that a worker finished its pack."""
        del self.running[worker]

    def stopped(self, worker: str, cells: Iterable[str]) -> None:
        """Leave cells that were stopped early out of a worker's pack, should it be retried."""
        work = self.running[worker]
        self.running[worker] = replace(work, pack=work.pack.without(cells))

    def lost(self, worker: str) -> None:
        """Queue the pack again of a worker whose machine was lost or cannot be used; without limit."""
        self._requeue(self.running.pop(worker))

    def crashed(self, worker: str, *, out_of_memory: bool = False) -> Work | None:
        """Queue the pack again of a worker whose process died, or its halves after `CRASHES` deaths.

        Returns:
            The work if it is given up: a single cell whose process died `CRASHES` times.
        """
        work = self.running.pop(worker)
        work = replace(work, crashes=work.crashes + 1)
        if len(work.pack) > 1 and (out_of_memory or work.crashes >= CRASHES):
            middle = len(work.pack) // 2
            for half in (work.pack.cells[:middle], work.pack.cells[middle:]):
                self._requeue(Work(work.of, work.pack.part(half)))
        elif len(work.pack) and work.crashes >= CRASHES:
            return work
        else:
            self._requeue(work)
        return None

    def all_lost(self) -> None:
        """Queue the packs of all workers again."""
        for worker in list(self.running):
            self.lost(worker)

    def _refill(self) -> None:
        while self._next_packs is not None and not self.waiting and not self.running:
            packs = self._next_packs()
            if not packs:
                self._next_packs = None
            self.waiting.extend(Work(pack, pack) for pack in packs)

    def _requeue(self, work: Work) -> None:
        if not len(work.pack):
            return  # all cells were stopped early
        # At the front: a pack that starts late would end late.
        self.waiting.appendleft(replace(work, not_before=time.monotonic() + RETRY_SECONDS))

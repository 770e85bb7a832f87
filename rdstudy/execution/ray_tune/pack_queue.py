"""Which pack trains next, and what becomes of one whose process died: all that a run on Ray decides.

    waiting -> running -> ended
       ^          |
       +----------+  its machine went away, or could not write: as often as it takes, from the last checkpoint
       +- halves -+  its process died on a machine that lives, CRASHES times: one cell may be to blame

So a cell that kills its process every time ends up alone and is recorded as failed, and its companions finish.
Knows no Ray: `searcher.py` asks and `callback.py` tells.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from rdstudy.execution.protocols import NextPacks
from rdstudy.training.packs import Pack

CRASHES = 3
"""How often the process of a pack may die, on machines that live, before the pack is halved."""
RETRY_SECONDS = 5.0
"""Waited before a pack whose process or machine was lost starts again."""


@dataclass(frozen=True, slots=True)
class Work:
    """Cells to be trained at once; `of` is the pack as it was planned."""

    of: Pack
    pack: Pack
    crashes: int = 0
    not_before: float = 0.0


class PackQueue:
    """The packs of a run: those that wait, in order, and those at work."""

    def __init__(self, packs: Iterable[Pack], next_packs: NextPacks | None = None) -> None:
        """
        Args:
            packs: what is known from the start.
            next_packs: called when all packs have ended; no packs means that the search has ended.
        """
        self.waiting = deque(Work(pack, pack) for pack in packs)
        self.running: dict[str, Work] = {}
        self._next_packs = next_packs

    def __bool__(self) -> bool:
        """Whether anything is left."""
        self._refill()
        return bool(self.waiting or self.running)

    def waits(self) -> bool:
        """Whether there is a pack that no worker has."""
        self._refill()
        return bool(self.waiting)

    def take(self, worker: str) -> Work | None:
        """The next pack, for a worker of this name; None while there is none to give."""
        self._refill()
        now = time.monotonic()
        for index, work in enumerate(self.waiting):
            if work.not_before <= now:
                del self.waiting[index]
                self.running[worker] = work
                return work
        return None

    def ended(self, worker: str) -> None:
        """A worker came to the end of its pack."""
        del self.running[worker]

    def stopped(self, worker: str, cells: Iterable[str]) -> None:
        """Some cells of a worker's pack were stopped early: if it starts again, it does without them."""
        work = self.running[worker]
        self.running[worker] = replace(work, pack=work.pack.without(cells))

    def lost(self, worker: str) -> None:
        """A worker's machine went away or cannot be used: its pack starts again elsewhere, however often."""
        self._again(self.running.pop(worker))

    def crashed(self, worker: str, *, out_of_memory: bool = False) -> Work | None:
        """A worker's process died; returns its work if that is given up: one cell, which died every time."""
        work = self.running.pop(worker)
        work = replace(work, crashes=work.crashes + 1)
        if len(work.pack) > 1 and (out_of_memory or work.crashes >= CRASHES):
            middle = len(work.pack) // 2
            for half in (work.pack.cells[:middle], work.pack.cells[middle:]):
                self._again(Work(work.of, work.pack.part(half)))
        elif len(work.pack) and work.crashes >= CRASHES:
            return work
        else:
            self._again(work)
        return None

    def all_lost(self) -> None:
        """Every worker is gone."""
        for worker in list(self.running):
            self.lost(worker)

    def _refill(self) -> None:
        while self._next_packs is not None and not self.waiting and not self.running:
            packs = self._next_packs()
            if not packs:
                self._next_packs = None
            self.waiting.extend(Work(pack, pack) for pack in packs)

    def _again(self, work: Work) -> None:
        if not len(work.pack):
            return  # all its cells were stopped early
        # At the front: it has begun, and what begins late ends late.
        self.waiting.appendleft(replace(work, not_before=time.monotonic() + RETRY_SECONDS))

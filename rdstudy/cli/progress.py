"""Counts the model-steps and cells of a run.

The counts of a pack are dropped when all its cells have ended, so memory does not grow with the length of a run. A live
display reads the counts from another thread than the one that updates them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rdstudy.execution.protocols import PackProgress
    from rdstudy.training.packs import Pack


@dataclass(slots=True)
class _Work:
    """One pack: the step of each cell when this run started it, and now."""

    start: dict[str, int] = field(default_factory=dict)
    now: dict[str, int] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)

    @property
    def done(self) -> int:
        """Model-steps made by this run."""
        return sum(self.now.values()) - sum(self.start.values())


class ProgressTracker:
    """Counts what packs report.

    Attributes:
        n_cells: cells of all packs.
        ended: cells that are `finished`, `failed` or `stopped`.
    """

    def __init__(self) -> None:
        self.n_cells = 0
        self.ended: Counter[str] = Counter()
        self._planned = 0  # model-steps of all packs, without those that will never be made
        self._past = self._past_done = 0  # model-steps of ended packs, and those made by this run
        self._sizes: dict[str, int] = {}  # of unfinished packs
        self._active: dict[str, _Work] = {}

    def add(self, packs: Iterable[Pack]) -> None:
        """Count more packs as planned."""
        for pack in packs:
            self._sizes[pack.id] = len(pack)
            self.n_cells += len(pack)
            self._planned += len(pack) * pack.steps

    def update(self, pack: Pack, progress: PackProgress) -> None:
        """Count a report. Repeated reports about cells that have ended change nothing."""
        if pack.id not in self._sizes:
            return
        work = self._active.setdefault(pack.id, _Work())
        cells = [cell for cell in progress.cells if cell not in work.ended]
        if progress.failure is None:
            for cell in cells:
                work.start[cell] = min(work.start.get(cell, progress.start_step), progress.start_step)
                work.now[cell] = progress.step
        how = "failed" if progress.failure else "stopped" if progress.stopped else "finished"
        if progress.staged or progress.failure:
            self.ended[how] += len(cells)
            work.ended.update(cells)
            self._planned -= sum(progress.steps - work.now.get(cell, 0) for cell in cells)
        if len(work.ended) == self._sizes[pack.id]:
            self._past += sum(work.now.values())
            self._past_done += work.done
            del self._active[pack.id], self._sizes[pack.id]

    def is_active(self, pack: Pack) -> bool:
        """Whether the pack has reported and some of its cells have not ended."""
        return pack.id in self._active

    @property
    def done(self) -> int:
        """Model-steps made by this run."""
        return self._past_done + sum(work.done for work in list(self._active.values()))

    @property
    def left(self) -> int:
        """Model-steps left to make."""
        return self._planned - self._past - sum(sum(work.now.values()) for work in list(self._active.values()))

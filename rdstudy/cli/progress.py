"""How far a run is: its model-steps and how its cells ended. Counts; draws nothing.

What is kept of a pack is dropped when all its cells have ended, so a long run's counts stay as small as its workers
are few. A live display reads it from another thread than the one that hears.
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
    """One pack as far as it was heard of: the steps of its cells, when this run began them and now."""

    began: dict[str, int] = field(default_factory=dict)
    now: dict[str, int] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)

    @property
    def done(self) -> int:
        """Model-steps of this run."""
        return sum(self.now.values()) - sum(self.began.values())


class ProgressTracker:
    """Counts what packs report.

    Attributes:
        n_cells: cells of all packs.
        ended: cells that are `finished`, `failed` or `stopped`.
    """

    def __init__(self) -> None:
        self.n_cells = 0
        self.ended: Counter[str] = Counter()
        self._planned = 0  # model-steps of all packs, without those that will not be made
        self._past = self._past_done = 0  # of packs that have ended: model-steps, and those made by this run
        self._sizes: dict[str, int] = {}  # of packs that have not ended
        self._at_work: dict[str, _Work] = {}

    def add(self, packs: Iterable[Pack]) -> None:
        """More packs to come."""
        for pack in packs:
            self._sizes[pack.id] = len(pack)
            self.n_cells += len(pack)
            self._planned += len(pack) * pack.steps

    def hear(self, pack: Pack, progress: PackProgress) -> None:
        """A report. What is said again, of cells that have ended, changes nothing."""
        if pack.id not in self._sizes:
            return
        work = self._at_work.setdefault(pack.id, _Work())
        cells = [cell for cell in progress.cells if cell not in work.ended]
        if progress.failure is None:
            for cell in cells:
                work.began[cell] = min(work.began.get(cell, progress.start_step), progress.start_step)
                work.now[cell] = progress.step
        how = "failed" if progress.failure else "stopped" if progress.stopped else "finished"
        if progress.staged or progress.failure:
            self.ended[how] += len(cells)
            work.ended.update(cells)
            self._planned -= sum(progress.steps - work.now.get(cell, 0) for cell in cells)
        if len(work.ended) == self._sizes[pack.id]:
            self._past += sum(work.now.values())
            self._past_done += work.done
            del self._at_work[pack.id], self._sizes[pack.id]

    def at_work(self, pack: Pack) -> bool:
        """Whether some of the pack's cells have not ended, of which something was heard."""
        return pack.id in self._at_work

    @property
    def done(self) -> int:
        """Model-steps made by this run."""
        return self._past_done + sum(work.done for work in list(self._at_work.values()))

    @property
    def left(self) -> int:
        """Model-steps still to be made."""
        return self._planned - self._past - sum(sum(work.now.values()) for work in list(self._at_work.values()))

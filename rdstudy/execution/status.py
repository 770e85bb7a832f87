"""How far a study is, read from its results folder alone: needs neither torch nor Ray nor the machine that trains."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rdstudy.storage.paths import StoragePath
from rdstudy.storage.table import failed_cells, finished_cells, stopped_cells
from rdstudy.study import Cell, Study

if TYPE_CHECKING:
    from rdstudy.execution.search import Search


@dataclass(frozen=True)
class StudyStatus:
    """Which of a study's cells are finished, which failed last time, and which are to be trained.

    `stopped`: those that the study's own search stopped early. To a grid, and to a search that stops none, they are
    missing. `others`: how many finished cells lie in the folder that are not the study's.
    """

    cells: dict[str, Cell]
    finished: set[str]
    failed: dict[str, str]
    search: Search | None = None
    stopped: dict[str, str] = field(default_factory=dict)
    others: int = 0

    @property
    def missing(self) -> list[Cell]:
        """Cells without final rows, in the grid's order. Failed ones are among them, but a search goes on without."""
        given_up = {**(self.failed if self.search else {}), **self.stopped}
        return [cell for i, cell in self.cells.items() if i not in self.finished and i not in given_up]

    @property
    def total(self) -> str:
        """How many cells there are to be, in words."""
        if self.search is None:
            return f"{len(self.cells)} cells"
        return f"{len(self.cells)} cells so far"


def study_status(study: Study, results: StoragePath) -> StudyStatus:
    """Read from the table alone how far a study is; a search is replayed."""
    folder = results / "measurements"
    search, stopped = None, {}
    cells = study.cells
    if study.search is not None:
        from rdstudy.execution.search import begin, load_outcomes

        search = begin(study, results, record=False)
        outcomes = load_outcomes(results)
        search.advance(outcomes)
        cells = dict(search.cells)
        stopped = {c: m for c, m in stopped_cells(folder).items() if c in cells and search.seen(c, outcomes)}
    every = finished_cells(folder)
    finished = every & cells.keys()
    failed = {c: m for c, m in failed_cells(folder).items() if c in cells and c not in finished}
    return StudyStatus(cells, finished, failed, search, stopped, len(every - finished))

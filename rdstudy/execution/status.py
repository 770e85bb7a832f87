"""How much of a study is done, from its results folder alone: needs neither torch, nor Ray, nor the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rdstudy.storage.cell_states import CellStates, read_cell_states
from rdstudy.storage.paths import StoragePath
from rdstudy.study import Cell, Study

if TYPE_CHECKING:
    from rdstudy.execution.search import Search


@dataclass(frozen=True)
class StudyStatus:
    """Which cells of a study are finished, failed, stopped early or missing.

    Attributes:
        cells: all cells of the study by id; of a search, those asked for so far.
        finished: ids of the cells with final rows, those that diverged among them.
        failed: error messages by cell id.
        search: the study's search, replayed from the table; None for a grid.
        stopped: reasons by cell id of cells that the study's own search stopped early. To a grid, and to a search
            without early stopping, such cells are missing.
        others: finished cells in the folder that are not the study's.
        diverged: messages by cell id of the finished cells that diverged.
    """

    cells: Mapping[str, Cell]
    finished: set[str]
    failed: dict[str, str]
    search: Search | None = None
    stopped: dict[str, str] = field(default_factory=dict)
    others: int = 0
    diverged: dict[str, str] = field(default_factory=dict)

    @property
    def missing(self) -> list[Cell]:
        """Cells to be trained, in the grid's order. A grid trains failed cells again, a search does not."""
        given_up = {**(self.failed if self.search else {}), **self.stopped}
        return [cell for i, cell in self.cells.items() if i not in self.finished and i not in given_up]

    @property
    def total(self) -> str:
        """The number of cells, in words: of a search there may be more."""
        if self.search is None:
            return f"{len(self.cells)} cells"
        return f"{len(self.cells)} cells so far"

    def __str__(self) -> str:
        """The counts in one line."""
        failed = f", {len(self.failed)} failed" if self.failed else ""
        stopped = f", {len(self.stopped)} stopped early" if self.stopped else ""
        return f"{self.total}, {len(self.finished)} finished{stopped}, {len(self.missing)} missing{failed}"

    def __repr__(self) -> str:
        return f"<StudyStatus: {self}>"


def study_status(study: Study, results: StoragePath) -> StudyStatus:
    """Read the table once and compare it with the study's cells; a search is replayed from it.

    Args:
        study: whose cells are looked for.
        results: the results folder, which need not exist.

    Raises:
        StorageError: the table cannot be read.
    """
    search = None
    if study.search is not None:
        from rdstudy.execution.search import begin

        search = begin(study, results, record=False)
    return status_from(study, results, read_cell_states(results / "measurements"), search)


def status_from(study: Study, results: StoragePath, states: CellStates, search: Search | None = None) -> StudyStatus:
    """The status of a study whose table was read before.

    Args:
        study: whose cells are looked for.
        results: the results folder, from which a search reads its outcomes.
        states: how the table's cells ended.
        search: the study's search, which is advanced as far as the table goes.
    """
    cells: Mapping[str, Cell] = study.cells
    stopped: dict[str, str] = {}
    if search is not None:
        from rdstudy.execution.search import load_outcomes

        outcomes = load_outcomes(results)
        search.advance(outcomes)
        cells = dict(search.cells)
        stopped = {i: why for i, why in states.stopped.items() if i in cells and search.seen(i, outcomes)}
    finished = states.finished & cells.keys()
    return StudyStatus(
        cells,
        finished,
        {i: message for i, message in states.failed.items() if i in cells},
        search,
        stopped,
        others=len(states.finished - finished),
        diverged={i: message for i, message in states.diverged.items() if i in cells},
    )

"""Which cells a search asks for next: a function of the study, the cells known at its start, and its own outcomes.

    known cells -> batch 0 -> their outcomes -> batch 1 -> ...

There is no other state. An interrupted search is replayed from the table into fresh samplers: the same seeds and
outcomes give the same batches, and finished cells are not trained again. On another processor the last bits of a
posterior may differ, and so may a batch: the search then continues with the new batch, and the cells it no longer asks
for stay in the table. With early stopping, the search's own limits decide: a fully trained cell counts as stopped if
the limits would have stopped it, and a cell that another search stopped is trained if they would not.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import optuna

from rdstudy.execution.search.beta_search import BetaEstimate, Curve, Point
from rdstudy.execution.search.frontier_search import Frontier
from rdstudy.execution.search.outcome import Outcome
from rdstudy.execution.search.pruning import as_stopped, limits_of
from rdstudy.execution.search.samplers import new_record
from rdstudy.study import Cell, Study
from rdstudy.study.early_stopping import Limits

optuna.logging.set_verbosity(optuna.logging.ERROR)
logging.getLogger("optuna").setLevel(logging.ERROR)


NOT_SETTINGS = ("beta", "seed", "data_seed")
"""Axes along a curve, and those that number its replicates."""


@dataclass(frozen=True)
class Setting:
    """The axes of a cell without the searched ones and the seeds."""

    axes: tuple[tuple[str, object], ...]

    def __str__(self) -> str:
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.axes)


class Search:
    """A search, replayed up to the latest outcomes.

    Attributes:
        cells: known cells and cells asked for so far, by id.
        batches: cells asked for, batch by batch.
        limits: early-stopping limits by cell id.
        ended: why the search has ended; None while it has not.
    """

    def __init__(self, study: Study, known: Mapping[str, tuple[Cell, Outcome]] | None = None) -> None:
        """
        Args:
            study: has a `search` section.
            known: finished cells, by id, that were in the table before the search began.

        Raises:
            UserError: the Optuna storage cannot be reached.
        """
        assert study.search is not None
        self.study, self.spec = study, study.search
        self.known = dict(known or {})
        self.cells: dict[str, Cell] = {cell_id: cell for cell_id, (cell, _) in self.known.items()}
        self.batches: list[tuple[Cell, ...]] = []
        self.limits: dict[str, Limits] = {}
        self.ended: str | None = None
        self.seeker: Curves | Frontier = Frontier(study) if self.spec.goal == "frontier" else Curves(study)
        for cell_id in sorted(self.known):
            self.seeker.add_observation(*self.known[cell_id])

    def advance(self, outcomes: Mapping[str, Outcome]) -> tuple[Cell, ...]:
        """Process every batch whose outcomes are complete.

        Returns:
            The unfinished batch, its finished cells included; empty if the search has ended (see `ended`).
        """
        while self.ended is None:
            if self.batches:
                latest = self.batches[-1]
                seen = {cell: self.seen(cell.id, outcomes) for cell in latest}
                if None in seen.values():
                    return latest
                for cell, outcome in seen.items():
                    assert outcome is not None
                    self.seeker.tell(cell, outcome)
            self._next()
        return ()

    def seen(self, cell_id: str, outcomes: Mapping[str, Outcome]) -> Outcome | None:
        """The outcome of a cell as this search's early stopping would have it; None while it is not known."""
        outcome = outcomes.get(cell_id)
        return None if outcome is None else as_stopped(outcome, self.limits.get(cell_id, {}))

    def _next(self) -> None:
        limit = self.spec.stop_when.cells
        left = self.spec.batch if limit is None else min(self.spec.batch, limit - len(self.cells))
        if left <= 0:
            self.ended = f"search.stop_when.cells: {limit} cells are trained"
            return
        batch = self.seeker.ask(left)
        if not batch:
            self.ended = self.seeker.reached
            return
        self.batches.append(tuple(batch))
        if self.spec.stops_hopeless and isinstance(self.seeker, Curves):
            self.limits |= self.seeker.limits(batch)
        self.cells |= {cell.id: cell for cell in batch}


class Curves:
    """The goals best_beta and saturation: a curve over beta for every setting."""

    reached = ""

    def __init__(self, study: Study) -> None:
        spec = study.search
        assert spec is not None
        self.study, self.spec = study, spec
        axes = [(name, values) for name, values in study.grid.listed().items() if name not in NOT_SETTINGS]
        self.settings = [
            Setting(tuple(zip((name for name, _ in axes), point, strict=True)))
            for point in itertools.product(*(values for _, values in axes))
        ]
        self.curves = {
            setting: Curve(
                spec,
                study.grid.seed,
                study.values_of("data_seed"),
                new_record(spec, f"{study.name}: {setting}", ["minimize"]),
                number,
            )
            for number, setting in enumerate(self.settings)
        }
        self._at: dict[str, tuple[Setting, Point]] = {}
        self._observations: dict[Setting, list[Outcome]] = {setting: [] for setting in self.settings}

    def label(self, setting: Setting) -> str:
        """The axes in which a setting differs from the others, in words."""
        told = [f"{n.replace('_', ' ')} {value}" for n, value in setting.axes if len(getattr(self.study.grid, n)) > 1]
        return ", ".join(told) or "all cells"

    def add_observation(self, cell: Cell, outcome: Outcome) -> None:
        """Add a cell that was in the table before the search began."""
        for setting in self.settings:
            if all(getattr(cell, name) == value for name, value in setting.axes):
                self._tell(setting, Point(cell.beta, cell.seed, cell.data_seed), outcome)

    def ask(self, n: int) -> list[Cell]:
        """The next `n` cells, in turns from the settings whose interval is still too wide."""
        estimates = self.estimates()
        wanted = self.spec.stop_when.interval
        unsure = [
            setting
            for setting in self.settings
            if wanted is None or (known := estimates[setting]) is None or known.high / known.low > wanted
        ]
        if not unsure:
            self.reached = f"search.stop_when.interval: every interval is narrower than a factor of {wanted:g}"
            return []
        cells: list[Cell] = []
        exhausted: set[Setting] = set()
        for setting in itertools.cycle(unsure):
            if len(cells) == n or len(exhausted) == len(unsure):
                break
            point = None if setting in exhausted else self.curves[setting].ask()
            if point is None:
                exhausted.add(setting)
                continue
            cell = self.study.cell(**dict(setting.axes), **asdict(point))
            self._at[cell.id] = (setting, point)
            cells.append(cell)
        if not cells:
            self.reached = "every remaining beta has been trained with every seed of grid.seed"
        return cells

    def tell(self, cell: Cell, outcome: Outcome) -> None:
        """Add the outcome of a cell that was asked for."""
        self._tell(*self._at[cell.id], outcome)

    def _tell(self, setting: Setting, point: Point, outcome: Outcome) -> None:
        self.curves[setting].tell(point, outcome.criterion(self.spec), outcome.judged(self.spec))
        self._observations[setting].append(outcome)

    def limits(self, cells: Sequence[Cell]) -> dict[str, Limits]:
        """Early-stopping limits, by cell id, of cells that were just asked for, from the outcomes so far."""
        of = self.spec.metric
        return {cell.id: limits_of(self._observations[self._at[cell.id][0]], of, steps=cell.steps) for cell in cells}

    def estimates(self) -> dict[Setting, BetaEstimate | None]:
        """The estimate of each setting's beta."""
        return {setting: curve.estimate() for setting, curve in self.curves.items()}

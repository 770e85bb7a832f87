"""Which cells a search wants next: a function of the study, what was known when it began, and what its cells gave.

    known cells -> batch 0 -> their outcomes -> batch 1 -> ...

Nothing else is remembered. An interrupted search is replayed from the table into fresh samplers: the same seeds and
outcomes give the same batches, of which those that are finished cost no training. On another processor the last bits of
a posterior may differ, and then a batch: such a search goes on from there, and cells that it no longer asks for stay in
the table. Where cells are stopped early, the search's own limits say which: a cell that is in the table in full counts
as stopped if they would have stopped it, and one that others stopped is asked for if they would not.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True)
class Setting:
    """Everything that determines a cell but what is varied and the seed."""

    axes: tuple[tuple[str, Any], ...]

    def __str__(self) -> str:
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.axes)


class Search:
    """A search as far as the outcomes that it has been shown go."""

    def __init__(self, study: Study, known: Mapping[str, tuple[Cell, Outcome]] | None = None) -> None:
        """
        Args:
            study: has a `search` section.
            known: cells, by id, that were in the table before the search began.

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
            self.seeker.know(*self.known[cell_id])

    def advance(self, outcomes: Mapping[str, Outcome]) -> tuple[Cell, ...]:
        """Take in every batch whose outcomes are all there.

        Returns:
            The batch that is not finished, with its finished cells; empty when the search has ended (see `ended`).
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
        """What a cell that was asked for gave, as far as this search would have trained it; None while that is open."""
        outcome = outcomes.get(cell_id)
        return None if outcome is None else as_stopped(outcome, self.limits.get(cell_id, {}))

    def _next(self) -> None:
        limit = self.spec.stop_when.cells
        left = self.spec.batch if limit is None else min(self.spec.batch, limit - len(self.cells))
        if left <= 0:
            self.ended = f"until.cells: {limit} cells are trained"
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
    """best_beta and saturation: a curve over beta for every setting."""

    reached = ""

    def __init__(self, study: Study) -> None:
        spec = study.search
        assert spec is not None
        self.study, self.spec = study, spec
        axes = [(name, values) for name, values in study.grid.listed().items() if name not in ("beta", "seed")]
        self.settings = [
            Setting(tuple(zip((name for name, _ in axes), point, strict=True)))
            for point in itertools.product(*(values for _, values in axes))
        ]
        self.curves = {
            setting: Curve(spec, study.grid.seed, new_record(spec, f"{study.name}: {setting}", ["minimize"]), number)
            for number, setting in enumerate(self.settings)
        }
        self._at: dict[str, tuple[Setting, Point]] = {}
        self._told: dict[Setting, list[Outcome]] = {setting: [] for setting in self.settings}

    def label(self, setting: Setting) -> str:
        """What tells a setting from the others, in words."""
        told = [f"{n.replace('_', ' ')} {value}" for n, value in setting.axes if len(getattr(self.study.grid, n)) > 1]
        return ", ".join(told) or "the only one"

    def know(self, cell: Cell, outcome: Outcome) -> None:
        """Learn of a cell that was there before."""
        for setting in self.settings:
            if all(getattr(cell, name) == value for name, value in setting.axes):
                self.curves[setting].tell(Point(cell.beta, cell.seed), outcome.criterion(self.spec))
                self._told[setting].append(outcome)

    def ask(self, n: int) -> list[Cell]:
        """Points shared out among the settings that are not known well enough yet, in turns."""
        estimates = self.estimates()
        wanted = self.spec.stop_when.interval
        unsure = [
            setting
            for setting in self.settings
            if wanted is None or (known := estimates[setting]) is None or known.high / known.low > wanted
        ]
        if not unsure:
            self.reached = f"until.interval: every interval is narrower than a factor of {wanted:g}"
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
            cell = self.study.cell(**dict(setting.axes), beta=point.beta, seed=point.seed)
            self._at[cell.id] = (setting, point)
            cells.append(cell)
        if not cells:
            self.reached = "every beta that is left has been trained with every seed of grid.seed"
        return cells

    def tell(self, cell: Cell, outcome: Outcome) -> None:
        """Learn what a cell of a batch gave."""
        setting, point = self._at[cell.id]
        self.curves[setting].tell(point, outcome.criterion(self.spec))
        self._told[setting].append(outcome)

    def limits(self, cells: Sequence[Cell]) -> dict[str, Limits]:
        """By cell id, the limits of cells that were just asked for, by what has been told so far."""
        of = self.spec.metric
        return {cell.id: limits_of(self._told[self._at[cell.id][0]], of, steps=cell.steps) for cell in cells}

    def estimates(self) -> dict[Setting, BetaEstimate | None]:
        """Where each setting's beta lies."""
        return {setting: curve.estimate() for setting, curve in self.curves.items()}

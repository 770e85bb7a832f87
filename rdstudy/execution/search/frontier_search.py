"""The lower frontier of test rate and test distortion, by Optuna's samplers for two objectives."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial, TrialState

from rdstudy.analysis.hull import hypervolume
from rdstudy.execution.search.beta_search import rounded
from rdstudy.execution.search.outcome import Outcome
from rdstudy.execution.search.samplers import new_record, sampler
from rdstudy.study import Cell, Study
from rdstudy.study.search_section import SEARCHABLE, Range

MAX_TRIES = 20
"""Proposals of cells that there are already, in a row, after which a search has nothing new to ask."""


class Frontier:
    """Asks for cells anywhere in the space of the axes to vary; is told rate and distortion."""

    def __init__(self, study: Study) -> None:
        spec = study.search
        assert spec is not None
        assert spec.space is not None
        self.study, self.spec = study, spec
        self.record = new_record(spec, f"{study.name}: frontier", ["minimize", "minimize"])
        self.record.sampler = sampler(spec, None, seed=spec.seed)
        self.space = {name: _distribution(name, axis) for name, axis in spec.space.items()}
        self.fixed = {name: values[0] for name, values in study.grid if name not in (*spec.space, "seed")}
        self.seeds = list(study.grid.seed)
        self.reached = ""
        self.told: list[tuple[Cell, float, float]] = []
        self._asked: dict[str, Trial | None] = {}

    def know(self, cell: Cell, outcome: Outcome) -> None:
        """Learn of a cell that was there before."""
        self._asked[cell.id] = None
        if outcome.failed or outcome.rate is None or outcome.distortion is None:
            return
        self.told.append((cell, outcome.rate, outcome.distortion))
        params = {name: getattr(cell, name) for name in self.space}
        values = [outcome.rate, outcome.distortion]
        self.record.add_trial(optuna.create_trial(values=values, params=params, distributions=self.space))

    def ask(self, n: int) -> list[Cell]:
        """The next batch of cells that there are not yet."""
        cells: list[Cell] = []
        tries = 0
        while len(cells) < n and tries < MAX_TRIES:
            trial = self.record.ask(self.space)
            cell = self._free({name: _rounded(value) for name, value in trial.params.items()})
            if cell is None:
                self.record.tell(trial, state=TrialState.FAIL)
                tries += 1
                continue
            trial.set_user_attr("seed", cell.seed)
            self._asked[cell.id] = trial
            cells.append(cell)
            tries = 0
        if not cells:
            self.reached = "the sampler proposes nothing that is not trained already"
        return cells

    def tell(self, cell: Cell, outcome: Outcome) -> None:
        """Learn what a cell of a batch gave."""
        trial = self._asked[cell.id]
        assert trial is not None
        if outcome.failed or outcome.rate is None or outcome.distortion is None:
            self.record.tell(trial, state=TrialState.FAIL)
            return
        self.told.append((cell, outcome.rate, outcome.distortion))
        self.record.tell(trial, [outcome.rate, outcome.distortion])

    def progress(self) -> list[float]:
        """Hypervolume, in nats^2 below the worst rate and distortion seen, after each cell."""
        if not self.told:
            return []
        points = np.array([told[1:] for told in self.told], dtype=np.float64)
        worst = (float(points[:, 0].max()), float(points[:, 1].max()))
        return [hypervolume(points[:n, 0], points[:n, 1], worst) for n in range(1, len(points) + 1)]

    def _free(self, point: dict[str, Any]) -> Cell | None:
        for seed in self.seeds:
            cell = self.study.cell(**self.fixed, **point, seed=seed)
            if cell.id not in self._asked:
                return cell
        return None


def _rounded(value: Any) -> Any:
    return rounded(value) if isinstance(value, float) else value


def _distribution(name: str, axis: Range | list[int] | list[float]) -> BaseDistribution:
    if not isinstance(axis, Range):
        return CategoricalDistribution(axis)
    if SEARCHABLE[name] is int:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return FloatDistribution(axis.low, axis.high, log=axis.log)

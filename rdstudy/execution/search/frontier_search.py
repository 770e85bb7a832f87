"""The lower frontier of rate and distortion, by Optuna's samplers for two objectives.

Rate and distortion are of the test set, or of the validation examples where there are some.
"""

from __future__ import annotations

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
"""Consecutive proposals of cells that exist already, after which the search ends."""


class Frontier:
    """The goal frontier: asks for cells in the space of the searched axes, by their rate and distortion."""

    def __init__(self, study: Study) -> None:
        spec = study.search
        assert spec is not None
        assert spec.space is not None
        self.study, self.spec = study, spec
        self.record = new_record(spec, f"{study.name}: frontier", ["minimize", "minimize"])
        self.record.sampler = sampler(spec, None, seed=spec.seed)
        self.space = {name: _distribution(name, axis) for name, axis in spec.space.items()}
        self.fixed = {
            name: values[0]
            for name, values in study.grid.listed().items()
            if name not in (*spec.space, "seed", "data_seed")
        }
        self.replicates = [
            {"seed": seed, "data_seed": other} for seed in study.grid.seed for other in study.values_of("data_seed")
        ]
        self.reached = ""
        self.observations: list[tuple[Cell, float, float]] = []
        self._asked: dict[str, Trial | None] = {}

    def add_observation(self, cell: Cell, outcome: Outcome) -> None:
        """Add a cell that was in the table before the search began."""
        self._asked[cell.id] = None
        if outcome.failed or outcome.rate is None or outcome.distortion is None:
            return
        self.observations.append((cell, outcome.rate, outcome.distortion))
        params = {name: getattr(cell, name) for name in self.space}
        values = [outcome.rate, outcome.distortion]
        self.record.add_trial(optuna.create_trial(values=values, params=params, distributions=self.space))

    def ask(self, n: int) -> list[Cell]:
        """The next batch: up to `n` cells that were not asked for before."""
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
            self.reached = "the sampler proposes only cells that are trained already"
        return cells

    def tell(self, cell: Cell, outcome: Outcome) -> None:
        """Add the outcome of a cell that was asked for."""
        trial = self._asked[cell.id]
        assert trial is not None
        if outcome.failed or outcome.rate is None or outcome.distortion is None:
            self.record.tell(trial, state=TrialState.FAIL)
            return
        self.observations.append((cell, outcome.rate, outcome.distortion))
        self.record.tell(trial, [outcome.rate, outcome.distortion])

    def progress(self) -> list[float]:
        """Hypervolume after each cell, in nats^2, relative to the largest rate and distortion seen."""
        if not self.observations:
            return []
        points = np.array([observation[1:] for observation in self.observations], dtype=np.float64)
        worst = (float(points[:, 0].max()), float(points[:, 1].max()))
        return [hypervolume(points[:n, 0], points[:n, 1], worst) for n in range(1, len(points) + 1)]

    def _free(self, point: dict[str, object]) -> Cell | None:
        for replicate in self.replicates:
            cell = self.study.cell(**self.fixed, **point, **replicate)
            if cell.id not in self._asked:
                return cell
        return None


def _rounded(value: object) -> object:
    return rounded(value) if isinstance(value, float) else value


def _distribution(name: str, axis: Range | list[int] | list[float]) -> BaseDistribution:
    if not isinstance(axis, Range):
        return CategoricalDistribution(axis)
    if SEARCHABLE[name] is int:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return FloatDistribution(axis.low, axis.high, log=axis.log)

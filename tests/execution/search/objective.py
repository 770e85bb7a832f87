"""A made-up objective with the shapes of the published curves and noise between seeds: what searches are tried on."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping

import numpy as np

from rdstudy.execution.search import Outcome, Search
from rdstudy.execution.search.beta_search import BetaEstimate
from rdstudy.execution.search.search import Curves, Setting
from rdstudy.study import Cell, Study, parse_study

NOISE, OFFSET = 0.6, 0.4
"""Nats, of a cell and of all cells of a seed."""
BEST = {1: 0.5, 3: 0.02}
"""The best beta by depth: shallow networks lose below it, deep ones hardly."""

TEXT = """
name: sought
dataset: {name: tetrominoes}
grid: {split: [random], depth: [1, 3], train_size: [1000], seed: {count: 50}}
training: {steps: 500}
search: {goal: best_beta, beta: {low: 0.001, high: 5}, batch: 8, stop_when: {cells: 48}}
"""


def study(*overrides: str) -> Study:
    """A study that searches."""
    return parse_study(TEXT, overrides=list(overrides))


def distortion(cell: Cell) -> float:
    """Test distortion without noise: falls steeply from large betas, then rises, the less the deeper."""
    away = math.log10(cell.beta / BEST[cell.depth])
    rise = {1: 3.0, 3: 1.0}[cell.depth]
    capacity = 4.0 * (512 / cell.width) ** 0.25
    value: float = 70.0 + capacity + (9.0 * away**2 if away > 0 else rise * away**2)
    return value


def rate(cell: Cell) -> float:
    """Test rate: falls with log beta."""
    value: float = 60.0 / (1.0 + cell.beta**0.6 * 3.0) + 0.5 * cell.depth
    return value


def noise(*names: object) -> float:
    """Standard normal, the same for the same names."""
    key = hashlib.blake2b("/".join(map(str, names)).encode(), digest_size=8).digest()
    return float(np.random.default_rng(int.from_bytes(key, "little")).standard_normal())


def trained(cell: Cell, world: int = 0) -> Outcome:
    """What training gives in one of many worlds."""
    disturbed = distortion(cell) + OFFSET * noise(world, cell.seed) + NOISE * noise(world, cell.id)
    share = 1.0 / (1.0 + (cell.beta / 0.3) ** 1.5) + 0.01 * noise(world, cell.id, "share")
    return Outcome(rate=rate(cell), distortion=disturbed, elbo=-disturbed, nll=disturbed, mi_share=share)


def believed(search: Search) -> dict[Setting, BetaEstimate]:
    """What a search for betas believes of every setting."""
    assert isinstance(search.seeker, Curves)
    return {setting: found for setting, found in search.seeker.estimates().items() if found is not None}


def play(
    search: Search, give: Callable[[Cell], Outcome] = trained, outcomes: Mapping[str, Outcome] | None = None
) -> dict[str, Outcome]:
    """Run a search to its end; returns what was trained."""
    found = dict(outcomes or {})
    while batch := search.advance(found):
        found |= {cell.id: give(cell) for cell in batch if cell.id not in found}
    return found

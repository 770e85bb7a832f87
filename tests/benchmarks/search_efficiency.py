"""How many cells a search needs, against a grid, random search and Optuna asked for one trial at a time.

    python -m tests.benchmarks.search_efficiency [--worlds 100]

On the made-up objective of tests/search/objective.py: curves of the published shapes with noise between seeds. A world
is one draw of all noise. Everybody's interval comes from the same surrogate, so that only the choice of cells differs.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np

from rdstudy.analysis import hypervolume
from rdstudy.execution.search import Search
from rdstudy.execution.search.gaussian_process import GaussianProcess, lowest
from rdstudy.study import Cell, Study
from tests.benchmarks.machine import Report, spread
from tests.execution.search.objective import BEST, believed, distortion, play, rate, study, trained

LOW, HIGH, MOST = 0.001, 5.0, 400
RANGE = math.log(HIGH / LOW)
WIDTH = 2.0
"""An interval's high over low at which a method may stop."""
SETTING = {"split": "random", "train_size": 1000, "width": 512, "latent_dim": 10, "prior": "standard_normal"}


def by_search(world: int, *, sampler: str, batch: int) -> tuple[int, float, bool]:
    """Cells until the interval is narrow enough, the estimate's error as a part of the range, whether it covers."""
    one = study(
        "grid.depth=[1]",
        f"search={{goal: best_beta, beta: {{low: {LOW}, high: {HIGH}}}, sampler: {sampler}, batch: {batch}, "
        f"seed: {world}, stop_when: {{interval: {WIDTH}, cells: {MOST}}}}}",
    )
    search = Search(one)
    found = play(search, lambda cell: trained(cell, world))
    estimate = next(iter(believed(search).values()))
    return _judged(len(found), estimate.beta, estimate.low, estimate.high)


def interval_after(world: int, *, cells: int, batch: int) -> float:
    """An interval's high over low after so many cells."""
    one = study(
        "grid.depth=[1]",
        f"search={{goal: best_beta, beta: {{low: {LOW}, high: {HIGH}}}, batch: {batch}, seed: {world}, "
        f"until: {{cells: {cells}}}}}",
    )
    search = Search(one)
    play(search, lambda cell: trained(cell, world))
    estimate = next(iter(believed(search).values()))
    return estimate.high / estimate.low


def by_grid(world: int, *, betas: int) -> tuple[int, float, bool]:
    """The same of a grid that gains seeds, three at first."""
    one, values = study(), [float(f"{beta:.3g}") for beta in np.geomspace(LOW, HIGH, betas)]
    x, y, seeds = [], [], []
    for seed in range(MOST // betas):
        for beta in values:
            outcome = trained(one.cell(**SETTING, depth=1, beta=beta, seed=seed), world)
            x.append(math.log(beta / LOW) / RANGE)
            y.append(outcome.distortion)
            seeds.append(seed)
        if seed < 2:
            continue
        surrogate = GaussianProcess(np.array(x), np.array(y), np.array(seeds))
        found = surrogate.locate(lowest, np.random.default_rng(world), draws=1000)
        at = [LOW * math.exp(RANGE * value) for value in (found.at, found.low, found.high)]
        if at[2] / at[1] <= WIDTH:
            break
    return _judged(len(x), *at)


def _judged(cells: int, beta: float, low: float, high: float) -> tuple[int, float, bool]:
    error = abs(math.log(beta / BEST[1])) / RANGE
    return cells, error, low <= BEST[1] <= high


def frontier(world: int, *, sampler: str, cells: int, batch: int) -> float:
    """Hypervolume that a search of so many cells reaches, over that of a dense grid, by noiseless values."""
    one = study(
        "grid={split: [random], train_size: [1000], seed: [0]}",
        f"search={{goal: frontier, sampler: {sampler}, batch: {batch}, seed: {world}, stop_when: {{cells: {cells}}}, "
        f"over: {{beta: {{low: {LOW}, high: {HIGH}}}, width: [64, 128, 256, 512], depth: [1, 3]}}}}",
    )
    search = Search(one)
    found = play(search, lambda cell: trained(cell, world))
    return _area([search.cells[cell_id] for cell_id in found]) / _area(dense(one))


def dense(one: Study) -> list[Cell]:
    """25 betas x 4 widths x 2 depths: 200 cells."""
    points = [(b, w, d) for b in np.geomspace(LOW, HIGH, 25) for w in (64, 128, 256, 512) for d in (1, 3)]
    return [one.cell(**{**SETTING, "width": w}, depth=d, beta=float(b), seed=0) for b, w, d in points]


def _area(cells: list[Cell]) -> float:
    rates, distortions = (np.array([of(cell) for cell in cells]) for of in (rate, distortion))
    return hypervolume(rates, distortions, (62.0, 100.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--worlds", type=int, default=100)
    arguments = parser.parse_args()
    report = Report("search_efficiency", "python -m tests.benchmarks.search_efficiency")
    report.line(
        f"Best beta of the shallow curve, to an interval of a factor of {WIDTH:g}; {arguments.worlds} worlds.\n"
    )
    report.line(
        "| chosen by | cells, min-median-max | times the cells of variance reduction, 16 at once |"
        " within 10% | covered |"
    )
    report.line("|---|---|---|---|---|")
    methods: dict[str, Callable[[int], tuple[int, float, bool]]] = {
        "variance reduction, 16 at once": partial(by_search, sampler="variance_reduction", batch=16),
        "variance reduction, one at a time": partial(by_search, sampler="variance_reduction", batch=1),
        "Optuna's TPE, one at a time": partial(by_search, sampler="tpe", batch=1),
        "random, 16 at once": partial(by_search, sampler="random", batch=16),
        **{f"grid of {betas} betas": partial(by_grid, betas=betas) for betas in (7, 13, 25)},
    }
    base: list[int] = []
    with ProcessPoolExecutor(2) as pool:
        for name, method in methods.items():
            worlds = list(pool.map(method, range(arguments.worlds)))
            cells = [each[0] for each in worlds]
            base = base or cells
            near = sum(each[1] <= 0.1 for each in worlds) / len(worlds)
            covered = sum(each[2] for each in worlds) / len(worlds)
            times = statistics.median(cells) / statistics.median(base)
            report.line(f"| {name} | {spread(cells, 0)} | {times:.2f} | {near:.0%} | {covered:.0%} |")
        report.line("\nThe same curve: an interval's high over low after some cells asked for one at a time, and after")
        report.line("half as many again asked for 16 at a time.\n")
        report.line("| cells | one at a time | cells | 16 at once |\n|---|---|---|---|")
        for n in (32, 64):
            single, packed = (
                list(pool.map(partial(interval_after, cells=count, batch=batch), range(arguments.worlds)))
                for count, batch in ((n, 1), (3 * n // 2, 16))
            )
            report.line(f"| {n} | {spread(single, 2)} | {3 * n // 2} | {spread(packed, 2)} |")
        report.line("\nFrontier over beta, 4 widths, 2 depths: hypervolume over that of a dense grid of 200 cells.\n")
        report.line("| chosen by | cells | share of the grid's hypervolume |\n|---|---|---|")
        for sampler in ("tpe", "gp", "nsga2", "random"):
            some = partial(frontier, sampler=sampler, cells=66, batch=16)
            shares = list(pool.map(some, range(max(4, arguments.worlds // 10))))
            report.line(f"| {sampler}, 16 at once | 66 | {spread(shares, 3)} |")
    report.write()


if __name__ == "__main__":
    main()

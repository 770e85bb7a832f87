"""A search for the best beta on real training, against a dense grid: do they agree, and at what cost.

    python -m tests.benchmarks.search_on_mnist ROOT

ROOT holds torchvision's MNIST. Both run as anyone would run them; both intervals come from the same surrogate, so that
only the choice of cells differs. The figure is written beside the table.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rdstudy.execution.search import Outcome, Search
from rdstudy.execution.search.beta_search import BetaEstimate
from rdstudy.execution.search.search import Curves
from rdstudy.execution.search.warm_start import load_outcomes
from rdstudy.report.figures.beta_axis import set_beta_axis
from rdstudy.report.figures.style import COLOURS, INK, new_figure, save, styled
from rdstudy.study import Cell, Study, load_study
from tests.benchmarks.machine import RESULTS, Report

LOW, HIGH = 0.001, 5.0
STUDY = """
name: {name}
dataset: {{name: mnist, root: {root}, test_size: 1000}}
grid:
  split: [standard]
  depth: [1, 3]
  width: [64]
  latent_dim: [10]
  train_size: [250, 1000]
  {axes}
training: {{steps: 1000, batch_size: 64, learning_rate: 1e-3}}
evaluation:
  steps: [1000]
  mutual_information: {{at: never}}
  information_bounds: {{at: never}}
  nll: {{at: never}}
  num_images: 0
{search}
"""
SEARCH = "search: {{goal: best_beta, beta: {{low: {low}, high: {high}}}, batch: 16, stop_when: {{cells: {cells}}}}}"
BETAS, SEEDS, CELLS = 13, 3, 64


@dataclass(frozen=True)
class Ran:
    """What a study cost, and what it says of each setting."""

    cells: int
    seconds: float
    found: dict[str, BetaEstimate]


def studies(root: Path) -> tuple[str, str]:
    """The grid and the search, as texts."""
    betas = ", ".join(f"{beta:.3g}" for beta in np.geomspace(LOW, HIGH, BETAS))
    grid = STUDY.format(name="grid", root=root, axes=f"beta: [{betas}]\n  seed: {{count: {SEEDS}}}", search="")
    asked = SEARCH.format(low=LOW, high=HIGH, cells=CELLS)
    return grid, STUDY.format(name="search", root=root, axes="seed: {count: 20}", search=asked)


def run(text: str, judge: str, folder: Path) -> Ran:
    """Train, and estimate by the surrogate of the search `judge` from all cells that were trained."""
    path, results = folder / "study.yaml", folder / "results"
    folder.mkdir()
    path.write_text(text)
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "rdstudy", "run", path, "--results", results, "--ray"], check=True)
    seconds = time.perf_counter() - began
    (folder / "judge.yaml").write_text(judge)
    outcomes = load_outcomes(results)
    trained = Search(load_study(path)) if "search:" in text else None
    if trained is not None:
        trained.advance(outcomes)
    cells = trained.cells if trained is not None else load_study(path).cells
    return Ran(len(outcomes), seconds, _estimates(load_study(folder / "judge.yaml"), cells, outcomes))


def _estimates(study: Study, cells: Mapping[str, Cell], outcomes: Mapping[str, Outcome]) -> dict[str, BetaEstimate]:
    judge = Search(study, {cell_id: (cells[cell_id], outcome) for cell_id, outcome in outcomes.items()})
    assert isinstance(judge.seeker, Curves)
    label = judge.seeker.label
    return {label(setting): found for setting, found in judge.seeker.estimates().items() if found is not None}


@styled
def draw(grid: Ran, search: Ran) -> None:
    """Both estimates of each setting, with their intervals."""
    figure = new_figure(width=5.0, height=2.4)
    axes = figure.subplots()
    for row, name in enumerate(grid.found):
        for ran, label, colour, marker, up in (
            (grid, f"grid, {grid.cells} cells", COLOURS[0], "o", -0.14),
            (search, f"search, {search.cells} cells", COLOURS[1], "s", 0.14),
        ):
            found = ran.found[name]
            axes.plot([found.low, found.high], [row + up] * 2, color=colour)
            axes.plot(found.beta, row + up, marker=marker, color=colour, linestyle="none", label="" if row else label)
    set_beta_axis(axes, np.geomspace(LOW, HIGH, BETAS))
    axes.set_yticks(range(len(grid.found)), list(grid.found), color=INK)
    axes.set_ylim(len(grid.found) - 0.5, -0.5)
    axes.set_xlabel("best β by test distortion, 95% interval (log scale)")
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2)
    save(figure, RESULTS / "search_on_mnist", ("png",))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("root", type=Path)
    arguments = parser.parse_args()
    texts = studies(arguments.root.resolve())
    with tempfile.TemporaryDirectory() as folder:
        grid, search = (run(text, texts[1], Path(folder) / name) for text, name in zip(texts, "gs", strict=True))
    report = Report("search_on_mnist", "python -m tests.benchmarks.search_on_mnist ROOT")
    report.line("MNIST, 1,000 test images, width 64, 1,000 steps; beta of least test distortion, with 95% interval.\n")
    report.line("| | cells | seconds | " + " | ".join(grid.found) + " |")
    report.line("|---|---|---|" + "---|" * len(grid.found))
    for name, ran in (("grid", grid), ("search", search)):
        shown = " | ".join(f"{each.beta:.3g} ({each.low:.2g}-{each.high:.2g})" for each in ran.found.values())
        report.line(f"| {name} | {ran.cells} | {ran.seconds:.0f} | {shown} |")
    agree = sum(
        max(grid.found[name].low, found.low) <= min(grid.found[name].high, found.high)
        for name, found in search.found.items()
    )
    narrower = [
        math.log(grid.found[name].high / grid.found[name].low) / math.log(found.high / found.low)
        for name, found in search.found.items()
    ]
    report.line()
    report.line(
        f"Intervals that overlap: {agree} of {len(search.found)}. The search needed {search.cells / grid.cells:.0%} of "
        f"the cells and {search.seconds / grid.seconds:.0%} of the time, starting Ray included. Width of the grid's "
        f"interval over the search's, in log beta: {', '.join(f'{each:.2f}' for each in narrower)}."
    )
    report.write()
    draw(grid, search)


if __name__ == "__main__":
    main()

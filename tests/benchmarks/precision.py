"""What bfloat16 products do to the results: paired runs, equal but for the type of their matrix products.

    python -m tests.benchmarks.precision ROOT [--steps 1000]

ROOT holds torchvision's MNIST. Both members of a pair start from the same weights and see the same images and noise.
A difference counts as small if it is less than a quarter of the spread between seeds, in the mean over them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from rdstudy.evaluation.evaluate import measure
from rdstudy.execution.inputs import as_tensor, populations_of
from rdstudy.models.stacked import StackedVAE
from rdstudy.study import parse_study
from rdstudy.study.data import load_data
from rdstudy.training.trainer import PackTrainer
from tests.benchmarks.machine import Report

SHAPES, BETAS, SEEDS = ((1, 64), (1, 512)), (0.1, 1.0, 5.0), 8
MEASURED = {"rate_nats": "R", "distortion_nats": "D"}
STUDY = """
name: precision
dataset: {{name: mnist, root: {root}, test_size: 2000}}
grid:
  split: [standard]
  beta: [{beta}]
  depth: [{depth}]
  width: [{width}]
  latent_dim: [10]
  train_size: [10000]
  seed: {{count: {seeds}}}
training: {{steps: {steps}, batch_size: 128}}
evaluation:
  steps: [{steps}]
  mutual_information: {{at: never}}
  information_bounds: {{at: never}}
  nll: {{at: never}}
"""


@dataclass(frozen=True)
class Task:
    """Models that differ in their seeds."""

    root: Path
    steps: int
    depth: int
    width: int
    beta: float
    rounded: bool


def with_rounded_products(training: PackTrainer) -> None:
    """Let a pack that has not begun multiply in bfloat16, all else unchanged: its weights, order and noise."""
    stack = training.stack
    training.stack = StackedVAE(stack.shape, stack.rows, batch_size=stack.batch_size, product_dtype=torch.bfloat16)
    training._optimizer.gradient = training.stack.grad


def trained(task: Task) -> dict[str, list[float]]:
    """What the test set gives, a value per seed."""
    torch.set_num_threads(1)
    sizes = {"root": task.root, "steps": task.steps, "depth": task.depth, "width": task.width, "beta": task.beta}
    study = parse_study(STUDY.format(**sizes, seeds=SEEDS))
    dataset, cells = load_data(study).of(study.dataset.seed), list(study.cells.values())
    images, populations = as_tensor(dataset.images), populations_of(dataset, cells)
    training = PackTrainer(cells, images, [each["train"] for each in populations])
    if task.rounded:
        with_rounded_products(training)
    before = training.stack.rows.clone()
    training.advance(task.steps)
    assert not torch.equal(training.stack.rows, before)
    found: dict[str, list[float]] = {name: [] for name in MEASURED}
    for k, cell in enumerate(cells):
        values = measure(
            training.model(k),
            images,
            {"test": populations[k]["test"]},
            study.evaluation,
            beta=cell.beta,
            stream_id=cell.stream_id,
            step=task.steps,
            final=task.steps,
        )["test"]
        for name in MEASURED:
            value = values.columns[name]
            assert isinstance(value, float)
            found[name].append(value)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("root", type=Path)
    parser.add_argument("--steps", type=int, default=1_000)
    arguments = parser.parse_args()
    report = Report("precision", f"python -m tests.benchmarks.precision ROOT --steps {arguments.steps}")
    tasks = [
        Task(arguments.root.resolve(), arguments.steps, depth, width, beta, rounded)
        for rounded in (True, False)
        for depth, width in SHAPES
        for beta in BETAS
    ]
    with multiprocessing.get_context("spawn").Pool() as pool:
        found = dict(zip(tasks, pool.map(trained, tasks, chunksize=1), strict=True))
    report.line(
        f"MNIST, 10,000 training and 2,000 test images, {arguments.steps:,} steps, {SEEDS} seeds. Difference of a "
        "pair: bfloat16 products less float32. Share: of the mean difference, over the standard deviation between "
        "seeds in float32; asked: less than 0.25.\n"
    )
    report.line("| model | beta | test | float32, mean (sd) | difference, mean (min to max), nats | share |")
    report.line("|---|---|---|---|---|---|")
    shares = []
    for full in (task for task in tasks if not task.rounded):
        pair = found[full], found[replace(full, rounded=True)]
        for name, symbol in MEASURED.items():
            plain, rounded = (each[name] for each in pair)
            differences = [b - a for a, b in zip(plain, rounded, strict=True)]
            mean, spread = statistics.mean(differences), statistics.stdev(plain)
            shares.append(abs(mean) / spread)
            cells = [
                f"{full.depth}x{full.width}",
                f"{full.beta:g}",
                symbol,
                f"{statistics.mean(plain):.2f} ({spread:.2f})",
                f"{mean:+.3f} ({min(differences):+.3f} to {max(differences):+.3f})",
                f"{shares[-1]:.2f}",
            ]
            report.line(f"| {' | '.join(cells)} |")
    small = sum(share < 0.25 for share in shares)
    report.line(f"\nLess than a quarter of the spread between seeds: {small} of {len(shares)}.")
    report.write()


if __name__ == "__main__":
    main()

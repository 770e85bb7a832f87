"""What a step costs as packs, models and data grow, on one core.

    python -m tests.benchmarks.growth [--rounds 3]

One thing grows at a time: models per pack, width, depth, images. Share: of the rate of large square matrix products.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch

from rdstudy.models.shape import ModelShape
from rdstudy.training.trainer import PackTrainer
from tests.benchmarks.machine import Report, spread
from tests.benchmarks.rivals import BATCH, LATENT, Train
from tests.benchmarks.training_speed import SIDE, study_of

PIXELS, IMAGES = 784, 10_000


def _training(models: int, depth: int, width: int, images: int) -> Train:
    generator = torch.Generator().manual_seed(0)
    data = torch.randint(0, 256, (images, PIXELS), dtype=torch.uint8, generator=generator)
    training = PackTrainer(list(study_of(depth, width, models).cells.values()), data, [np.arange(images)] * models)
    return lambda steps: training.advance(training.step + steps)


def _seconds(train: Train, at_least: float) -> float:
    """Of one step, over as many as fill the time."""

    steps, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < at_least:
        train(1)
        steps += 1
    return took / steps


def _products(count: int) -> None:
    for _ in range(count):
        torch.mm(_A, _A, out=_OUT)


_A, _OUT = torch.ones(SIDE, SIDE), torch.empty(SIDE, SIDE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.7, help="of each case in each round")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    report = Report("growth", "python -m tests.benchmarks.growth")
    base = {"models": 8, "depth": 1, "width": 512, "images": IMAGES}
    grown = {
        "models": (1, 2, 4, 8, 16, 32, 64),
        "width": (64, 128, 256, 512, 1024, 2048),
        "depth": (1, 2, 3, 4, 6),
        "images": (1_000, 10_000, 60_000, 160_000),
    }
    tables = [(axis, base, values) for axis, values in grown.items()]
    tables.insert(1, ("models", {**base, "width": 64}, grown["models"]))
    for axis, others, values in tables:
        fixed = ", ".join(f"{name} {value:,}" for name, value in others.items() if name != axis)
        report.line(
            f"\n{axis} grows; {fixed}\n\n| {axis} | ms per model-step | share of the products' rate |\n|---|---|---|"
        )
        cases = {value: {**others, axis: value} for value in values}
        for value, case in cases.items():
            train = _training(**case)
            train(3)
            flop = case["models"] * BATCH * ModelShape(PIXELS, case["depth"], case["width"], LATENT).flop_per_example
            times, shares = [], []
            for _ in range(arguments.rounds):
                rate = 2 * SIDE**3 / _seconds(_products, 0.1)
                times.append(_seconds(train, arguments.seconds))
                shares.append(flop / times[-1] / rate)
            milliseconds = 1e3 * statistics.median(times) / case["models"]
            report.line(f"| {value:,} | {milliseconds:.3f} | {spread(shares, 2)} |")
    report.write()


if __name__ == "__main__":
    main()

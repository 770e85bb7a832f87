"""How many times as fast this machine trains packs as it trains models one by one, and how near that is to the floor.

    python -m tests.benchmarks.training_speed [--rounds 5]      with pythae 0.1.2 installed, against its trainer too

Whole machine against whole machine: a conventional program is one process on all cores, or one process per core; a run
of rdstudy is one process per core, each with a pack. Same model, batch, optimizer and data. The cases take turns; a
ratio is taken within a round, so that it holds when the machine's speed drifts. The floor is what the step cannot do
without: its matrix products, at the rate of large square ones, and one fused pass of Adam over a pack's parameters.
Packs whose products are of bfloat16 have a floor of their own, whose products are too.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rdstudy.data.tetrominoes import load_tetrominoes
from rdstudy.evaluation.evaluate import measure
from rdstudy.models.shape import ModelShape
from rdstudy.models.vae import VAE
from rdstudy.study import Evaluation, Study, parse_study
from rdstudy.training.packs import FAST_PACK
from rdstudy.training.trainer import PackTrainer
from tests.benchmarks.machine import Case, Report, compare, ratios, spread
from tests.benchmarks.rivals import BATCH, LATENT, Train, conventional, pythae

EXAMPLES, CORES, PACK = 10_000, os.cpu_count() or 1, FAST_PACK["cpu"]
SHAPES = ((784, 1, 512), (784, 3, 512), (784, 1, 64), (3072, 1, 512))
SIDE = 768
"""Of the floor's square products."""
LOOP = {"DataLoader loop": conventional}


def random_images(pixels: int) -> Tensor:
    return torch.randint(0, 256, (EXAMPLES, pixels), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def study_of(depth: int, width: int, models: int, *, steps: int = 10**6, precision: str = "float32") -> Study:
    """One cell per seed."""
    return parse_study(
        "name: speed\ndataset: {name: mnist}\n"
        f"grid: {{split: [standard], beta: [1], depth: [{depth}], width: [{width}], train_size: [{EXAMPLES}], "
        f"latent_dim: [{LATENT}], seed: {{count: {models}}}}}\n"
        f"training: {{steps: {steps}, batch_size: {BATCH}, precision: {precision}}}"
    )


def packed(images: Tensor, depth: int, width: int, models: int, precision: str = "float32") -> PackTrainer:
    """A pack of models."""
    cells = list(study_of(depth, width, models, precision=precision).cells.values())
    return PackTrainer(cells, images, [np.arange(EXAMPLES)] * models)


def _packed(pixels: int, depth: int, width: int, models: int, precision: str = "float32") -> Train:
    training = packed(random_images(pixels), depth, width, models, precision)
    return lambda steps: training.advance(training.step + steps)


def _rival(make: Callable[..., tuple[Train, VAE]], pixels: int, depth: int, width: int) -> Train:
    return make(random_images(pixels), depth, width)[0]


def floor(
    pixels: int,
    depth: int,
    width: int,
    models: int,
    dtype: torch.dtype = torch.float32,
    *,
    device: str = "cpu",
    side: int = SIDE,
) -> Train:
    """As much matrix product as a step needs, in large squares of this type, and Adam."""
    shape = ModelShape(pixels, depth, width, LATENT)
    rows = torch.randn(models, shape.row, device=device).requires_grad_()
    rows.grad = torch.randn_like(rows)
    adam = torch.optim.Adam([rows], fused=True)
    a, b, out = (torch.randn(side, side, dtype=dtype, device=device) for _ in range(3))
    products, owed = models * BATCH * shape.flop_per_example / (2 * side**3), 0.0

    def train(steps: int) -> None:
        nonlocal owed
        for _ in range(steps):
            owed += products
            while owed >= 1:
                torch.mm(a, b, out=out)
                owed -= 1
            adam.step()

    return train


def speed(report: Report, rounds: int, seconds: float) -> None:
    """The tables of ratios."""
    for pixels, depth, width in SHAPES:
        size = (pixels, depth, width)
        cases = [
            Case(f"{name}, 1 process x {CORES} threads", partial(_rival, make, *size), 1, 1, CORES, EXAMPLES // BATCH)
            for name, make in rivals().items()
        ]
        cases.append(Case(f"DataLoader loop, {CORES} x 1", partial(_rival, conventional, *size), 1, CORES, 1))
        first = len(cases)
        for models in (1, 4, PACK):
            cases.append(
                Case(f"rdstudy, packs of {models}, {CORES} x 1", partial(_packed, *size, models), models, CORES)
            )
        cases.append(Case(f"rdstudy, pack of {PACK}, 1 x {CORES}", partial(_packed, *size, PACK), PACK, 1, CORES))
        rounded = partial(_packed, *size, PACK, "bfloat16")
        cases.append(Case(f"rdstudy, packs of {PACK}, bfloat16, {CORES} x 1", rounded, PACK, CORES))
        cases.append(Case("floor", partial(floor, *size, PACK), PACK, CORES))
        cases.append(Case("floor, bfloat16", partial(floor, *size, PACK, torch.bfloat16), PACK, CORES))
        rates = compare(cases, rounds=rounds, seconds=seconds)
        report.line(f"\n{pixels} pixels, {depth}x{width}, batch {BATCH}, float32 unless said\n")
        against = [case.name for case in cases[:first]]
        report.line(
            f"| training | ms per model-step | {' | '.join(f'times {name}' for name in against)} | of the floor |"
        )
        report.line("|---|---|" + "---|" * (len(against) + 1))
        for case in cases:
            mine = rates[case.name]
            milliseconds = 1e3 / statistics.median(mine)
            times = " | ".join(spread(ratios(mine, rates[name])) for name in against)
            its_floor = "floor, bfloat16" if "bfloat16" in case.name else "floor"
            report.line(f"| {case.name} | {milliseconds:.2f} | {times} | {spread(ratios(rates[its_floor], mine), 2)} |")


def quality(report: Report, steps: int, seeds: int) -> None:
    """Test -ELBO of models that each of them trained, on Tetrominoes: the same within the spread between seeds."""
    depth, width = 1, 64
    images = torch.from_numpy(np.array(load_tetrominoes(size=EXAMPLES + 2_000).images))
    train, test = images[:EXAMPLES], np.arange(EXAMPLES, len(images))
    models = {}
    for name, precision in (("rdstudy", "float32"), ("rdstudy, bfloat16", "bfloat16")):
        training = packed(images, depth, width, seeds, precision)
        training.advance(steps)
        models[name] = [training.model(k) for k in range(seeds)]
    for name, make in rivals().items():
        models[name] = []
        for seed in range(seeds):
            advance, model = make(train, depth, width, seed)
            advance(steps)
            models[name].append(model)
    report.line(f"\nTest -ELBO in nats after {steps:,} steps, Tetrominoes, {depth}x{width}, {seeds} seeds\n")
    report.line("| training | mean | sd between seeds |\n|---|---|---|")
    asked = Evaluation.model_validate(
        {name: {"at": "never"} for name in ("mutual_information", "information_bounds", "nll")}
    )
    for name, trained in models.items():
        found = []
        for seed, model in enumerate(trained):
            options: dict[str, Any] = {"beta": 1.0, "stream_id": f"{seed}", "step": steps, "final": steps}
            found.append(-measure(model, images, {"test": test}, asked, **options)["test"].columns["elbo_nats"])
        report.line(f"| {name} | {statistics.mean(found):.2f} | {statistics.stdev(found):.2f} |")


def rivals() -> dict[str, Callable[..., tuple[Train, VAE]]]:
    """Other ways to train; pythae's where it is installed."""
    return {"pythae's trainer": pythae, **LOOP} if importlib.util.find_spec("pythae") else dict(LOOP)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each case in each round, roughly")
    arguments = parser.parse_args()
    report = Report("training_speed", "python -m tests.benchmarks.training_speed")
    speed(report, arguments.rounds, arguments.seconds)
    quality(report, steps=1_560, seeds=3)
    report.write()


if __name__ == "__main__":
    main()

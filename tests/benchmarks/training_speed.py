"""Milliseconds per model and step of packs, against a conventional loop that trains one model, in one run.

    python tests/benchmarks/training_speed.py [--rounds 5]

The conventional loop is what most public VAE code does: a DataLoader over single images with a transform, an
`nn.Module`, autograd, Adam. Same model, batch, optimizer and data (random bytes of MNIST's size); one thread each. The
cases take turns; a ratio is taken within a round, so that it holds when the machine's speed drifts.
"""

from __future__ import annotations

import argparse
import datetime as dt
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from rdstudy.models.stacked import initial_row
from rdstudy.models.vae import VAE
from rdstudy.objective import distortion, lagrangian, rate
from rdstudy.provenance import device_name
from rdstudy.shapes import ModelShape
from rdstudy.study import parse_study
from rdstudy.training import PackTraining

BATCH, EXAMPLES, PIXELS = 128, 10_000, 784


class _Images(Dataset):
    """Images one by one, as a DataLoader asks for them."""

    def __init__(self, images: torch.Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> torch.Tensor:
        return self.images[i].float().div(255)


def conventional(images: torch.Tensor, depth: int, width: int) -> Callable[[int], None]:
    """One model, trained as public code does it; call with a number of steps."""
    shape = ModelShape(PIXELS, depth, width, 10)
    model = VAE(shape, initial_row(shape, "conventional", torch.float32))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = DataLoader(_Images(images), batch_size=BATCH, shuffle=True, drop_last=True)

    def train(steps: int) -> None:
        done = 0
        while done < steps:
            for x in loader:
                posterior = model.encode(x)
                latent = posterior.sample(torch.randn_like(posterior.mean))
                loss = lagrangian(distortion(model.decode(latent), x), rate(posterior), 1.0)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                done += 1
                if done == steps:
                    return

    return train


def packed(images: torch.Tensor, depth: int, width: int, models: int, precision: str) -> Callable[[int], None]:
    """A pack of models; call with a number of steps."""
    study = parse_study(
        "name: speed\ndataset: {name: mnist}\n"
        f"grid: {{split: [standard], beta: [1], depth: [{depth}], width: [{width}], train_size: [{EXAMPLES}], "
        f"seed: {{count: {models}}}}}\n"
        f"training: {{steps: 1000000, batch_size: {BATCH}, precision: {precision}}}"
    )
    cells = list(study.cells.values())
    training = PackTraining(cells, images, [np.arange(EXAMPLES)] * models)
    return lambda steps: training.advance(training.step + steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each case in each round, roughly")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    images = torch.randint(0, 256, (EXAMPLES, PIXELS), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    print(f"{dt.date.today()}, {device_name(torch.device('cpu'))}, torch {torch.__version__}, ", end="")
    print(f"Python {platform.python_version()}; median of {arguments.rounds} rounds, ratio: min-median-max\n")
    print("| model | training | ms per model and step | images/s | times as fast as the loop |")
    print("|---|---|---|---|---|")
    for depth, width in ((1, 512), (3, 512), (1, 64)):
        cases: dict[str, tuple[int, Callable[[int], None]]] = {
            "conventional loop": (1, conventional(images, depth, width))
        }
        for models in (1, 4, 16):
            cases[f"pack of {models}"] = (models, packed(images, depth, width, models, "float32"))
        steps = {name: _calibrate(train, arguments.seconds) for name, (_, train) in cases.items()}
        milliseconds: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(arguments.rounds):
            for name, (models, train) in cases.items():
                started = time.perf_counter()
                train(steps[name])
                milliseconds[name].append((time.perf_counter() - started) * 1e3 / steps[name] / models)
        loop = milliseconds["conventional loop"]
        for name, times in milliseconds.items():
            ratios = sorted(a / b for a, b in zip(loop, times, strict=True))
            ms = statistics.median(times)
            spread = f"{ratios[0]:.1f}-{statistics.median(ratios):.1f}-{ratios[-1]:.1f}"
            print(f"| {depth}x{width} | {name} | {ms:.2f} | {BATCH / ms * 1e3:,.0f} | {spread} |", flush=True)


def _calibrate(train: Callable[[int], None], seconds: float) -> int:
    train(3)
    started = time.perf_counter()
    train(5)
    return max(5, int(5 * seconds / (time.perf_counter() - started)))


if __name__ == "__main__":
    main()

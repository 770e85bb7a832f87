"""How many times as fast a CUDA GPU trains packs as it trains one model, and how near that is to what it can do.

    python -m tests.benchmarks.gpu_speed [--rounds 5] [--seconds 0.25]      with pythae 0.1.2 installed, against it too

One model per process, as a trial of plain Ray Tune would have it: a DataLoader loop and pythae's trainer, both on the
GPU. rdstudy: packs of 1 to 512, steps replayed as CUDA graphs or launched one by one. All cases of a shape take turns
in this process; a ratio is taken within a round. The floor is the matrix products at the rate of large square ones of
their type, and one fused pass of Adam over a pack's parameters. Draws: how many model-steps the processor's threads
draw order and noise for, in a second; a GPU cannot train faster.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from rdstudy.execution.provenance import device_name
from rdstudy.models.shape import ModelShape
from rdstudy.training.batches import CHUNK
from rdstudy.training.packs import FAST_PACK
from rdstudy.training.trainer import PackTrainer
from tests.benchmarks.machine import Report, ratios, spread
from tests.benchmarks.rivals import BATCH, LATENT, Train
from tests.benchmarks.training_speed import EXAMPLES, SHAPES, floor, random_images, rivals, study_of

SIDE = 8192
"""Of the floor's square products."""
PACKS, MAX_BYTES = (1, 8, 32, 128, 512), 8e9
"""Models in a pack, and what their parameters, gradients and moments may take."""
PROFILED = FAST_PACK["cuda"]


def packed(
    pixels: int, depth: int, width: int, models: int, precision: str = "float32", *, replays: bool = True
) -> PackTrainer:
    """A pack of models on the GPU."""
    cells = list(study_of(depth, width, models, precision=precision).cells.values())
    images = random_images(pixels).cuda()
    return PackTrainer(cells, images, [np.arange(EXAMPLES)] * models, replays=replays)


def synchronized(train: Train) -> Train:
    """The same, done when the GPU is."""

    def done(steps: int) -> None:
        train(steps)
        torch.cuda.synchronize()

    return done


def train_packed(*arguments: object, **options: object) -> Train:
    training = packed(*arguments, **options)  # type: ignore[arg-type]
    return synchronized(lambda steps: training.advance(training.step + steps))


def train_floor(size: tuple[int, int, int], dtype: torch.dtype) -> Train:
    return synchronized(floor(*size, PROFILED, dtype, device="cuda", side=SIDE))


def rival(make: Callable[..., tuple[Train, object]], pixels: int, depth: int, width: int) -> Train:
    return synchronized(make(random_images(pixels), depth, width, device="cuda")[0])


def matmul_flops(dtype: torch.dtype) -> float:
    """Operations per second of large square products."""
    a, b, out = (torch.randn(SIDE, SIDE, dtype=dtype, device="cuda") for _ in range(3))
    torch.mm(a, b, out=out)
    torch.cuda.synchronize()
    began, count = time.perf_counter(), 6
    for _ in range(count):
        torch.mm(a, b, out=out)
    torch.cuda.synchronize()
    return count * 2 * SIDE**3 / (time.perf_counter() - began)


def rate(train: Train, models: int, unit: int, seconds: float) -> float:
    """Model-steps per second."""
    steps, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < seconds:
        train(unit)
        steps += unit
    return steps * models / took


def speed(report: Report, size: tuple[int, int, int], rounds: int, seconds: float) -> None:
    """One table of ratios."""
    one_by_one = EXAMPLES // BATCH
    makers: dict[str, tuple[Callable[[], Train], int, int]] = {
        name: (partial(rival, make, *size), 1, one_by_one) for name, make in rivals().items()
    }
    against = list(makers)
    makers["pack of 1, one by one"] = (partial(train_packed, *size, 1, replays=False), 1, CHUNK)
    pixels, depth, width = size
    shape = ModelShape(pixels, depth, width, LATENT)
    packs = [n for n in PACKS if 16 * n * shape.row < MAX_BYTES]
    for n in packs:
        makers[f"pack of {n}"] = (partial(train_packed, *size, n), n, CHUNK)
    makers[f"pack of {PROFILED}, one by one"] = (partial(train_packed, *size, PROFILED, replays=False), PROFILED, CHUNK)
    for n in packs[-2:]:
        makers[f"pack of {n}, bfloat16"] = (partial(train_packed, *size, n, "bfloat16"), n, CHUNK)
    makers["floor"] = (partial(train_floor, size, torch.float32), PROFILED, CHUNK)
    makers["floor, bfloat16"] = (partial(train_floor, size, torch.bfloat16), PROFILED, CHUNK)
    cases = {name: make() for name, (make, _, _) in makers.items()}
    for name, train in cases.items():
        train(2 * makers[name][2])
    rates: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name, train in cases.items():
            rates[name].append(rate(train, *makers[name][1:], seconds))
    products = {"float32": matmul_flops(torch.float32), "bfloat16": matmul_flops(torch.bfloat16)}
    flop = BATCH * shape.flop_per_example
    report.line(f"\n{pixels} pixels, {depth}x{width}, batch {BATCH}, float32 unless said\n")
    report.line(
        f"| training | us per model-step | {' | '.join(f'times {name}' for name in against)} "
        "| share of the products' rate | of the floor |"
    )
    report.line("|---|---|" + "---|" * (len(against) + 2))
    for name in cases:
        mine = rates[name]
        kind = "bfloat16" if "bfloat16" in name else "float32"
        its_floor = rates["floor" if kind == "float32" else "floor, bfloat16"]
        times = " | ".join(spread(ratios(mine, rates[other])) for other in against)
        share = statistics.median(mine) * flop / products[kind]
        report.line(
            f"| {name} | {1e6 / statistics.median(mine):.1f} | {times} | {share:.0%} "
            f"| {spread(ratios(its_floor, mine), 2)} |"
        )
    del cases
    gc.collect()
    torch.cuda.empty_cache()


def draws(report: Report) -> None:
    """How many model-steps are drawn for in a second."""
    report.line(f"\nDraws, {len(os.sched_getaffinity(0))} cores, batch {BATCH}, latent {LATENT}\n")
    report.line("| models | us per model-step |\n|---|---|")
    for models in (8, 128, 512):
        training = packed(784, 1, 64, models)
        training._draws.load(0)
        chunks, began = 8, time.perf_counter()
        for chunk in range(1, chunks + 1):
            training._draws.load(chunk)
        report.line(f"| {models} | {1e6 * (time.perf_counter() - began) / chunks / CHUNK / models:.2f} |")


def operations(report: Report, size: tuple[int, int, int], precision: str) -> None:
    """The kernels of a step that take longest, and how much of a replayed step they are together."""
    training = packed(*size, PROFILED, precision, replays=False)
    training.advance(CHUNK)
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as record:
        training.advance(2 * CHUNK)
        torch.cuda.synchronize()
    events = [event for event in record.key_averages() if event.self_device_time_total]
    by_operation = sorted(
        (event for event in events if event.key.startswith("aten::")), key=lambda event: -event.self_device_time_total
    )
    total = sum(event.self_device_time_total for event in by_operation)
    words = [
        f"{event.key.removeprefix('aten::')} {event.self_device_time_total / total:.0%}" for event in by_operation[:10]
    ]
    pixels, depth, width = size
    report.line(
        f"- {pixels} pixels, {depth}x{width}, {precision}, pack of {PROFILED}: "
        f"{total / CHUNK:.0f} us of kernels a step: {', '.join(words)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.25, help="of each case in each round")
    arguments = parser.parse_args()
    report = Report("gpu_speed", "python -m tests.benchmarks.gpu_speed")
    report.line(f"{device_name(torch.device('cuda'))}, CUDA {torch.version.cuda}")
    report.line(
        ", ".join(
            f"{str(dtype).removeprefix('torch.')} products {matmul_flops(dtype) / 1e12:.0f} TFLOP/s"
            for dtype in (torch.float32, torch.bfloat16)
        )
    )
    for size in SHAPES:
        speed(report, size, arguments.rounds, arguments.seconds)
    draws(report)
    report.line("\nA step by operation, share of its kernels' time:\n")
    for size in SHAPES:
        for precision in ("float32", "bfloat16"):
            operations(report, size, precision)
    report.write()


if __name__ == "__main__":
    main()

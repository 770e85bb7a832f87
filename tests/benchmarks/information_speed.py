"""Times the exact aggregate posterior against what it replaces, and against what it cannot be faster than.

    python tests/benchmarks/information_speed.py                     # some eight minutes on two cores
    python tests/benchmarks/information_speed.py --direct-share 1    # the slow ones over all pairs, too

direct       differences of all pairs in chunks, density of each, logsumexp: as public code does it
logsumexp    exponents by a matrix product in chunks, then logsumexp
bare         the matrix product and an in-place exp over cache-sized blocks, nothing else, where exp is fast
             (with exponents that underflow, exp alone takes up to 50 times longer)
ours         `log_aggregate_posterior`, with and without the draws' origins, on codes from collapsed to sharp

All in float64, over N draws x N codes. Repetitions are interleaved, so that other load meets all of them; a
ratio is the median of the ratios within a repetition.
"""

import argparse
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rdstudy.evaluation.aggregate_posterior import log_aggregate_posterior
from rdstudy.evaluation.mutual_information import mutual_information

REGIMES = {
    "collapsed (std 1)": (0.1, 1.0, 0.02),
    "std 0.3": (1.0, 0.3, 0.3),
    "std 0.1": (1.0, 0.1, 0.3),
    "std 0.01": (1.0, 0.01, 0.3),
    "std 0.001, means to 100": (30.0, 0.001, 0.3),
    "std from 0.001 to 10": (1.0, 0.1, 1.5),
}
"""Spread of the means, median std, standard deviation of log std."""
ROWS, COLUMNS = 256, 1024
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
clock = time.perf_counter


def codes(examples: int, latent: int, regime: str) -> tuple[Tensor, Tensor, Tensor]:
    """Means, log stds and a draw of each."""
    spread, std, jitter = REGIMES[regime]
    rng = np.random.default_rng(0)
    mean, log_std, noise = (torch.from_numpy(rng.standard_normal((examples, latent))) for _ in range(3))
    mean, log_std = mean * spread, math.log(std) + jitter * log_std
    return mean, log_std, mean + log_std.exp() * noise


def direct(z: Tensor, mean: Tensor, log_std: Tensor) -> None:
    """log q(z) as public code has it, 64 draws at a time."""
    for start in range(0, len(z), 64):
        difference = (z[start : start + 64, None] - mean) / log_std.exp()
        density = -0.5 * difference.square() - log_std - 0.5 * math.log(2 * math.pi)
        density.sum(-1).logsumexp(1)


def features(z: Tensor, mean: Tensor, log_std: Tensor) -> tuple[Tensor, Tensor]:
    """Draws and codes such that the inner products of their rows are log densities."""
    precision = (-2 * log_std).exp()
    constant = -0.5 * ((precision * mean.square()) + 2 * log_std + math.log(2 * math.pi)).sum(1, keepdim=True)
    draws = torch.cat([z.square(), z, torch.ones_like(z[:, :1])], dim=1)
    return draws, torch.cat([-0.5 * precision, precision * mean, constant], dim=1)


def logsumexp(z: Tensor, mean: Tensor, log_std: Tensor) -> None:
    """log q(z) by a matrix product, 256 draws at a time."""
    draws, components = features(z, mean, log_std)
    for start in range(0, len(z), ROWS):
        (draws[start : start + ROWS] @ components.T).logsumexp(1)


def bare(z: Tensor, mean: Tensor, log_std: Tensor) -> None:
    """Exponents and their exponentials, block by block."""
    draws, components = features(z, mean, log_std)
    buffer = torch.empty(ROWS * COLUMNS, dtype=torch.float64)
    for start in range(0, len(z), ROWS):
        rows = draws[start : start + ROWS]
        for at in range(0, len(components), COLUMNS):
            columns = components[at : at + COLUMNS]
            out = buffer[: len(rows) * len(columns)].view(len(rows), len(columns))
            torch.mm(rows, columns.T, out=out).exp_()


def information(examples: int, latent: int, regime: str) -> Callable[[], object]:
    """The mutual information from one draw of each code, ready to be called."""
    mean, log_std, _ = codes(examples, latent, regime)
    return lambda: mutual_information(mean, log_std, generator=np.random.default_rng(0))


def seconds(call: Callable[[], object]) -> float:
    """Time of one call by the clock chosen."""
    start = clock()
    call()
    return clock() - start


def peak_extra_memory(examples: int, latent: int, threads: int) -> float:
    """How far a fresh process grows during `information`, in MiB (Linux: peak resident size)."""
    arguments = [f"--examples={examples}", f"--latent={latent}", f"--threads={threads}", "--memory"]
    found = subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True, text=True)
    return float(found.stdout)


def print_memory(call: Callable[[], object]) -> None:
    """What `peak_extra_memory` asks the fresh process to do."""

    def status(key: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(key))

    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before = status("VmRSS")
    call()
    print((status("VmHWM") - before) / 1024)


def print_times(n: int, latent: int, repetitions: int, share: int) -> None:
    """The first table: what is timed against what."""
    populations = {regime: codes(n, latent, regime) for regime in REGIMES}
    mean, log_std, z = populations["collapsed (std 1)"]
    few = z[:share], mean, log_std
    slow = {"direct": partial(direct, *few), "logsumexp": partial(logsumexp, *few)}
    calls: dict[str, Callable[[], object]] = {"bare": partial(bare, z, mean, log_std)}
    for regime, (mean, log_std, z) in populations.items():
        unknown = partial(log_aggregate_posterior, z, mean, log_std)
        calls[f"ours, {regime}"] = partial(unknown, drawn_from=torch.arange(n))
        calls[f"ours, {regime}, origins unknown"] = unknown
    times: dict[str, list[float]] = {name: [] for name in (*slow, *calls)}
    for repetition in range(repetitions):
        if repetition == 0 or share < n:
            for name, call in slow.items():
                times[name].append(seconds(call) * n / share)
        for name, timed in calls.items():
            times[name].append(seconds(timed))

    def ratio(over: str, under: str) -> float:
        return statistics.median(a / b for a, b in zip(times[over], times[under], strict=False))

    print(f"direct and logsumexp: timed on {share} of {n} draws{' and scaled' if share < n else ''}\n")
    print("| what | seconds (median) | times bare | direct takes times as long |\n|---|---|---|---|")
    for name, taken in times.items():
        median = statistics.median(taken)
        print(f"| {name} | {median:.2f} | {ratio(name, 'bare'):.2f} | {ratio('direct', name):.0f} |")


def print_growth(latent: int, threads: int) -> None:
    """The second table: cost against the size of the population."""
    print("\nlog q(z) of every code's draw, and I from one draw of each code (std 0.3)\n")
    print("| N | pairs | std 0.3: seconds | std 0.01: seconds | I: seconds | I: peak extra MiB |")
    print("|---|---|---|---|---|---|")
    for size in (5_000, 10_000, 20_000, 40_000, 60_000):
        taken = []
        for regime in ("std 0.3", "std 0.01"):
            mean, log_std, z = codes(size, latent, regime)
            call = partial(log_aggregate_posterior, z, mean, log_std, drawn_from=torch.arange(size))
            taken.append(seconds(call))
        taken.append(seconds(information(size, latent, "std 0.3")))
        columns = " | ".join(f"{t:.2f}" for t in taken)
        print(f"| {size:,} | {size**2:.1e} | {columns} | {peak_extra_memory(size, latent, threads):.0f} |")


def main() -> None:
    global clock
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=60_000)
    parser.add_argument("--latent", type=int, default=10)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--direct-share", type=float, default=0.01, help="share of the draws for the slow ones")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: for a busy machine; use one thread")
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    n, latent, threads = options.examples, options.latent, options.threads
    torch.set_num_threads(threads)
    clock = CLOCKS[options.clock]
    information(2000, latent, "std 0.3")()  # starts threads and libraries
    if options.memory:
        print_memory(information(n, latent, "std 0.3"))
        return
    print(f"torch {torch.__version__}, {threads} threads, {options.clock} clock")
    print(f"{n} draws x {n} codes of {latent} latents, float64\n")
    print_times(n, latent, options.repetitions, min(n, max(64, round(options.direct_share * n))))
    print_growth(latent, threads)


if __name__ == "__main__":
    main()

"""Benchmarks that take turns on the whole machine: each case in processes of its own, timed in windows."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from rdstudy.execution.provenance import device_name

RESULTS = Path(__file__).with_name("results")


@dataclass(frozen=True)
class Case:
    """Something that trains: how many processes of how many threads, and what each makes and runs.

    `make` gives a function that trains for a number of steps; a call with `unit` steps is `unit * models` model-steps.
    """

    name: str
    make: Callable[[], Callable[[int], None]]
    models: int
    processes: int = 1
    threads: int = 1
    unit: int = 1


class Running:
    """A case's processes, waiting to be told to train."""

    def __init__(self, case: Case) -> None:
        self.case = case
        context = multiprocessing.get_context("spawn")
        self.pipes: list[Connection] = []
        for _ in range(case.processes):
            ours, theirs = context.Pipe()
            context.Process(target=_serve, args=(case, theirs), daemon=True).start()
            self.pipes.append(ours)
        for pipe in self.pipes:
            pipe.recv()

    def rate(self, seconds: float) -> float:
        """Model-steps per second of all processes together, at work for so long at the same time."""
        for pipe in self.pipes:
            pipe.send(seconds)
        rates: list[float] = [pipe.recv() for pipe in self.pipes]
        return sum(rates)

    def end(self) -> None:
        for pipe in self.pipes:
            pipe.send(None)


def _serve(case: Case, pipe: Connection) -> None:
    torch.set_num_threads(case.threads)
    train = case.make()
    train(2 * case.unit)
    pipe.send(None)
    while (seconds := pipe.recv()) is not None:
        steps, began = 0, time.perf_counter()
        while (took := time.perf_counter() - began) < seconds:
            train(case.unit)
            steps += case.unit
        pipe.send(steps * case.models / took)


def compare(cases: Sequence[Case], *, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Model-steps per second of each case in every round; the cases take turns within a round."""
    running = [Running(case) for case in cases]
    rates: dict[str, list[float]] = {case.name: [] for case in cases}
    for _ in range(rounds):
        for each in running:
            rates[each.case.name].append(each.rate(seconds))
    for each in running:
        each.end()
    return rates


def spread(numbers: Sequence[float], places: int = 1) -> str:
    """`min-median-max`."""
    return "-".join(f"{value:.{places}f}" for value in (min(numbers), statistics.median(numbers), max(numbers)))


def ratios(of: Sequence[float], to: Sequence[float]) -> list[float]:
    """Round by round."""
    return [a / b for a, b in zip(of, to, strict=True)]


def machine() -> str:
    """Date, processor, versions."""
    cpu = device_name(torch.device("cpu"))
    return (
        f"{dt.date.today()}, {cpu}, {os.cpu_count()} cores, torch {torch.__version__}, "
        f"Python {platform.python_version()}"
    )


class Report:
    """What a benchmark prints, also kept as `results/<name>.md`."""

    def __init__(self, name: str, command: str) -> None:
        self.path, self.lines = RESULTS / f"{name}.md", [f"`{command}`", "", machine(), ""]
        print("\n".join(self.lines), flush=True)

    def line(self, text: str = "") -> None:
        self.lines.append(text)
        print(text, flush=True)

    def write(self) -> None:
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text("\n".join(self.lines) + "\n")

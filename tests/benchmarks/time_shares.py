"""Where the time of a study goes: training, measuring, checkpoints and storage; and a training step, by operation.

    python -m tests.benchmarks.time_shares [--set dataset.root=DIR ...]
    python -m tests.benchmarks.time_shares --gpu published_figure [--set training.steps=6400 ...]

Each study is run in this process, one thread, into a temporary folder; its parts are timed as they are called. MNIST's
is taken where --set says where MNIST lies. With --gpu one study is run on a CUDA device.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from rdstudy.execution import evaluator, pack_run
from rdstudy.execution.budget import Budget
from rdstudy.execution.executors import run_in_process
from rdstudy.execution.protocols import RunContext
from rdstudy.execution.provenance import device_name
from rdstudy.execution.results_folder import TableWriter, open_results
from rdstudy.storage.checkpoints import AsyncCheckpointer
from rdstudy.study import load_study
from rdstudy.study.data import load_data
from rdstudy.training.packs import FAST_PACK, plan_packs
from rdstudy.training.trainer import PackTrainer
from tests.benchmarks.machine import Report
from tests.benchmarks.training_speed import SHAPES, packed, random_images

PARTS = ("training", "measuring", "checkpoints", "models, sheets, rows", "table")


def shares(report: Report, name: str, overrides: list[str], device: torch.device) -> None:
    """One line: what share of a study's time each part takes."""
    study = load_study(Path(f"studies/{name}.yaml"), overrides=overrides)
    seconds: dict[str, float] = defaultdict(float)

    def timed(part: str, owner: Any, method: str) -> Callable[[], None]:
        plain = getattr(owner, method)

        def call(*args: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return plain(*args, **named)
            finally:
                seconds[part] += time.perf_counter() - began

        setattr(owner, method, call)
        return lambda: setattr(owner, method, plain)

    undo = [
        timed("training", PackTrainer, "advance"),
        timed("measuring", evaluator, "measure"),
        timed("checkpoints", AsyncCheckpointer, "save"),
        timed("models, sheets, rows", pack_run.PackRun, "finish"),
        timed("table", TableWriter, "__call__"),
    ]
    data = load_data(study)
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder)
        at = RunContext(study, data, results, device)
        packs = plan_packs(study.cells.values(), pixels=data.pixels, device=device.type)
        began = time.perf_counter()
        with open_results(study, results, data.fingerprints) as table:
            run_in_process(packs, at, TableWriter(study, results, table), Budget())
        total = time.perf_counter() - began
    for each in undo:
        each()
    parts = " | ".join(f"{seconds[part] / total:.1%}" for part in PARTS)
    settings = " ".join(each for each in overrides if "root" not in each)
    report.line(f"| {name} {settings} | {len(study.cells)} | {total:.0f} | {parts} |")


def operations(report: Report, pixels: int, depth: int, width: int) -> None:
    """The operations of a training step that take longest."""
    models = FAST_PACK["cpu"]
    training = packed(random_images(pixels), depth, width, models)
    training.advance(70)
    with profile(activities=[ProfilerActivity.CPU]) as record:
        training.advance(120)
    events = sorted(record.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    words = [f"{event.key.removeprefix('aten::')} {event.self_cpu_time_total / total:.0%}" for event in events[:8]]
    report.line(f"- {pixels} pixels, {depth}x{width}, pack of {models}: {', '.join(words)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--set", action="append", default=[], help="of MNIST's study: dataset.root=DIR first")
    parser.add_argument("--gpu", metavar="STUDY", help="run this study, and nothing else, on a CUDA device")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    heading = f"| study | cells | seconds | {' | '.join(PARTS)} |\n|---|---|---|" + "---|" * len(PARTS)
    if arguments.gpu:
        report = Report("time_shares_gpu", f"python -m tests.benchmarks.time_shares --gpu {arguments.gpu}")
        report.line(device_name(torch.device("cuda")) + "\n\n" + heading)
        shares(report, arguments.gpu, arguments.set, torch.device("cuda"))
        report.write()
        return
    report = Report("time_shares", "python -m tests.benchmarks.time_shares")
    report.line(heading)
    shares(report, "quickstart", [], torch.device("cpu"))
    if arguments.set:
        shares(report, "mnist", arguments.set, torch.device("cpu"))
    report.line("\nA training step by operation, share of its time:\n")
    for size in SHAPES:
        operations(report, *size)
    report.write()


if __name__ == "__main__":
    main()

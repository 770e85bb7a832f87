"""A study of short cells: rdstudy against plain Ray Tune, which trains one cell a trial. Wall clock.

    python -m tests.benchmarks.tune_speed [--cells 96] [--steps 200] [--rounds 5]

Plain Tune as one would write it well: a class trainable that reuses its actors, data through the object store, one CPU
a trial, no checkpoints, results gathered from the grid. Twice: with the very code that trains packs here, a pack of
one, so that the tables must be equal bit for bit and all that differs is who is trained with whom; and with the loop
over a DataLoader that most would write, whose table is equal up to the seeds. Each starts Ray and loads PyTorch; cells
per second are those that ended after the first had, so without the start.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.benchmarks.machine import Report, ratios, spread

STUDY = """
name: short
dataset: {{name: images, path: {images}}}
grid:
  split: [random]
  beta: [5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02]
  depth: [1]
  width: [64]
  latent_dim: [10]
  train_size: [500]
  seed: {{count: {seeds}}}
training: {{steps: {steps}, batch_size: 128}}
evaluation:
  steps: [{steps}]
  mutual_information: {{at: never}}
  information_bounds: {{at: never}}
  nll: {{at: never}}
  num_images: 0
resources: {{save_models: false}}
"""
COLUMNS = ["rate_nats", "distortion_nats", "elbo_nats"]


def write_study(folder: Path, cells: int, steps: int) -> Path:
    """Short cells on random images of MNIST's size."""
    images = np.random.default_rng(0).integers(0, 256, (1000, 28, 28), dtype=np.uint8)
    np.savez(folder / "images.npz", allow_pickle=False, images=images)
    path = folder / "short.yaml"
    path.write_text(STUDY.format(images=folder / "images.npz", steps=steps, seeds=cells // 8))
    return path


def with_rdstudy(study: Path, folder: Path) -> pd.DataFrame:
    """`rdstudy run`, as anyone would."""
    results = folder / "results"
    command = [sys.executable, "-m", "rdstudy", "run", str(study), "--results", str(results), "--ray"]
    subprocess.run(command, check=True, capture_output=True)
    from rdstudy.storage import load_measurements

    table = load_measurements(results)
    return table.assign(ended=table["finished_at"].map(lambda at: at.timestamp()))


def with_tune(study: Path, folder: Path, *, loop: bool) -> pd.DataFrame:
    """The same cells, one a trial, in a fresh process."""
    words = [str(study), str(folder / "table.parquet"), *(["--loop"] if loop else [])]
    subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.tune_speed", "tune", *words], check=True, capture_output=True
    )
    return pd.read_parquet(folder / "table.parquet")


def plain_tune(study_file: Path, output: Path, *, loop: bool) -> None:
    """A study by Ray Tune alone."""
    import ray
    import torch
    from ray import tune

    from rdstudy.evaluation.evaluate import measure
    from rdstudy.execution.inputs import as_tensor, populations_of
    from rdstudy.study import Cell, load_study
    from rdstudy.study.data import load_data
    from rdstudy.training.trainer import PackTrainer
    from tests.benchmarks.rivals import conventional

    class OneCell(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, Any], dataset: Any = None) -> None:
            torch.set_num_threads(1)
            self.dataset = dataset
            self.reset_config(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.cell = Cell(**json.loads(new_config["cell"]))
            return True

        def step(self) -> dict[str, Any]:
            cell = self.cell
            [populations] = populations_of(self.dataset, [cell])
            images = as_tensor(self.dataset.images)
            if loop:
                mine = images[torch.from_numpy(populations["train"])]
                train, model = conventional(mine, cell.depth, cell.width, cell.seed, beta=cell.beta)
                train(cell.steps)
            else:
                training = PackTrainer([cell], images, [populations["train"]])
                training.advance(cell.steps)
                model = training.model(0)
            options: dict[str, Any] = {
                "beta": cell.beta,
                "stream_id": cell.stream_id,
                "step": cell.steps,
                "final": cell.steps,
            }
            found = measure(model, images, populations, study.evaluation, **options)
            ended = time.time()
            rows = [
                {"cell_id": cell.id, "beta": cell.beta, "population": name, **values.columns, "ended": ended}
                for name, values in found.items()
            ]
            return {"rows": rows, "pid": os.getpid(), "done": True}

    study = load_study(study_file)
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    ray.init(include_dashboard=False, log_to_driver=False)
    trainable = tune.with_resources(
        tune.with_parameters(OneCell, dataset=load_data(study).of(study.dataset.seed)), {"cpu": 1}
    )
    cells = [json.dumps(asdict(cell)) for cell in study.cells.values()]
    found = tune.Tuner(
        trainable,
        param_space={"cell": tune.grid_search(cells)},
        tune_config=tune.TuneConfig(reuse_actors=True),
        run_config=tune.RunConfig(
            verbose=0,
            storage_path=str(output.parent / "tune"),
            # Else every trial is saved at its end; one that cannot save fails, and takes its process with it.
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    ).fit()
    if found.errors:
        raise found.errors[0]
    table = pd.DataFrame([row for result in found for row in result.metrics["rows"]])
    table.attrs["processes"] = len({result.metrics["pid"] for result in found})
    table.to_parquet(output)


def main() -> None:
    if sys.argv[1:2] == ["tune"]:
        plain_tune(Path(sys.argv[2]), Path(sys.argv[3]), loop="--loop" in sys.argv)
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cells", type=int, default=96)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    report = Report("tune_speed", "python -m tests.benchmarks.tune_speed")
    ways: dict[str, Callable[[Path, Path], pd.DataFrame]] = {
        "rdstudy": with_rdstudy,
        "Tune, training code of the packs": partial(with_tune, loop=False),
        "Tune, DataLoader loop": partial(with_tune, loop=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    tables: dict[str, pd.DataFrame] = {}
    processes: dict[str, int] = {}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for n in range(arguments.rounds):
        for name, run in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                study = write_study(Path(folder), arguments.cells, arguments.steps)
                began = time.perf_counter()
                table = run(study, Path(folder))
                seconds[name].append(time.perf_counter() - began)
            print(f"round {n + 1}: {name} {seconds[name][-1]:.1f} s", flush=True)
            processes[name] = table.attrs.get("processes", 0)
            ends = table.groupby("cell_id")["ended"].max()
            rates[name].append((ends > ends.min()).sum() / (ends.max() - ends.min()))
            tables[name] = table.sort_values(["cell_id", "population"]).reset_index(drop=True)
        ours, same, _ = (table[COLUMNS] for table in tables.values())
        pd.testing.assert_frame_equal(same, ours, check_exact=True)
    report.line(
        f"{arguments.cells} cells of {arguments.steps} steps, 1x64, 784 pixels, batch 128; the first two tables are "
        "equal bit for bit\n"
    )
    report.line(
        "| | seconds, wall clock | times rdstudy's | cells per second | processes of trials | test D, beta = 1 (sd) |"
    )
    report.line("|---|---|---|---|---|---|")
    for name, times in seconds.items():
        at_one = tables[name].query("beta == 1 and population == 'test'")["distortion_nats"]
        times_ours = spread(ratios(times, seconds["rdstudy"]))
        words = f"{at_one.mean():.2f} ({at_one.std():.2f})"
        rate = spread(rates[name])
        report.line(f"| {name} | {spread(times)} | {times_ours} | {rate} | {processes[name] or ''} | {words} |")
    report.write()


if __name__ == "__main__":
    main()

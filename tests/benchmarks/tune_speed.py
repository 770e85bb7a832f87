"""A study of short cells: rdstudy against plain Ray Tune, which trains one cell a trial. Wall clock, tables equal.

    python -m tests.benchmarks.tune_speed [--cells 96] [--steps 200] [--rounds 5]

Plain Tune as one would write it well: a class trainable that reuses its actors, data through the object store, one CPU
a trial, no checkpoints, results gathered from the grid; once as it comes, and once with a setting that few know and
rdstudy uses, without which actors are hardly ever reused. It trains with the very code that trains packs here, a pack
of one, so that the tables can be compared value by value; what differs is who is trained with whom, and what each
does around it. Both include starting Ray and loading PyTorch.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
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
evaluation: {{steps: [{steps}], information: {{at: never}}, likelihood: {{at: never}}, sheet_examples: 0}}
resources: {{keep_models: false}}
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
    subprocess.run(
        [sys.executable, "-m", "rdstudy", "run", str(study), "--results", str(results)], check=True, capture_output=True
    )
    from rdstudy.store import load_measurements

    return load_measurements(results)


def with_tune(study: Path, folder: Path, *, one_pending: bool) -> pd.DataFrame:
    """The same cells, one a trial, in a fresh process."""
    words = [str(study), str(folder / "table.parquet"), *(["--one-pending"] if one_pending else [])]
    subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.tune_speed", "tune", *words], check=True, capture_output=True
    )
    return pd.read_parquet(folder / "table.parquet")


def plain_tune(study_file: Path, output: Path, *, one_pending: bool) -> None:
    """A study by Ray Tune alone."""
    import ray
    import torch
    from ray import tune

    from rdstudy.evaluation import measure
    from rdstudy.pack_run import as_tensor, cell_populations
    from rdstudy.preparation import load_data
    from rdstudy.study import Cell, load_study
    from rdstudy.training import PackTraining

    class OneCell(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, Any], dataset: Any = None) -> None:
            torch.set_num_threads(1)
            self.dataset = dataset
            self.reset_config(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.cell = Cell(**json.loads(new_config["cell"]))
            return True

        def step(self) -> dict[str, Any]:
            populations = cell_populations(self.dataset, self.cell)
            images = as_tensor(self.dataset.images)
            training = PackTraining([self.cell], images, [populations["train"]])
            training.advance(self.cell.steps)
            rows = []
            for name, indices in populations.items():
                options: dict[str, Any] = {"cell_id": self.cell.id, "step": self.cell.steps, "final": self.cell.steps}
                values = measure(training.model(0), images, indices, study.evaluation, population=name, **options)
                rows.append({"cell_id": self.cell.id, "population": name, **values.columns})
            return {"rows": rows, "done": True}

    study = load_study(study_file)
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    if one_pending:  # else Tune asks for an actor for each of many waiting trials, and reuses none
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = "1"
    ray.init(include_dashboard=False, log_to_driver=False)
    trainable = tune.with_resources(tune.with_parameters(OneCell, dataset=load_data(study)), {"cpu": 1})
    cells = [json.dumps(asdict(cell)) for cell in study.cells.values()]
    found = tune.Tuner(
        trainable,
        param_space={"cell": tune.grid_search(cells)},
        tune_config=tune.TuneConfig(reuse_actors=True),
        run_config=tune.RunConfig(verbose=0, storage_path=str(output.parent / "tune")),
    ).fit()
    pd.DataFrame([row for result in found for row in result.metrics["rows"]]).to_parquet(output)


def main() -> None:
    if sys.argv[1:2] == ["tune"]:
        plain_tune(Path(sys.argv[2]), Path(sys.argv[3]), one_pending="--one-pending" in sys.argv)
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cells", type=int, default=96)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--as-it-comes", action="store_true", help="with Tune's own setting too, ten minutes a round")
    arguments = parser.parse_args()
    report = Report("tune_speed", "python -m tests.benchmarks.tune_speed")
    names = ["rdstudy", "Tune, one trial pending", "Tune as it comes"][: 3 if arguments.as_it_comes else 2]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for n in range(arguments.rounds):
        tables = []
        for name in names:
            with tempfile.TemporaryDirectory() as folder:
                study = write_study(Path(folder), arguments.cells, arguments.steps)
                began = time.perf_counter()
                if name == "rdstudy":
                    table = with_rdstudy(study, Path(folder))
                else:
                    table = with_tune(study, Path(folder), one_pending=name == names[1])
                seconds[name].append(time.perf_counter() - began)
            print(f"round {n + 1}: {name} {seconds[name][-1]:.1f} s", flush=True)
            tables.append(table.sort_values(["cell_id", "population"])[COLUMNS].reset_index(drop=True))
        for table in tables[1:]:
            pd.testing.assert_frame_equal(table, tables[0], check_exact=True)
    report.line(
        f"{arguments.cells} cells of {arguments.steps} steps, 1x64, 784 pixels, batch 128; tables equal bit for bit\n"
    )
    report.line("| | seconds, wall clock | times rdstudy's |\n|---|---|---|")
    for name, times in seconds.items():
        report.line(f"| {name} | {spread(times)} | {spread(ratios(times, seconds['rdstudy'][: len(times)]))} |")
    report.write()


if __name__ == "__main__":
    main()

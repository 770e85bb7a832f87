"""Whether annealed importance sampling has converged on the models of a study: more steps, and bounds from both sides.

    python -m tests.benchmarks.ais_convergence RESULTS [--steps 250 500 1000] [--examples 8] [--set dataset.root=DIR]

One line for each finished cell of seed 0: the NLL of a few test images by each number of steps, with its error over
draws, the gap of bidirectional Monte Carlo on as many simulated images, and seconds of one core.
"""

from __future__ import annotations

import argparse
import time

import torch

from rdstudy.evaluation.ais import annealed_importance_sampling
from rdstudy.evaluation.bdmc import bidirectional_monte_carlo
from rdstudy.execution.inputs import as_tensor, populations_of
from rdstudy.execution.status import study_status
from rdstudy.storage.paths import storage_path
from rdstudy.storage.schema import TEST
from rdstudy.storage.study_record import recorded_study
from rdstudy.storage.weights import load_model
from rdstudy.study.data import load_data
from rdstudy.study.seeding import generator


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results")
    parser.add_argument("--steps", type=int, nargs="+", default=[250, 500, 1000])
    parser.add_argument("--examples", type=int, default=8)
    parser.add_argument("--set", dest="settings", action="append", default=[])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = storage_path(arguments.results)
    study = recorded_study(results, overrides=arguments.settings)
    data, status = load_data(study), study_status(study, results)
    for cell in status.cells.values():
        if cell.seed != 0 or cell.id not in status.finished:
            continue
        model, dataset = load_model(results, cell.id), data.of(cell.data_seed)
        indices = populations_of(dataset, [cell])[0][TEST][: arguments.examples]
        images = as_tensor(dataset.images)[torch.from_numpy(indices)].float() / 255
        line = f"{cell.split} {cell.depth}x{cell.width} {cell.train_size} images, beta {cell.beta:g}:"
        for steps in arguments.steps:
            rng, began = generator(cell.id, "benchmark", steps), time.process_time()
            found = annealed_importance_sampling(model, images, generator=rng, steps=steps)
            seconds = time.process_time() - began
            gap = bidirectional_monte_carlo(model, images, generator=rng, steps=steps)
            line += f" {steps} steps {found.value:.2f} ({found.standard_error:.2f}), gap {gap.gap:.2f} "
            line += f"({gap.gap_error:.2f}), {seconds:.1f} s;"
        print(line.rstrip(";"), flush=True)


if __name__ == "__main__":
    main()

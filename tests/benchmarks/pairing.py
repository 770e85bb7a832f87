"""What paired seeds are worth: how much differences between betas vary over seeds, with and without shared streams.

    python -m tests.benchmarks.pairing --root DIR [--seeds 10]

MNIST in DIR (as torchvision lays it out), two networks, betas against beta 1 at the last step, test distortion.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import pandas as pd
import torch

import rdstudy
from rdstudy.execution.budget import Budget
from rdstudy.execution.run import TableWriter, open_results, run_inline
from rdstudy.execution.worker import RunContext
from rdstudy.study import Study, parse_study
from rdstudy.study.data import load_data
from rdstudy.training.packs import plan_packs
from tests.benchmarks.machine import Report

STUDY = """
name: pairing
dataset: {{name: mnist, root: {root}, test_size: 2000}}
grid:
  split: [standard]
  beta: [1, 0.5, 0.1, 0.01]
  depth: [1, 3]
  width: [64]
  latent_dim: [10]
  train_size: [8000]
  seed: {{count: {seeds}}}
training: {{steps: 2000, batch_size: 128}}
evaluation: {{steps: [2000], mutual_information: {{at: never}}, nll: {{at: never}}, num_images: 0}}
resources: {{device: cpu}}
"""


def finals(study: Study) -> pd.DataFrame:
    """Test distortion of every cell: rows (depth, seed), columns beta."""
    dataset = load_data(study)
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder)
        at = RunContext(study, dataset, results, torch.device("cpu"))
        packs = plan_packs(study.cells.values(), pixels=dataset.images.shape[1])
        with open_results(study, results, dataset.fingerprint) as table:
            run_inline(packs, at, TableWriter(study, results, table), Budget())
        rows = rdstudy.load_measurements(results)
    rows = rows[(rows["population"] == "test") & rows["is_final"].astype(bool)]
    return rows.pivot_table(index=["depth", "seed"], columns="beta", values="distortion_nats")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--root", required=True)
    parser.add_argument("--seeds", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    study = parse_study(STUDY.format(root=arguments.root, seeds=arguments.seeds))
    unpaired, paired = finals(study.of_numerics(1)), finals(study)
    report = Report("pairing", f"python -m tests.benchmarks.pairing --root DIR --seeds {arguments.seeds}")
    report.line("Standard deviation over seeds of test distortion minus that at beta 1, nats per example.\n")
    report.line("| network | beta | unpaired | paired | ratio | mean difference, unpaired and paired |")
    report.line("|---|---|---|---|---|---|")
    for depth in (1, 3):
        for beta in (0.5, 0.1, 0.01):
            before, after = (
                table.loc[depth][beta].sub(table.loc[depth][1.0]).astype(float) for table in (unpaired, paired)
            )
            report.line(
                f"| {depth}x64 | {beta:g} | {before.std():.2f} | {after.std():.2f} | "
                f"{after.std() / before.std():.2f} | {before.mean():.1f}, {after.mean():.1f} |"
            )
    report.write()


if __name__ == "__main__":
    main()

"""What paired seeds are worth: how much differences between betas vary over seeds, with and without shared streams.

    python -m tests.benchmarks.pairing --root DIR [--seeds 10]

MNIST in DIR (as torchvision lays it out), two networks, betas against beta 1 at the last step, test distortion.
"""

from __future__ import annotations

import argparse
import tempfile

import pandas as pd
import torch

from rdstudy.execution.run import run_study
from rdstudy.storage.paths import storage_path
from rdstudy.study import Study, parse_study
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
evaluation:
  steps: [2000]
  mutual_information: {{at: never}}
  information_bounds: {{at: never}}
  nll: {{at: never}}
  num_images: 0
resources: {{device: cpu}}
"""


def finals(study: Study) -> pd.DataFrame:
    """Test distortion of every cell: rows (depth, seed), columns beta."""
    with tempfile.TemporaryDirectory() as folder:
        rows = run_study(study, storage_path(folder), ray=False).measurements()
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

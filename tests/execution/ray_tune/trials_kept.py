"""A study of many packs of next to no work on a real Ray; and how many of Tune's trials are in memory when it ends.

python -m tests.execution.ray_tune.trials_kept FOLDER
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rdstudy.data.dataset import make_dataset
from rdstudy.execution.budget import Budget
from rdstudy.execution.device import pick_device
from rdstudy.execution.protocols import PackProgress, RunContext
from rdstudy.execution.ray_tune.cluster import cluster
from rdstudy.execution.ray_tune.executor import run_on_ray
from rdstudy.execution.results_folder import TableWriter, open_results
from rdstudy.execution.status import study_status
from rdstudy.study import Study, parse_study
from rdstudy.study.data import StudyData
from rdstudy.training.packs import Pack, plan_packs

STUDY = """\
name: small
dataset: {name: images, path: images.npz}
grid: {split: [random], beta: [1], depth: [1], width: [8], latent_dim: [2], train_size: [32], seed: {count: %d}}
training: {steps: 2, batch_size: 8}
evaluation: {steps: [2], num_images: 0, mutual_information: {at: never}, nll: {at: never}}
resources: {pack_size: 1, save_models: false, device: cpu}
"""


def small_study(cells: int) -> Study:
    """As many cells as wanted, two steps each."""
    return parse_study(STUDY % cells)


def run_small_packs(results: Path, packs: int, ended: Callable[[int], None]) -> None:
    """Train so many packs of one cell on local Ray; `ended` is told how many have, at the end of each."""
    study = small_study(packs)
    pixels = np.random.default_rng(0).integers(0, 256, (100, 64), dtype=np.uint8)
    dataset = make_dataset("images", pixels, (8, 8, 1))
    n = 0

    def listen(pack: Pack, progress: PackProgress) -> None:
        nonlocal n
        if progress.staged:
            n += 1
            ended(n)

    at = RunContext(study, StudyData({0: dataset}), results, pick_device("cpu"))
    with open_results(study, results, {0: dataset.fingerprint}) as table, cluster(None, object_store_bytes=2**20):
        planned = plan_packs(study_status(study, results).missing, pixels=64, pack_size=1)
        run_on_ray(planned, at, TableWriter(study, results, table, listen), Budget())


def main(results: Path) -> None:
    from ray.tune.experiment.trial import Trial

    packs = 40 + 2 * (os.cpu_count() or 1)
    logging.getLogger("rdstudy").setLevel(logging.DEBUG)
    logging.getLogger("rdstudy").addHandler(logging.StreamHandler())

    def count(n: int) -> None:
        if n == packs:
            gc.collect()
            print("packs", packs, "trials", sum(type(each) is Trial for each in gc.get_objects()))

    run_small_packs(results, packs, count)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

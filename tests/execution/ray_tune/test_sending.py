"""The data set comes to a node once, whatever trains there: real Ray, several nodes, several workers and packs each."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from rdstudy.storage import load_measurements
from tests.execution.ray_tune.kill_and_resume import Runs
from tests.execution.ray_tune.nodes import nodes

pytestmark = pytest.mark.cluster

STUDY = """
name: sent
dataset: {name: images, path: %s, test_size: 50}
grid: {split: [random], beta: [1], depth: [1], width: [8], latent_dim: [2], train_size: [64], seed: {count: 24}}
training: {steps: 20, batch_size: 16}
evaluation: {steps: [20], num_images: 0}
resources: {pack_size: 2, device: cpu}
"""


def test_a_node_gets_the_images_once_however_many_workers_and_packs_it_has(tmp_path: Path):
    images = np.random.default_rng(0).integers(0, 256, (20_000, 32, 32), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", allow_pickle=False, images=images)
    (tmp_path / "sent.yaml").write_text(STUDY % (tmp_path / "images.npz"))
    run = Runs(tmp_path / "sent.yaml", tmp_path / "results", tmp_path)
    with nodes() as cluster:
        cluster.start_head()
        for _ in range(2):
            cluster.start_node(cpus=2)
        assert max(cluster.now().stored.values()) < images.nbytes / 100
        code, said = run.finish("--address", cluster.address, timeout=900)
        assert code == 0, said
        after = cluster.now()
    stored, workers = after.stored, Counter(after.actors)
    print(
        f"\n{images.nbytes} bytes of images; came into stores: {sorted(stored.values())}; workers: {workers.values()}"
    )
    assert load_measurements(run.results)["pack_id"].nunique() == 12
    assert len(stored) == 3
    assert len(workers) == 2
    assert all(count >= 2 for count in workers.values()), workers
    for node, came in stored.items():
        assert images.nbytes <= came < 1.5 * images.nbytes, (node, came)

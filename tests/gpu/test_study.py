"""Whole studies on a CUDA device: rows, resuming, memory that does not suffice, and Ray."""

import importlib.util
import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import rdstudy
from rdstudy.execution.protocols import RunContext
from rdstudy.execution.worker import run_pack
from rdstudy.storage.schema import PROVENANCE
from rdstudy.study import parse_study
from rdstudy.study.data import StudyData, load_data
from rdstudy.training.packs import Pack
from tests.execution.ray_tune.kill_and_resume import values, write_study
from tests.execution.test_worker import begin, rows, trained

pytestmark = pytest.mark.gpu


@pytest.fixture
def at(dataset, make_study, tmp_path, cuda):
    """Where the tiny study is trained: `at("folder")`."""

    def make(name: str = "results", device: torch.device = cuda) -> RunContext:
        return RunContext(
            make_study(f"resources.device={device.type}"), StudyData({0: dataset}), tmp_path / name, device
        )

    return make


def test_a_pack_trained_twice_gives_the_same_rows(at):
    assert trained(at("first")) == trained(at("second"))


def test_a_pack_interrupted_anywhere_gives_the_same_rows(at):
    expected, place = trained(at("whole")), at("interrupted")
    place = RunContext(
        place.study.model_copy(
            update={"resources": place.study.resources.model_copy(update={"checkpoint_seconds": 1e-9})}
        ),
        place.data,
        place.results,
        place.device,
    )
    found: list = []
    for reports in (1, 2, 4, 3, 5, 2, 3, 1, 2, 100):  # some of them within the measuring of a step
        running = begin(place)
        found = list(itertools.islice(running, reports))
        running.close()
    assert rows(place.results, found) == expected


def test_measures_of_a_cell_are_those_of_a_cpu_within_rounding(at):
    """Trained in float32 for 130 steps, too few for rounding to grow."""
    there, here = trained(at("gpu")), trained(at("cpu", torch.device("cpu")))
    assert there.keys() == here.keys()
    for key, row in here.items():
        for name, value in row.items():
            if isinstance(value, float) and name not in ("seconds",):
                assert there[key][name] == pytest.approx(value, rel=2e-3, abs=2e-3), (key, name)


def test_a_pack_that_the_gpu_has_no_memory_for_is_halved(tmp_path, cuda):
    """Real memory: 64 models of 90 MB of state each where 2.5 GB may be used."""
    images = np.random.default_rng(0).integers(0, 256, (100, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    study = parse_study(
        f"name: wide\ndataset: {{name: images, path: {tmp_path / 'images.npz'}}}\n"
        "grid: {split: [random], beta: [1], depth: [1], width: [2800], train_size: [50], seed: {count: 64}}\n"
        "training: {steps: 70, batch_size: 10}\n"
        "evaluation: {steps: [70], mutual_information: {at: never}, nll: {at: never}, num_images: 0}\n"
        "resources: {save_models: false}"
    )
    data = load_data(study)
    free, total = torch.cuda.mem_get_info(0)
    assert free > 4e9
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(2.5e9 / total, 0)
    try:
        place = RunContext(study, data, tmp_path / "results", cuda)
        staged = [p for p in run_pack(Pack(tuple(study.cells.values())), place) if p.staged or p.failure]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, 0)
    assert not [p.failure for p in staged if p.failure]
    sizes = [len(p.cells) for p in staged]
    print(f"packs of 64 became {sizes}")
    assert sum(sizes) == 64
    assert max(sizes) < 64


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_ray_on_a_gpu_gives_the_bits_that_one_process_gives(tmp_path: Path, cuda):
    study = write_study(tmp_path, cells=16, steps=500, pack_size=4)
    said = {}
    for name, options in (("ray", ["--ray"]), ("inline", ["--no-ray"])):
        command = [sys.executable, "-m", "rdstudy", "run", str(study), "--results", str(tmp_path / name), *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, env={**os.environ}, check=False)
        said[name] = done.stdout + done.stderr
        assert done.returncode == 0, said[name]
    table = rdstudy.load_measurements(tmp_path / "ray")
    assert set(table["device"].str.slice(0, 4)) == {"cuda"}
    pd.testing.assert_frame_equal(values(tmp_path / "ray"), values(tmp_path / "inline"), check_exact=True)
    assert set(PROVENANCE) <= set(table.columns)


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_a_machine_with_a_gpu_is_fit_for_packs_that_want_one(tmp_path: Path, cuda):
    """Machines are asked by tasks that reserve no GPU, which must see it all the same."""
    ask = (
        "import ray; from rdstudy.execution.ray_tune.node_checks import check_nodes; ray.init(log_to_driver=False); "
        f"check_nodes({str(tmp_path)!r}, 'cuda', gpus_per_pack=1.0); print('all fit')"
    )
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip().endswith("all fit"), done.stdout + done.stderr

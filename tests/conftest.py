"""What tests of several rooms share: a tiny data set of noise, and a tiny study of it."""

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rdstudy import cli
from rdstudy.data.dataset import Dataset, make_dataset
from rdstudy.study import Cell, Study, parse_study
from tests.command import Ended

torch.set_num_threads(1)  # tests run side by side; and equal bits are promised on one thread

STUDY = """\
name: tiny
dataset: {name: images, path: %s}
grid:
  split: [random]
  beta: [1, 0.1]
  depth: [1]
  width: [9]
  latent_dim: [3]
  train_size: [40]
  seed: {count: 2}
training: {steps: 130, batch_size: 10}
evaluation: {steps: [40, 64, 100], num_images: 2}
resources: {device: cpu}
"""
"""Four cells; their training crosses two chunks of 64 steps, and many epochs of 40 examples."""

CELL = Cell(
    dataset="images",
    data_seed=0,
    dataset_size=None,
    test_size=None,
    split="random",
    train_size=40,
    depth=1,
    width=9,
    latent_dim=3,
    prior="standard_normal",
    beta=1.0,
    seed=0,
    steps=100,
    batch_size=10,
    learning_rate=1e-3,
    optimizer="adam",
    precision="float32",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with the longest tests first, so that none is left alone at the end."""
    ray = "tests/execution/ray_tune/"
    items.sort(key=lambda item: not item.nodeid.startswith(ray))


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    """A hundred images of noise, 3 x 5 grey: 80 for training, 20 for test. No size is a multiple of 8."""
    pixels = np.random.default_rng(7).integers(0, 256, (100, 15), dtype=np.uint8)
    return make_dataset("images", pixels, (3, 5, 1))


@pytest.fixture
def images_file(dataset: Dataset, tmp_path: Path) -> Path:
    """The same images as a file of one's own."""
    path = tmp_path / "images.npz"
    np.savez(path, images=dataset.images.reshape(-1, 3, 5))
    return path


@pytest.fixture
def study_file(images_file: Path, tmp_path: Path) -> Path:
    """The tiny study as a file."""
    path = tmp_path / "tiny.yaml"
    path.write_text(STUDY % images_file)
    return path


@pytest.fixture(scope="session")
def make_study() -> Callable[..., Study]:
    """The tiny study with settings changed: `make_study("grid.beta=[1]")`."""

    def make(*overrides: str) -> Study:
        return parse_study(STUDY % "images.npz", overrides=overrides)

    return make


@pytest.fixture(scope="session")
def make_cell() -> Callable[..., Cell]:
    """One cell with fields changed: `make_cell(beta=0.1)`."""

    def make(**changes: Any) -> Cell:
        return replace(CELL, **changes)

    return make


@pytest.fixture
def command(capsys, monkeypatch, tmp_path) -> Callable[..., Ended]:
    """Run `rdstudy ...` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Ended:
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            with pytest.raises(SystemExit) as ended:
                cli.main([str(argument) for argument in arguments])
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        out, err = capsys.readouterr()
        code = ended.value.code
        return Ended(code if isinstance(code, int) else 0, out, err)

    return run

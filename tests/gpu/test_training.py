"""Packs on a CUDA device: recorded steps, draws made ahead, and the CPU's results."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from rdstudy.study import Cell
from rdstudy.training.batches import CHUNK, BatchSampler
from rdstudy.training.trainer import PackTrainer
from tests.training.test_trainer import some_cells, training_set, weights

pytestmark = pytest.mark.gpu

STEPS = 200


@pytest.fixture(scope="module")
def images(dataset, cuda) -> torch.Tensor:
    return torch.from_numpy(dataset.images.copy()).to(cuda)


def start(cells: Sequence[Cell], images: torch.Tensor, *, replays: bool = True) -> PackTrainer:
    return PackTrainer(cells, images, [training_set(cell) for cell in cells], replays=replays)


def train(
    cells: Sequence[Cell], images: torch.Tensor, *, stops: Sequence[int] = (), replays: bool = True
) -> dict[str, torch.Tensor]:
    """Every cell's weights at the end, by its id; interrupted at the given steps."""
    training = start(cells, images, replays=replays)
    for stop in stops:
        training.advance(stop)
        tensors, record = training.state()
        saved = {name: tensor.cpu().clone() for name, tensor in tensors.items()}
        training = start(cells, images, replays=replays)
        training.restore(saved, record)
    training.advance(cells[0].steps)
    return weights(training)


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[cell], second[cell]) for cell in first)


KINDS = [
    {"optimizer": "adam", "precision": "float32"},
    {"optimizer": "adam", "precision": "bfloat16", "width": 64, "batch_size": 33},
    {"optimizer": "adamw", "precision": "float64", "depth": 3},
    {"optimizer": "sgd", "precision": "float32", "depth": 0},
    {"optimizer": "adam", "precision": "float32", "width": 512, "batch_size": 128, "depth": 2},
    {"optimizer": "adam", "precision": "float32", "prior": "vampprior(40)"},
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_replayed_steps_have_the_bits_of_steps_one_by_one(make_cell, images, kind):
    cells = some_cells(make_cell, **kind, steps=STEPS)
    assert same(train(cells, images), train(cells, images, replays=False))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_interruptions_change_no_bit(make_cell, images, kind):
    cells = some_cells(make_cell, **kind, steps=STEPS)
    stops = [0, 1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 150, STEPS]
    assert same(train(cells, images), train(cells, images, stops=stops))


def test_a_cell_trains_in_company_as_alone(make_cell, images):
    cells = some_cells(make_cell, precision="float64", steps=STEPS)
    together = train(cells, images)
    for cell in cells:
        torch.testing.assert_close(train([cell], images)[cell.id], together[cell.id], rtol=0, atol=1e-9)


def test_in_double_precision_a_gpu_trains_the_models_that_a_cpu_trains(make_cell, images):
    cells = some_cells(make_cell, precision="float64", steps=STEPS)
    here = train(cells, images)
    for cell_id, row in train(cells, images.cpu()).items():
        torch.testing.assert_close(here[cell_id].cpu(), row, rtol=0, atol=1e-9)


def test_a_model_that_diverges_is_frozen_and_its_companions_go_on_untouched(make_cell, images):
    cells = some_cells(make_cell, steps=STEPS)
    expected = train(cells, images)
    training = start(cells, images)
    training.advance(30)
    training.stack.rows.data[2, 5] = float("nan")
    training.advance(STEPS)
    assert training.diverged == {2: "weights were not finite any more at step 64; frozen there"}
    for k, (cell_id, row) in enumerate(weights(training).items()):
        assert torch.equal(row, torch.zeros_like(row) if k == 2 else expected[cell_id])


def test_those_that_stay_go_on_when_others_leave(make_cell, images):
    cells = some_cells(make_cell, precision="float64", steps=STEPS)
    expected = train(cells, images)
    training = start(cells, images)
    training.advance(70)
    rest = training.without({0, 3})
    rest.advance(STEPS)
    for cell_id, row in weights(rest).items():
        torch.testing.assert_close(row, expected[cell_id], rtol=0, atol=1e-9)


@pytest.mark.parametrize("chunks", [[0, 1, 2, 3], [3], [0, 1, 3], [2, 1, 3]], ids=str)
def test_draws_made_ahead_are_those_made_when_they_are_wanted(cuda, chunks):
    def draws_on(device: torch.device) -> BatchSampler:
        options: dict[str, Any] = {"batch_size": 10, "n_rows": 32, "latent_dim": 3, "last_step": 10**6}
        return BatchSampler(["a", "b"], [np.arange(2000), np.arange(7)], **options, dtype=torch.float32, device=device)

    ahead, wanted = draws_on(cuda), draws_on(torch.device("cpu"))
    for chunk in chunks:
        ahead.load(chunk)
    wanted.load(chunks[-1])
    assert torch.equal(ahead.order.cpu(), wanted.order)
    assert torch.equal(ahead.noise.cpu(), wanted.noise)

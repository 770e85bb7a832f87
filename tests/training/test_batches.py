from collections import Counter
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rdstudy.study.seeding import generator
from rdstudy.training.batches import CHUNK, BatchSampler, batch_indices, permutation


def order(cell_id: str, n_train: int, batch_size: int, start: int, stop: int) -> np.ndarray:
    return batch_indices(n_train, batch_size, start, stop, partial(permutation, cell_id, n_train))


def draws_of(cells: dict[str, int], *, batch_size: int = 10, dtype: torch.dtype = torch.float32) -> BatchSampler:
    """Of cells with training sets of these sizes, whose images are numbered from 1000 on."""
    train = [1000 + np.arange(size) for size in cells.values()]
    return BatchSampler(
        list(cells),
        train,
        batch_size=batch_size,
        n_rows=32,
        latent_dim=3,
        last_step=10**6,
        dtype=dtype,
        device=torch.device("cpu"),
    )


# --- order ---


@settings(deadline=None, max_examples=60)
@given(n_train=st.integers(1, 30), batch_size=st.integers(1, 40), steps=st.integers(1, 40), data=st.data())
def test_order_does_not_depend_on_how_the_steps_are_cut(n_train, batch_size, steps, data):
    cut = data.draw(st.integers(0, steps))
    whole = order("a", n_train, batch_size, 0, steps)
    parts = [order("a", n_train, batch_size, *part) for part in [(0, cut), (cut, steps)] if part[0] < part[1]]
    assert np.array_equal(np.concatenate(parts), whole)
    assert whole.shape == (steps, batch_size)


@settings(deadline=None, max_examples=60)
@given(n_train=st.integers(1, 30), batch_size=st.integers(1, 40))
def test_every_example_is_seen_once_per_epoch(n_train, batch_size):
    sequence = order("a", n_train, batch_size, 0, 3 * n_train).ravel()
    epochs = sequence.reshape(3 * batch_size, n_train)
    assert (np.sort(epochs, axis=1) == np.arange(n_train)).all()
    assert set(Counter(sequence.tolist()).values()) == {3 * batch_size}


def test_epochs_and_cells_have_orders_of_their_own():
    first, second = order("a", 50, 50, 0, 2)
    (other,) = order("b", 50, 50, 0, 1)
    assert (first != second).any()
    assert (first != other).any()
    assert (first != np.arange(50)).any()


# --- a pack's draws ---


@pytest.mark.parametrize("chunks", [[0, 1, 2], [2], [1, 1, 0, 2], [2, 1, 2]], ids=str)
def test_a_chunk_does_not_depend_on_what_was_drawn_before(chunks: Sequence[int]):
    """An epoch of the larger training set is longer than a chunk, so its permutation is kept from chunk to chunk."""
    mine, fresh = draws_of({"a": 2000, "b": 7}), draws_of({"a": 2000, "b": 7})
    for chunk in chunks:
        mine.load(chunk)
    fresh.load(chunks[-1])
    assert torch.equal(mine.order, fresh.order)
    assert torch.equal(mine.noise, fresh.noise)


def test_a_cell_draws_the_same_alone_and_in_company():
    alone, together = draws_of({"b": 30}), draws_of({"a": 50, "b": 30})
    for draws in (alone, together):
        draws.load(4)
    assert torch.equal(alone.order, together.order[:, 32:])
    assert torch.equal(alone.noise, together.noise[:, 1:])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws_are_those_of_the_cells_own_generators(dtype):
    draws = draws_of({"a": 30}, dtype=dtype)
    draws.load(2)
    expected = generator("a", "noise", 2).standard_normal((CHUNK, 10, 3), dtype=np.float32)
    assert draws.noise.dtype == dtype
    assert np.array_equal(draws.noise[:, 0, :10].numpy(), expected)
    assert np.array_equal(draws.order[:, :10].numpy(), 1000 + order("a", 30, 10, 2 * CHUNK, 3 * CHUNK))


def test_rows_beyond_the_batch_are_zero():
    draws = draws_of({"a": 30})
    draws.load(0)
    assert not draws.order[:, 10:].any()
    assert not draws.noise[:, :, 10:].any()

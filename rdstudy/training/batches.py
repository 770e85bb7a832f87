"""Which examples and which noise the steps of a pack take, a chunk of steps at once.

    (stream, "order", epoch) -> permutations, cut into batches;    (stream, "noise", chunk) -> standard normal draws

A stream has its own generators, so a cell draws the same alone, in any pack, and after any interruption; they are
NumPy's, on the CPU, so it draws the same bits for every device. What several cells of a pack share (they are compared
within a seed) is drawn once. A GPU takes the steps of a chunk in less time than a
core needs to draw for them: for a GPU, threads draw the next chunk and send it there while this one trains.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache, partial

import numpy as np
import torch
from jaxtyping import Int32, Int64
from torch import Tensor

from rdstudy.study.seeding import generator

CHUNK = 64
"""Steps whose noise is drawn at once, and after which weights are checked to be finite."""
MAX_THREADS = 16
"""That draw for one pack; more wait for Python more than they draw."""


def permutation(stream_id: str, n_train: int, epoch: int) -> Int32[np.ndarray, " train"]:
    """The order in which the cells of a stream see their training set in one epoch."""
    return generator(stream_id, "order", epoch).permutation(n_train).astype(np.int32)


def batch_indices(
    n_train: int, batch_size: int, start: int, stop: int, in_epoch: Callable[[int], Int32[np.ndarray, " train"]]
) -> Int32[np.ndarray, "steps batch"]:
    """Positions within the training set of the examples of steps `start` to `stop`.

    Epoch after epoch, each a fresh permutation, is one endless sequence that batches are cut from: every example is
    seen equally often, whatever the batch size.

    Args:
        n_train: size of the training set.
        batch_size: examples per step.
        start: the first step.
        stop: the step after the last.
        in_epoch: gives the permutation of an epoch; asked for them in ascending order.
    """
    first, last = start * batch_size, stop * batch_size
    epochs = range(first // n_train, -(-last // n_train))
    sequence = np.concatenate([in_epoch(epoch) for epoch in epochs])[first - epochs.start * n_train :]
    return sequence[: last - first].reshape(stop - start, batch_size)


class BatchSampler:
    """Order and noise of one chunk of steps of a pack, on the device that trains; always in the same memory.

    Attributes:
        order: [CHUNK, models * rows], int32: which images each step takes, model after model.
        noise: [CHUNK, models, rows, latent]: standard normal draws of each step. Both are 0 in rows beyond the batch.
    """

    def __init__(
        self,
        stream_ids: Sequence[str],
        train_indices: Sequence[Int64[np.ndarray, " _train"]],
        *,
        batch_size: int,
        n_rows: int,
        latent_dim: int,
        last_step: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        """
        Args:
            stream_ids: every model's stream; models of one stream have equal training sets.
            train_indices: which of the images each cell trains on.
            batch_size: examples per step and model.
            n_rows: rows per step and model, not fewer.
            latent_dim: draws per example.
            last_step: after which nothing is drawn ahead.
            dtype: of the noise; it is drawn as float32.
            device: where order and noise are wanted.
        """
        models, self._last = len(stream_ids), last_step
        streams = list(dict.fromkeys(stream_ids))
        first = [stream_ids.index(stream) for stream in streams]
        self._stream_of = torch.tensor([streams.index(stream) for stream in stream_ids], device=device)
        self._host = _Host(
            streams, [train_indices[k] for k in first], batch_size, n_rows, latent_dim, pinned=device.type == "cuda"
        )
        self._ahead = _Ahead(self._host, device) if device.type == "cuda" else None
        self.order = torch.zeros(CHUNK, models * n_rows, dtype=torch.int32, device=device)
        self.noise = torch.zeros(CHUNK, models, n_rows, latent_dim, dtype=dtype, device=device)
        self._chunk: int | None = None

    def load(self, chunk: int) -> None:
        """Have order and noise of this chunk."""
        if chunk == self._chunk:
            return
        if self._ahead is None:
            self._host.draw(chunk, map)
            self._take(*self._host.memory)
        else:
            self._take(*self._ahead.fetch(chunk))
            if (chunk + 1) * CHUNK < self._last:
                self._ahead.begin(chunk + 1)
        self._chunk = chunk

    def _take(self, order: Tensor, noise: Tensor) -> None:
        """Every model its stream's, step after step instead of stream after stream, on the device."""
        order = order.index_select(0, self._stream_of).transpose(0, 1)
        self.order.view(order.shape).copy_(order)
        self.noise.copy_(noise.index_select(0, self._stream_of).transpose(0, 1))


class _Host:
    """Order and noise of a chunk on the host, stream after stream, so that each draws into a piece of its own.

    Attributes:
        memory: order, int32 [streams, CHUNK, rows], and noise, float32 [streams, CHUNK, rows, latent].
    """

    def __init__(
        self,
        stream_ids: Sequence[str],
        train_indices: Sequence[Int64[np.ndarray, " _train"]],
        batch_size: int,
        n_rows: int,
        latent_dim: int,
        *,
        pinned: bool,
    ) -> None:
        self._ids, self._train, self._batch = stream_ids, train_indices, batch_size
        sizes = zip(stream_ids, train_indices, strict=True)
        self._in_epoch = [lru_cache(1)(partial(permutation, stream_id, len(train))) for stream_id, train in sizes]
        streams = len(stream_ids)
        order = torch.zeros(streams, CHUNK, n_rows, dtype=torch.int32, pin_memory=pinned)
        noise = torch.zeros(streams, CHUNK, n_rows, latent_dim, dtype=torch.float32, pin_memory=pinned)
        self.memory = order, noise
        self._order_of, self._noise_of = order.numpy(), noise.numpy()

    def draw(self, chunk: int, each: Callable[..., Iterable[None]]) -> None:
        """Fill the memory, for `each` stream: `map`, or a pool's."""
        for _ in each(partial(self._draw_for, chunk), range(len(self._ids))):
            pass

    def _draw_for(self, chunk: int, k: int) -> None:
        train, batch = self._train[k], self._batch
        positions = batch_indices(len(train), batch, chunk * CHUNK, (chunk + 1) * CHUNK, self._in_epoch[k])
        self._order_of[k, :, :batch] = train[positions]
        rng, mine = generator(self._ids[k], "noise", chunk), self._noise_of[k]
        if batch == mine.shape[1]:
            rng.standard_normal(out=mine, dtype=np.float32)
        else:
            mine[:, :batch] = rng.standard_normal(mine[:, :batch].shape, dtype=np.float32)


class _Ahead:
    """The next chunk, drawn and sent to the GPU while the one before trains."""

    def __init__(self, host: _Host, device: torch.device) -> None:
        self._host, self._device = host, device
        order, noise = host.memory
        self._arrived = torch.empty_like(order, device=device), torch.empty_like(noise, device=device)
        self._stream = torch.cuda.Stream(device)
        self._taken = torch.cuda.Event()
        self._threads = ThreadPoolExecutor(min(MAX_THREADS, len(os.sched_getaffinity(0))), "draws")
        self._sender = ThreadPoolExecutor(1, "draws-sender")
        self._next: tuple[int, Future[None]] | None = None

    def begin(self, chunk: int) -> None:
        """Draw and send a chunk, into the place of the one fetched before as soon as what was launched has read it."""
        self._taken.record(torch.cuda.current_stream(self._device))
        self._next = chunk, self._sender.submit(self._send, chunk)

    def fetch(self, chunk: int) -> tuple[Tensor, Tensor]:
        """Order and noise of a chunk, on the GPU; at once if it was begun."""
        begun, self._next = self._next, None
        if begun is not None:
            begun[1].result()
        if begun is None or begun[0] != chunk:
            self.begin(chunk)
            return self.fetch(chunk)
        return self._arrived

    def _send(self, chunk: int) -> None:
        self._host.draw(chunk, self._threads.map)
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            self._taken.wait()
            for arrived, host in zip(self._arrived, self._host.memory, strict=True):
                arrived.copy_(host, non_blocking=True)
        self._stream.synchronize()  # the host's memory may be drawn into again

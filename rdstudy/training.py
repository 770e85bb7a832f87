"""A pack and its data become trained models. Knows no Ray and no files.

    every step:  order -> images, noise -> Lagrangian's gradient -> optimizer

Every cell's order of examples and noise is drawn from (cell, purpose, chunk), so a cell trains the same alone, in any
pack, and however often it is interrupted. A model whose weights stop being finite is marked and frozen at the next
check; the checks come at fixed steps, so that too does not depend on the company.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from rdstudy.models.stacked import StackedVAE, initial_row
from rdstudy.models.vae import VAE
from rdstudy.optimizers import FlatOptimizer
from rdstudy.packs import packing_key
from rdstudy.seeding import generator
from rdstudy.shapes import model_shape
from rdstudy.study import Cell

CHUNK = 64
"""Steps whose noise is drawn at once, and after which weights are checked to be finite."""


def batch_indices(
    cell_id: str, n_train: int, batch_size: int, start: int, stop: int
) -> Int64[np.ndarray, "steps batch"]:
    """Positions within the training set of the examples of steps `start` to `stop`.

    Epoch after epoch, each a fresh permutation, is one endless sequence that batches are cut from: every example is
    seen equally often, whatever the batch size.
    """
    first, last = start * batch_size, stop * batch_size
    epochs = range(first // n_train, -(-last // n_train))
    permutations = [generator(cell_id, "order", epoch).permutation(n_train) for epoch in epochs]
    sequence = np.concatenate(permutations)[first - epochs.start * n_train :][: last - first]
    return sequence.reshape(stop - start, batch_size)


class PackTraining:
    """The models of one pack, somewhere between their first and their last step."""

    def __init__(
        self,
        cells: Sequence[Cell],
        images: UInt8[Tensor, "examples pixels"],
        train_indices: Sequence[Int64[np.ndarray, " _train"]],
    ) -> None:
        """
        Args:
            cells: members; they must have equal packing keys.
            images: the whole data set, on the device that trains.
            train_indices: which of the images each cell trains on.

        Raises:
            ValueError: the cells cannot train together.
        """
        if len({packing_key(cell) for cell in cells}) != 1:
            raise ValueError(
                "the cells of a pack must share depth, width, latent_dim, steps, batch_size and optimizer; found "
                + "; ".join(sorted({str(packing_key(cell)) for cell in cells}))
                + ". Group cells with `plan_packs`."
            )
        self.cells = tuple(cells)
        self._ids = [cell.id for cell in cells]
        self.images = images
        self.step = 0
        self.diverged: dict[int, str] = {}
        first = cells[0]
        device = images.device
        dtype = torch.float64 if first.precision == "float64" else torch.float32
        shape = model_shape(first, images.shape[1])
        rows = torch.stack([initial_row(shape, cell.id, dtype) for cell in cells]).to(device)
        product = torch.bfloat16 if first.precision == "bfloat16" else None
        self.stack = StackedVAE(shape, rows, batch_size=first.batch_size, product_dtype=product)
        self._beta = torch.tensor([cell.beta for cell in cells], dtype=dtype, device=device).view(-1, 1, 1)
        self._train_indices = [np.asarray(indices) for indices in train_indices]
        self._optimizer = FlatOptimizer(first.optimizer, rows, self.stack.grad, first.learning_rate)
        self._chunk: int | None = None
        self._order = torch.empty(0)
        self._noise = torch.empty(0)
        n_rows = self.stack.n_rows
        self._bytes = images.new_empty(len(cells) * n_rows, images.shape[1])
        self._batch = torch.empty(len(cells), n_rows, images.shape[1], dtype=dtype, device=device)

    def advance(self, until: int) -> None:
        """Train every model up to step `until`."""
        while self.step < until:
            self._draw(self.step // CHUNK)
            i = self.step % CHUNK
            torch.index_select(self.images, 0, self._order[i], out=self._bytes)
            self._batch.copy_(self._bytes.view(self._batch.shape)).div_(255)
            self.stack.lagrangian_gradient(self._batch, self._noise[i], self._beta)
            for k in self.diverged:
                self.stack.grad[k].zero_()
            self._optimizer.step()
            self.step += 1
            if self.step % CHUNK == 0 or self.step == self.cells[0].steps:
                self._freeze_diverged()

    def model(self, k: int) -> VAE:
        """Member k as a plain module (views of its current weights)."""
        return self.stack.model(k)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that training needs to go on: tensors with a leading models axis, and a JSON-able record."""
        tensors = {"rows": self.stack.rows, **self._optimizer.moments}
        record = {
            "step": self.step,
            "cells": self._ids,
            "diverged": {self._ids[k]: message for k, message in self.diverged.items()},
        }
        return tensors, record

    def restore(self, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
        """Go on from a `state`, of this pack or of a larger one that holds all its members.

        Raises:
            ValueError: the state is of other cells.
        """
        position = {cell_id: k for k, cell_id in enumerate(record["cells"])}
        missing = [cell_id for cell_id in self._ids if cell_id not in position]
        if missing:
            raise ValueError(f"the saved state holds {json.dumps(record['cells'])}, but not {', '.join(missing)}")
        members = [position[cell_id] for cell_id in self._ids]
        rows = self.stack.rows
        rows.copy_(tensors["rows"][members])
        self.step = int(record["step"])
        self._optimizer.restore({name: value[members] for name, value in tensors.items() if name != "rows"}, self.step)
        self.diverged = {
            self._ids.index(cell_id): message for cell_id, message in record["diverged"].items() if cell_id in self._ids
        }
        self._chunk = None

    def without(self, members: Collection[int]) -> PackTraining:
        """The training of the other members, from where it stands; there must be some. This one is to be left alone.

        What these members become does not depend on those that are left behind.
        """
        rest = [k for k in range(len(self.cells)) if k not in members]
        smaller = type(self)([self.cells[k] for k in rest], self.images, [self._train_indices[k] for k in rest])
        smaller.restore(*self.state())
        return smaller

    def _draw(self, chunk: int) -> None:
        """Order and noise of the chunk's steps, from each cell's own generators."""
        if chunk == self._chunk:
            return
        batch, n_rows = self.stack.batch_size, self.stack.n_rows
        latent = self.stack.shape.latent_dim
        order = np.zeros((CHUNK, len(self.cells), n_rows), dtype=np.int64)
        noise = np.zeros((CHUNK, len(self.cells), n_rows, latent), dtype=np.float32)
        for k, (cell_id, train) in enumerate(zip(self._ids, self._train_indices, strict=True)):
            positions = batch_indices(cell_id, len(train), batch, chunk * CHUNK, (chunk + 1) * CHUNK)
            order[:, k, :batch] = train[positions]
            draws = generator(cell_id, "noise", chunk).standard_normal((CHUNK, batch, latent), dtype=np.float32)
            noise[:, k, :batch] = draws
        device = self.images.device
        self._order = torch.from_numpy(order).view(CHUNK, -1).to(device)
        self._noise = torch.from_numpy(noise).to(device=device, dtype=self._batch.dtype)
        self._chunk = chunk

    def _freeze_diverged(self) -> None:
        finite = self.stack.rows.isfinite().all(dim=1).tolist()
        for k, is_finite in enumerate(finite):
            if is_finite:
                continue
            self.diverged[k] = f"weights were not finite any more at step {self.step}; frozen there"
            self.stack.rows[k].zero_()
            for value in self._optimizer.moments.values():
                value[k].zero_()

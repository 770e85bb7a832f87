"""A pack and its data become trained models. Knows no Ray and no files.

    every step:  order -> images, noise -> Lagrangian's gradient -> optimizer

A cell trains the same alone, in any pack, and however often it is interrupted: what it draws does not depend on others
(`draws.py`), and the stack mixes no two models. A model whose weights stop being finite is marked and frozen at the
next check; the checks come at fixed steps, so that too does not depend on the company. On a CUDA device a step is
recorded once and then replayed (`replay.py`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int32, Int64, UInt8
from torch import Tensor

from rdstudy.models.kernels import intensities_into
from rdstudy.models.shape import model_shape
from rdstudy.models.stacked import StackedVAE, initial_parameters
from rdstudy.models.vae import VAE
from rdstudy.study import Cell
from rdstudy.training.batches import CHUNK, BatchSampler
from rdstudy.training.cuda_graph import CudaGraphStep
from rdstudy.training.optimizers import FlatOptimizer
from rdstudy.training.packs import packing_key


class PackTrainer:
    """The models of one pack, somewhere between their first and their last step."""

    def __init__(
        self,
        cells: Sequence[Cell],
        images: UInt8[Tensor, "examples pixels"],
        train_indices: Sequence[Int64[np.ndarray, " _train"]],
        *,
        replays: bool = True,
    ) -> None:
        """
        Args:
            cells: members; they must have equal packing keys.
            images: the whole data set, on the device that trains.
            train_indices: which of the images each cell trains on.
            replays: whether steps are replayed where the device can; the numbers are the same.

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
        rows = torch.stack([initial_parameters(shape, cell.stream_id, dtype) for cell in cells]).to(device)
        product = torch.bfloat16 if first.precision == "bfloat16" else None
        self.stack = StackedVAE(shape, rows, batch_size=first.batch_size, product_dtype=product)
        self._beta = torch.tensor([cell.beta for cell in cells], dtype=dtype, device=device).view(-1, 1, 1)
        self._warmup = torch.tensor([cell.beta_warmup_steps for cell in cells], dtype=torch.float64)
        self._betas = self._beta.expand(CHUNK, -1, 1, 1).clone()
        self._train_indices = [np.asarray(indices) for indices in train_indices]
        self._optimizer = FlatOptimizer(first.optimizer, rows, self.stack.grad, first.learning_rate)
        n_rows = self.stack.n_rows
        self._draws = BatchSampler(
            [cell.stream_id for cell in cells],
            self._train_indices,
            batch_size=first.batch_size,
            n_rows=n_rows,
            latent_dim=first.latent_dim,
            last_step=first.steps,
            dtype=dtype,
            device=device,
        )
        self._bytes = images.new_empty(len(cells) * n_rows, images.shape[1])
        self._batch = torch.empty(len(cells), n_rows, images.shape[1], dtype=dtype, device=device)
        self._replays = replays and device.type == "cuda"
        self._replay: CudaGraphStep | None = None

    def advance(self, until: int) -> None:
        """Train every model up to step `until`."""
        while self.step < until:
            chunk, at = divmod(self.step, CHUNK)
            self._draws.load(chunk)
            self._warm_up(chunk)
            count = min(until - self.step, CHUNK - at)
            self._take(range(at, at + count))
            self.step += count
            if self.step % CHUNK == 0 or self.step == self.cells[0].steps:
                self._freeze_diverged()

    def _take(self, steps: range) -> None:
        """Steps of the loaded chunk: replayed where that is possible, else one by one."""
        if self._replay is None:
            one_by_one = steps[:1] if self._replays else steps  # the first makes what a recording needs
            for i in one_by_one:
                self._step(self._draws.order[i], self._draws.noise[i], self._betas[i])
            steps = steps[len(one_by_one) :]
            if not steps:
                return
            self._replay = CudaGraphStep(self._step_number, self.images.device)
        self._replay(steps)

    def _warm_up(self, chunk: int) -> None:
        """Every model's beta in each step of a chunk: in step i, counted from 0, beta * min(1, i / warm-up steps)."""
        if chunk * CHUNK >= self._warmup.max() + CHUNK:
            return  # the chunk before was past every warm-up
        steps = torch.arange(chunk * CHUNK, (chunk + 1) * CHUNK, dtype=torch.float64)[:, None]
        share = torch.where(self._warmup > 0, steps / self._warmup.clamp(min=1), 1.0).clamp(max=1.0)
        self._betas.copy_(self._beta * share.to(self._beta)[:, :, None, None])

    def _step(
        self,
        order: Int32[Tensor, " models_rows"],
        noise: Float[Tensor, "models rows latent"],
        beta: Float[Tensor, "models 1 1"],
    ) -> None:
        """One step of every model on these images, with this noise and these weights of the rate."""
        torch.index_select(self.images, 0, order, out=self._bytes)
        intensities_into(self._batch, self._bytes.view(self._batch.shape))
        self.stack.lagrangian_gradient(self._batch, noise, beta)
        for k in self.diverged:
            self.stack.grad[k].zero_()
        self._optimizer.step()

    def _step_number(self, number: Int64[Tensor, " 1"]) -> None:
        """The step of this number in the loaded chunk; the number lies on the device."""
        of_step = (each.index_select(0, number)[0] for each in (self._draws.order, self._draws.noise, self._betas))
        self._step(*of_step)

    def model(self, k: int) -> VAE:
        """Member k as a plain module (views of its current weights)."""
        return self.stack.model(k)

    def state(self) -> tuple[dict[str, Tensor], dict[str, object]]:
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
        self._replay = None

    def without(self, members: Collection[int]) -> PackTrainer:
        """The training of the other members, from where it stands; there must be some. This one is to be left alone.

        What these members become does not depend on those that are left behind.
        """
        rest = [k for k in range(len(self.cells)) if k not in members]
        indices = [self._train_indices[k] for k in rest]
        smaller = type(self)([self.cells[k] for k in rest], self.images, indices, replays=self._replays)
        smaller.restore(*self.state())
        return smaller

    def _freeze_diverged(self) -> None:
        finite = self.stack.rows.isfinite().all(dim=1).tolist()
        for k, is_finite in enumerate(finite):
            if is_finite:
                continue
            self.diverged[k] = f"weights were not finite any more at step {self.step}; frozen there"
            self.stack.rows[k].zero_()
            for value in self._optimizer.moments.values():
                value[k].zero_()
            self._replay = None  # it would give the frozen model a gradient

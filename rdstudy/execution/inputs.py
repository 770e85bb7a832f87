"""What a pack trains on: the images as a tensor, and each cell's training, test and validation examples."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from rdstudy.data.dataset import Dataset
from rdstudy.data.splits import Split, split_dataset
from rdstudy.storage.schema import POPULATIONS, TEST, TRAIN, VALIDATION
from rdstudy.study import Cell

Populations = dict[str, Int64[np.ndarray, " population"]]
"""Indices of a cell's examples, under the names of its populations."""


def as_tensor(images: UInt8[np.ndarray, "examples pixels"]) -> UInt8[Tensor, "examples pixels"]:
    """A tensor that shares an array's memory, also if that is read-only (mapped from disk or Ray's object store)."""
    if images.flags.writeable:
        return torch.from_numpy(images)
    # PyTorch has no read-only tensors and warns of it; nothing here writes to the images.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(images)


def measured_populations(cell: Cell) -> tuple[str, ...]:
    """Names of the populations that a cell is measured on."""
    return POPULATIONS if cell.validation_size else (TRAIN, TEST)


def populations_of(dataset: Dataset, cells: Iterable[Cell]) -> list[Populations]:
    """Indices of each cell's training, test and validation examples; cells of one split share the arrays' memory."""
    splits: dict[tuple[object, ...], Split] = {}
    found = []
    for cell in cells:
        key = (cell.split, cell.data_seed, cell.test_size, cell.validation_size)
        if key not in splits:
            splits[key] = split_dataset(
                dataset,
                cell.split,
                seed=cell.data_seed,
                test_size=cell.test_size,
                validation_size=cell.validation_size,
            )
        split = splits[key]
        own = {TRAIN: split.training(cell.train_size), TEST: split.test, VALIDATION: split.validation}
        found.append({name: own[name] for name in measured_populations(cell)})
    return found

"""Reconstructions and samples of a cell: sheets/<cell>.npz."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np

from rdstudy.storage.files import atomic_write
from rdstudy.storage.paths import StoragePath


def save_images(results: StoragePath, cell_id: str, images: Mapping[str, np.ndarray], shape: Sequence[int]) -> None:
    """Write a cell's images.

    Args:
        results: the results folder.
        cell_id: whose images they are.
        images: by name, uint8 [n, pixels].
        shape: of one image: height, width, channels.

    Raises:
        StorageError: they cannot be written.
    """
    buffer = io.BytesIO()
    shaped = {name: array.reshape(-1, *shape) for name, array in images.items()}
    np.savez_compressed(buffer, allow_pickle=False, **shaped)
    atomic_write(results / "sheets" / f"{cell_id}.npz", lambda file: file.write(buffer.getvalue()))

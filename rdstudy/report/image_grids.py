"""Reconstructions and samples along a curve, one trained cell per beta, from the images that training stored."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import UInt8

from rdstudy.storage.paths import StoragePath, read_bytes

Images = UInt8[np.ndarray, "images height width channels"]

MAX_IMAGES = 5


@dataclass(frozen=True)
class ImageGrids:
    """A few test images, their reconstructions by the model of each beta, and its samples from the prior."""

    test_images: Images
    test_reconstructions: dict[float, Images]
    samples: dict[float, Images]


def images_along(results: StoragePath, cells: pd.DataFrame, setting: pd.Series) -> ImageGrids | None:
    """The images of one setting's finished cells, the smallest seed of each beta; None where there are none.

    Cells whose file is missing, cannot be read or shows other images than the first are left out.
    """
    folder = results / "sheets"
    if not folder.is_dir():
        return None
    chosen = cells[cells["status"] == "ok"]
    for name in setting.index.intersection(cells.columns).difference(["beta", "seed", "cell_id", "step", "status"]):
        value = setting[name]
        chosen = chosen[chosen[name].isna() if pd.isna(value) else chosen[name] == value]
    chosen = chosen.sort_values(["beta", "seed"], ascending=[False, True])
    originals: Images | None = None
    reconstructions: dict[float, Images] = {}
    samples: dict[float, Images] = {}
    for beta, cell_id in zip(chosen["beta"], chosen["cell_id"], strict=True):
        if beta in reconstructions:
            continue
        if not str(cell_id).isalnum():  # names no file of this folder
            continue
        stored = read_images(folder / f"{cell_id}.npz")
        if not {"test_images", "test_reconstructions"} <= stored.keys():
            continue
        images = stored["test_images"][:MAX_IMAGES]
        if originals is None:
            originals = images
        if not np.array_equal(originals, images):
            continue
        reconstructions[float(beta)] = stored["test_reconstructions"][:MAX_IMAGES]
        if "samples" in stored:
            samples[float(beta)] = stored["samples"][:MAX_IMAGES]
    if originals is None or not len(originals):
        return None
    return ImageGrids(originals, reconstructions, samples)


def read_images(path: StoragePath) -> dict[str, Images]:
    """One cell's stored images by name, `test_images test_reconstructions samples ...`; {} if the file is damaged."""
    try:
        with np.load(io.BytesIO(read_bytes(path)), allow_pickle=False) as stored:
            found = {name: stored[name] for name in stored.files}
    except Exception:  # of a damaged file, NumPy, zipfile and zlib raise a dozen kinds
        return {}
    return {
        name: _drawable(images)
        for name, images in found.items()
        if isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.ndim == 4 and images.size
    }


def _drawable(images: Images) -> Images:
    """Images of 1 or 3 channels as they are; the channels of others side by side, in grey."""
    n, height, width, channels = images.shape
    if channels in (1, 3):
        return images
    return images.transpose(0, 1, 3, 2).reshape(n, height, channels * width, 1)

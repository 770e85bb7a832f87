"""Reconstructions and samples along a curve: one trained cell per beta, from the files that training left."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import UInt8

from rdstudy.storage.paths import StoragePath

Images = UInt8[np.ndarray, "images height width channels"]

MAX_IMAGES = 5


@dataclass(frozen=True)
class Sheets:
    """A few test images, and what the model of each beta made of them and of codes from its prior."""

    test_images: Images
    test_reconstructions: dict[float, Images]
    samples: dict[float, Images]


def sheets_along(results: StoragePath, cells: pd.DataFrame, setting: pd.Series) -> Sheets | None:
    """The sheets of one setting's finished cells, the smallest seed of each beta; None where there are none.

    Cells whose sheet is missing, cannot be read or shows other images than the first are left out.
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
        sheet = read_sheet(folder / f"{cell_id}.npz")
        if not {"test_images", "test_reconstructions"} <= sheet.keys():
            continue
        images = sheet["test_images"][:MAX_IMAGES]
        if originals is None:
            originals = images
        if not np.array_equal(originals, images):
            continue
        reconstructions[float(beta)] = sheet["test_reconstructions"][:MAX_IMAGES]
        if "samples" in sheet:
            samples[float(beta)] = sheet["samples"][:MAX_IMAGES]
    if originals is None or not len(originals):
        return None
    return Sheets(originals, reconstructions, samples)


def read_sheet(path: StoragePath) -> dict[str, Images]:
    """The images of one cell's sheet by name, `test_images test_reconstructions samples ...`; {} if it is damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as sheet:
            return {name: sheet[name] for name in sheet.files}
    except (OSError, ValueError, zipfile.BadZipFile):
        return {}

"""Load a data set by name.

    load_dataset("tetrominoes", seed=0) -> Dataset

Each kind of data set has its own module, which is imported on demand.
"""

from __future__ import annotations

from pathlib import Path

from rdstudy.data.dataset import Dataset
from rdstudy.data.split_spec import SPLITS

GENERATED = ("tetrominoes",)
"""Data sets whose images depend on the seed; of the others, only the split does."""


def load_dataset(
    name: str,
    *,
    seed: int = 0,
    size: int | None = None,
    root: str | Path | None = None,
    download: bool = False,
    path: str | Path | None = None,
    cache: str | Path | None = None,
) -> Dataset:
    """Load the data set of this name.

    Args:
        name: a key of `SPLITS`.
        seed: seed of generated images (tetrominoes); other data sets do not depend on it.
        size: for tetrominoes, the number of images; default all.
        root: for torchvision's data sets, their folder; default `torchvision` in the cache folder.
        download: for torchvision's data sets, whether a missing one may be downloaded to `root`.
        path: for `images`, an .npz file or a folder of image files.
        cache: folder of generated images; default $RDSTUDY_CACHE, else the user's cache folder.

    Raises:
        ValueError: the data set is unknown, missing or damaged, or cannot be stored; the message says what was
            found and what to do.
    """
    if name not in SPLITS:
        raise ValueError(f"data set {name!r} is not known; known are {', '.join(SPLITS)}")
    if path is not None and name != "images":
        raise ValueError(f"path={str(path)!r} was given with data set {name}; only data set images has a path")
    if size is not None and name not in GENERATED:
        raise ValueError(
            f"size={size} was given with data set {name}; only generated data ({', '.join(GENERATED)}) has a size"
        )
    if name == "tetrominoes":
        from rdstudy.data.tetrominoes import load_tetrominoes

        return load_tetrominoes(seed, size=size, cache=cache)
    if name == "images":
        from rdstudy.data.image_files import load_image_files

        if path is None:
            raise ValueError("data set images needs a path: an .npz file, or a folder of image files")
        return load_image_files(path)
    from rdstudy.data.cache import cache_folder
    from rdstudy.data.torchvision_data import load_torchvision

    return load_torchvision(name, root=cache_folder(cache) / "torchvision" if root is None else root, download=download)

"""MNIST, FashionMNIST, KMNIST and CIFAR10, in the files of torchvision.

    ROOT/MNIST/raw/train-images-idx3-ubyte ...      ROOT/cifar-10-batches-py/data_batch_1 ...

The standard training examples come first, then the test examples.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rdstudy.data.dataset import Dataset, make_dataset

CLASSES = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST", "cifar10": "CIFAR10"}
"""Names in study files, and torchvision's class names."""


def load_torchvision(name: str, *, root: str | Path, download: bool = False) -> Dataset:
    """Load one of torchvision's data sets, training examples first.

    Args:
        name: a key of `CLASSES`.
        root: the folder that torchvision's classes take as `root`.
        download: whether a missing data set may be downloaded to `root`.

    Raises:
        ValueError: the data set is missing or damaged, and cannot be downloaded.
    """
    from torchvision import datasets

    source = getattr(datasets, CLASSES[name])
    root = Path(root).expanduser()
    try:
        parts = _read(source, root, download=False)
    except Exception as error:
        # torchvision reports damaged files by assertions, RuntimeError and others.
        if not download:
            raise _loading_error(source, root, error, download) from error
        parts = _download(source, root)

    images = np.concatenate([images for images, _ in parts])
    labels = np.concatenate([labels for _, labels in parts])
    n, height, width = images.shape[:3]
    return make_dataset(
        name,
        images.reshape(n, -1),
        (height, width, images.shape[3] if images.ndim == 4 else 1),
        labels=labels,
        standard_train=len(parts[0][0]),
    )


def _read(source: Any, root: Path, *, download: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images and labels of the training set and of the test set."""
    parts = []
    for train in (True, False):
        part = source(root=str(root), train=train, download=download)
        images, labels = np.asarray(part.data), np.asarray(part.targets, dtype=np.int64)
        if len(images) == 0 or len(images) != len(labels):
            which = "training" if train else "test"
            raise ValueError(f"the {which} part has {len(images)} images and {len(labels)} labels")
        parts.append((images, labels))
    if parts[0][0].shape[1:] != parts[1][0].shape[1:]:
        raise ValueError(f"training images are {parts[0][0].shape[1:]}, test images {parts[1][0].shape[1:]}")
    return parts


def _download(source: Any, root: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    from rdstudy.data.files import file_lock

    try:
        root.mkdir(parents=True, exist_ok=True)
        # Two processes that unpack the same archive would read each other's half-written files.
        with file_lock(root / f".{source.__name__}.lock"):
            return _read(source, root, download=True)
    except Exception as error:
        raise _loading_error(source, root, error, True) from error


def _loading_error(source: Any, root: Path, error: Exception, download: bool) -> ValueError:
    folder, files = _expected(source, root)
    missing = [file for file in files if not (folder / file).is_file()]
    reason = " ".join(str(error).split()) or type(error).__name__
    if missing:
        found = f"is missing: {folder} lacks {', '.join(missing)}"
        fix = "Set `root` to the folder that holds it"
        fix += ", or fix the download" if download else ", or allow the download (`download: true`)"
    else:
        found = f"is damaged: {folder} has all files, but they cannot be read"
        fix = f"Delete {folder} and put the files there again, or allow the download (`download: true`)"
    return ValueError(f"{source.__name__} {found} ({reason}). {fix}.")


def _expected(source: Any, root: Path) -> tuple[Path, list[str]]:
    """The folder and the files that torchvision reads."""
    if hasattr(source, "base_folder"):
        files = [file for file, _ in source.train_list + source.test_list] + [source.meta["filename"]]
        return root / source.base_folder, files
    return root / source.__name__ / "raw", [Path(file).stem for file, _ in source.resources]

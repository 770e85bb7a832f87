"""A data set: images as one array of bytes, and a fingerprint of everything that results depend on.

Pixels are uint8 until they are on the training device; an intensity is pixel / 255.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64, UInt8

FINGERPRINT_DIGITS = 16
"""Digits of a fingerprint in the table."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images with their labels or factors. The arrays are read-only."""

    name: str
    images: UInt8[np.ndarray, "examples pixels"]
    """C-contiguous, possibly a memory map; a row is ordered by height, width, channel."""
    shape: tuple[int, int, int]
    """Height, width and channels of one image."""
    labels: Int64[np.ndarray, " examples"] | None
    """Class of each example, from 0."""
    factors: Float64[np.ndarray, "examples factors"] | None
    """Factors that generated each image; the columns are `tetrominoes.FACTORS`."""
    standard_train: int | None
    """Number of leading examples in the standard training set; the others are the standard test set."""
    fingerprint: str
    """SHA-256 of shape, images, labels, factors and `standard_train`, in hexadecimal."""
    notes: tuple[str, ...] = ()
    """What was changed in reading the images, and what looks wrong with them."""

    @property
    def short_fingerprint(self) -> str:
        """The first 16 digits of the fingerprint, as in the table's column `data_fingerprint`."""
        return self.fingerprint[:FINGERPRINT_DIGITS]

    def __str__(self) -> str:
        height, width, channels = self.shape
        kind = {1: "grey", 3: "RGB"}.get(channels, f"{channels} channels")
        classes = "" if self.labels is None else f", {len(np.unique(self.labels))} classes"
        split = f", {self.standard_train:,} of them for training" if self.standard_train else ""
        return f"{len(self.images):,} images of {height}x{width}, {kind}{classes}{split}"

    @property
    def n_examples(self) -> int:
        """Number of images."""
        return len(self.images)


def make_dataset(
    name: str,
    images: UInt8[np.ndarray, "examples pixels"],
    shape: tuple[int, int, int],
    *,
    labels: Int64[np.ndarray, " examples"] | None = None,
    factors: Float64[np.ndarray, "examples factors"] | None = None,
    standard_train: int | None = None,
    images_sha256: str | None = None,
    notes: Sequence[str] = (),
) -> Dataset:
    """Make a data set with its fingerprint.

    The fingerprint covers everything that a split or a model reads, so equal fingerprints mean equal results
    of equal cells. It covers factors and the standard training set, from which splits are made, but not the
    origin of the data (name, folder, file).

    Args:
        name: name of the data set, which determines the allowed splits.
        images: pixels from 0 to 255, one row per image, C-contiguous.
        shape: height, width and channels of one image.
        labels: class of each example, from 0.
        factors: factors of generated images.
        standard_train: number of leading examples in the standard training set.
        images_sha256: SHA-256 of the bytes of `images`, if known.
        notes: what was changed in reading the images, and what looks wrong with them.

    Returns:
        The data set, whose arrays are read-only views.
    """
    assert images.shape[1] == math.prod(shape), f"{images.shape[1]} pixels per image, but shape {shape}"
    assert images.flags.c_contiguous, "images must be C-contiguous"
    assert standard_train is None or 0 < standard_train < len(images), f"{standard_train} of {len(images)} examples"
    content = {
        "shape": shape,
        "examples": len(images),
        "images": images_sha256 or sha256(images),
        "labels": None if labels is None else sha256(labels),
        "factors": None if factors is None else sha256(factors),
        "standard_train": standard_train,
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    arrays = [None if array is None else array.view() for array in (images, labels, factors)]
    for array in arrays:
        if array is not None:
            array.setflags(write=False)
    assert arrays[0] is not None
    return Dataset(name, arrays[0], shape, arrays[1], arrays[2], standard_train, digest, tuple(notes))


def sha256(array: np.ndarray) -> str:
    """SHA-256 of an array's elements in C order, little-endian, in hexadecimal."""
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return hashlib.sha256(array.reshape(-1).view(np.uint8).data).hexdigest()


def data_generator(seed: int, purpose: str) -> np.random.Generator:
    """Make a generator from the data set's seed and the purpose alone.

    Use only its `random()`: NumPy guarantees the bits of Philox, but not the algorithms of `permutation` and
    similar methods.

    Raises:
        ValueError: the seed is negative.
    """
    if seed < 0:
        raise ValueError(f"the data set's seed is {seed}; it must be an integer of at least 0")
    key = hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))


def shuffled(indices: Int64[np.ndarray, " examples"], seed: int, purpose: str) -> Int64[np.ndarray, " examples"]:
    """A uniformly random permutation of the indices, determined by seed and purpose."""
    return indices[np.argsort(data_generator(seed, purpose).random(len(indices)), kind="stable")]

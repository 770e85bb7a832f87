"""A data set: images as one array of bytes, and a fingerprint of all that a result can depend on.

Pixels stay uint8 until they are on the device that trains; an intensity is pixel / 255.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64, UInt8


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images, and what is known about them. The arrays are read-only."""

    name: str
    images: UInt8[np.ndarray, "examples pixels"]
    """C-contiguous, maybe a memory map; within a row: height, width, channel."""
    shape: tuple[int, int, int]
    """Height, width and channels of one image."""
    labels: Int64[np.ndarray, " examples"] | None
    """Class of each example, from 0 up."""
    factors: Float64[np.ndarray, "examples factors"] | None
    """What each image was drawn from; the columns are `tetrominoes.FACTORS`."""
    standard_train: int | None
    """Number of leading examples that are the data set's own training part; the others are its test part."""
    fingerprint: str
    """SHA-256 of shape, images, labels, factors and `standard_train`, in hexadecimal."""

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
) -> Dataset:
    """A data set with its fingerprint.

    The fingerprint covers everything that a split or a model reads, so equal fingerprints mean equal results
    on equal cells; where the data came from (name, folder, file) is not in it. Factors and the standard part
    are in it because splits are made of them.

    Args:
        name: what the data set is called; decides which splits it allows.
        images: C-contiguous.
        shape: height, width, channels.
        labels: classes, if there are any.
        factors: of generated images.
        standard_train: size of the data set's own training part, if it has one.
        images_sha256: SHA-256 of the bytes of `images`, where it is known already.
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
    return Dataset(name, arrays[0], shape, arrays[1], arrays[2], standard_train, digest)


def sha256(array: np.ndarray) -> str:
    """SHA-256 of an array's elements in C order, little-endian, in hexadecimal."""
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return hashlib.sha256(array.reshape(-1).view(np.uint8).data).hexdigest()


def data_generator(seed: int, purpose: str) -> np.random.Generator:
    """A fresh generator that depends on the data set's seed and the purpose, and on nothing else.

    Take from it nothing but `random()`: NumPy promises the bits of Philox for ever, but not the algorithms of
    `permutation` and its like.
    """
    if seed < 0:
        raise ValueError(f"the data set's seed is {seed}; it is a whole number from 0 up")
    key = hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))


def shuffled(indices: Int64[np.ndarray, " examples"], seed: int, purpose: str) -> Int64[np.ndarray, " examples"]:
    """The indices in an order determined by seed and purpose: a uniformly random permutation."""
    return indices[np.argsort(data_generator(seed, purpose).random(len(indices)), kind="stable")]

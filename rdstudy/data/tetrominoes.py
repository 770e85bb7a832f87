"""Tetrominoes: 163,840 images of one J-shaped piece with five known factors.

    angle, hue, scale, x, y -> 32 x 32 RGB, the piece on black

The data set of Bozkurt et al. (2021, arXiv 1911.04594), redrawn: factors are uniform within stratified bins, one
image per bin. Training and test sets can be made to differ in their *combinations* of factors.

The piece fills the right column and the bottom row of a box 2 wide and 3 high, in units of its squares. `scale` is
pixels per unit; the box is rotated by `angle` about its centre, counter-clockwise on the screen, and the centre is at
(x + 0.5, y + 0.5) pixels.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64, Int64

from rdstudy.data.cache import cached_images
from rdstudy.data.dataset import Dataset, data_generator, make_dataset, shuffled
from rdstudy.data.tetrominoes_drawing import FACTORS, HIGH, LOW, SHAPE, rendered_parts

GENERATOR_VERSION = 1
"""Part of the name of cached images. Increase it when a change of this file or of the drawing changes an image."""


EXAMPLES = math.prod(factor.bins for factor in FACTORS)
SCALE = 2
"""Column of the scale, the one factor with an odd number of bins."""

_MIDDLE = np.array([factor.middle for factor in FACTORS])
_BINS = np.array([factor.bins for factor in FACTORS])


def load_tetrominoes(seed: int = 0, *, size: int | None = None, cache: str | Path | None = None) -> Dataset:
    """Load the images of this seed from the cache, or make them (about ten seconds, 503 MB on disk).

    Args:
        seed: seed of the factors.
        size: number of images, as in `draw_factors`; default all.
        cache: folder of the generated images, as in `cache.cache_folder`.

    Raises:
        ValueError: the size is not allowed, or the cache cannot be used.
    """
    factors = draw_factors(seed, size)
    recipe = {
        "version": GENERATOR_VERSION,
        "seed": seed,
        "examples": len(factors),
        "factors": [list(factor) for factor in FACTORS],
    }
    key = hashlib.blake2b(json.dumps(recipe, sort_keys=True).encode(), digest_size=8).hexdigest()
    images, digest = cached_images(
        f"tetrominoes-{len(factors)}-{key}",
        (len(factors), math.prod(SHAPE)),
        lambda: rendered_parts(factors),
        cache=cache,
    )
    return make_dataset("tetrominoes", images, SHAPE, factors=factors, images_sha256=digest)


def draw_factors(seed: int, size: int | None = None) -> Float64[np.ndarray, "examples 5"]:
    """Draw the factors of the images: uniform within stratified bins, one image per bin.

    Halving the five ranges gives 32 boxes, from which `checkerboard` is made. The middle one of the five bins
    of scale lies in two boxes: in each combination of the other factors' halves, a random half of its images
    is drawn from its lower half and the others from its upper half. So each of the 32 boxes holds exactly
    5,120 images, both sides of the checkerboard 81,920, and each image is still uniform within its bin.

    Images are taken from the 32 boxes in turn, even and odd boxes alternating, in random order within each box.
    So a smaller data set is the beginning of a larger one, and the boxes' counts differ by at most one.

    Args:
        seed: seed of the factors and of their order.
        size: number of images, 2 to 163,840; None for all.

    Returns:
        One row per image; the columns are `FACTORS`, in their units.

    Raises:
        ValueError: the size is not allowed.
    """
    size = EXAMPLES if size is None else size
    if not 2 <= size <= EXAMPLES:
        raise ValueError(
            f"tetrominoes of size {size}: there are {EXAMPLES} images; allowed: 2 to {EXAMPLES}, or no size"
        )
    every = np.arange(EXAMPLES)
    bins = np.stack(np.unravel_index(every, tuple(_BINS)), axis=1)
    within = data_generator(seed, "tetrominoes: position within bin").random(bins.shape)
    upper = 2 * bins + 1 > _BINS

    middle = every[bins[:, SCALE] == _BINS[SCALE] // 2]
    middle = shuffled(middle, seed, "tetrominoes: halves of the middle bin")
    middle = middle[np.argsort(_box(upper)[middle], kind="stable")]
    rows = middle.reshape(16, -1)  # one for each combination of the other factors' halves
    upper[rows[:, : rows.shape[1] // 2], SCALE] = True
    within[middle, SCALE] = (within[middle, SCALE] + upper[middle, SCALE]) / 2

    order = shuffled(every, seed, "tetrominoes: order")
    boxes = order[np.argsort(_box(upper)[order], kind="stable")].reshape(32, -1)
    odd = np.array([box.bit_count() % 2 for box in range(32)], dtype=bool)
    dealt = np.stack([boxes[~odd], boxes[odd]], axis=1).reshape(32, -1).T.reshape(-1)[:size]
    width = (HIGH - LOW) / _BINS
    factors: Float64[np.ndarray, "examples 5"] = LOW + (bins[dealt] + within[dealt]) * width
    return factors


def is_odd_box(factors: Float64[np.ndarray, "examples 5"]) -> Bool[np.ndarray, " examples"]:
    """Whether an odd number of factors is in the upper half of its range: the test boxes of the checkerboard."""
    odd: Bool[np.ndarray, " examples"] = (factors >= _MIDDLE).sum(axis=1) % 2 == 1
    return odd


def is_central(factors: Float64[np.ndarray, "examples 5"], ratio: float) -> Bool[np.ndarray, " examples"]:
    """Whether all factors are in the central box that has this share of the volume."""
    reach = (HIGH - LOW) / 2 * ratio ** (1 / len(FACTORS))
    central: Bool[np.ndarray, " examples"] = (np.abs(factors - _MIDDLE) <= reach).all(axis=1)
    return central


def _box(upper: Bool[np.ndarray, "examples 5"]) -> Int64[np.ndarray, " examples"]:
    box: Int64[np.ndarray, " examples"] = upper @ (1 << np.arange(len(FACTORS)))
    return box

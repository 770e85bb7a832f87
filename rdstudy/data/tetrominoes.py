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
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

from rdstudy.data.cache import cached_images
from rdstudy.data.dataset import Dataset, data_generator, make_dataset, shuffled

GENERATOR_VERSION = 1
"""Part of the name of cached images. Increase it when a change of this file changes an image."""


class Factor(NamedTuple):
    """One factor of an image, drawn uniformly within each of `bins` equal parts of [low, high]."""

    name: str
    unit: str
    low: float
    high: float
    bins: int

    @property
    def middle(self) -> float:
        """The middle of the range, at which `checkerboard` divides it."""
        return (self.low + self.high) / 2


FACTORS = (
    Factor("angle", "degrees", 0.0, 337.5, 16),
    Factor("hue", "turns", 0.0, 0.875, 8),
    Factor("scale", "pixels per unit", 2.0, 5.0, 5),
    Factor("x", "pixels", 8.0, 23.0, 16),
    Factor("y", "pixels", 8.0, 23.0, 16),
)
"""The columns of an array of factors, in order."""

EXAMPLES = math.prod(factor.bins for factor in FACTORS)
SHAPE = (32, 32, 3)
SCALE = 2
"""Column of the scale, the one factor with an odd number of bins."""

_LOW = np.array([factor.low for factor in FACTORS])
_HIGH = np.array([factor.high for factor in FACTORS])
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
        lambda: _rendered_parts(factors),
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
    width = (_HIGH - _LOW) / _BINS
    factors: Float64[np.ndarray, "examples 5"] = _LOW + (bins[dealt] + within[dealt]) * width
    return factors


def is_odd_box(factors: Float64[np.ndarray, "examples 5"]) -> Bool[np.ndarray, " examples"]:
    """Whether an odd number of factors is in the upper half of its range: the test boxes of the checkerboard."""
    odd: Bool[np.ndarray, " examples"] = (factors >= _MIDDLE).sum(axis=1) % 2 == 1
    return odd


def is_central(factors: Float64[np.ndarray, "examples 5"], ratio: float) -> Bool[np.ndarray, " examples"]:
    """Whether all factors are in the central box that has this share of the volume."""
    reach = (_HIGH - _LOW) / 2 * ratio ** (1 / len(FACTORS))
    central: Bool[np.ndarray, " examples"] = (np.abs(factors - _MIDDLE) <= reach).all(axis=1)
    return central


def _box(upper: Bool[np.ndarray, "examples 5"]) -> Int64[np.ndarray, " examples"]:
    box: Int64[np.ndarray, " examples"] = upper @ (1 << np.arange(len(FACTORS)))
    return box


# --- drawing ---

SAMPLES = 16
"""Sample points per pixel, across and down."""
TEMPLATE = 100
"""Pixels per unit square of the picture of the upright piece that is turned, scaled and sampled."""

_PART = 512
"""Images drawn at once: their arrays fit a processor's cache."""
_WINDOW = 21
"""Side of the square of pixels that a piece can touch: half its box's diagonal is at most 9.02 pixels."""
_MID = (SAMPLES - 1) / 2 / SAMPLES
"""From a pixel's first sample point to the middle of its sample points, in pixels."""

# These lines cut the plane of the upright piece into 4 x 4 cells; the piece is three of them.
_U_LINES = np.array([-1.0, 0.0, 1.0], dtype=np.float32)
_V_LINES = np.array([-1.5, 0.5, 1.5], dtype=np.float32)
_IS_PIECE = np.zeros((4, 4), dtype=bool)
_IS_PIECE[2, 1] = _IS_PIECE[2, 2] = _IS_PIECE[1, 2] = True


def render(factors: Float64[np.ndarray, "images 5"]) -> UInt8[np.ndarray, "images 32 32 3"]:
    """Draw the images of these factors.

        pixel = round(255 * HSV(hue, 1, coverage)),   coverage = mean of 16 x 16 samples

    The rule was inferred from the images of Bozkurt et al.: the upright piece is drawn with 100 pixels per unit and
    sampled with bilinear interpolation at 16 x 16 points per pixel. A pixel's first sample point is its corner,
    not the centre of the first sixteenth, and the upright picture's pixel centres are at multiples of 1/100. So its
    straight edges are ramps 1/100 wide,

        H(t) = clip(100 t + 1, 0, 1),

    and the image is shifted against exact areas: 1/32 pixel to the right and down, and 1/200 unit to the left and up
    in the upright picture. In 256 images of Bozkurt et al. one byte in 20,000 differs, by 1/255, where the exact
    value is close to a rounding boundary.

    Only pixels that an edge can touch are sampled. Near one straight edge, a row of samples is an arithmetic
    series with a clipped beginning and end, and has a closed form. Near a corner, all 256 products of two
    ramps are formed. Operations are elementwise float32 in a fixed order, so that every machine draws the
    same bytes.

    Args:
        factors: one row per image, within the ranges of `FACTORS`.

    Returns:
        Images in order of height, width, channel.

    Raises:
        ValueError: a factor is outside its range.

    >>> [image] = render(np.array([[0.0, 0.0, 4.0, 16.0, 16.0]]))  # upright, red, squares of 4 x 4 pixels
    >>> image.shape, round(image[:, :, 0].sum() / 255), image[:, :, 1:].any().item()  # four, only red
    ((32, 32, 3), 64, False)
    """
    if not ((factors >= _LOW) & (factors <= _HIGH)).all():
        bad = factors[~((factors >= _LOW) & (factors <= _HIGH)).all(axis=1)][0]
        ranges = ", ".join(f"{factor.name} {factor.low:g} to {factor.high:g}" for factor in FACTORS)
        raise ValueError(f"no image has the factors {bad.tolist()}; allowed: {ranges}")
    images = np.zeros((len(factors), *SHAPE), dtype=np.uint8)
    for start in range(0, len(factors), _PART):
        part = slice(start, start + _PART)
        _render_part(factors[part], images[part].reshape(-1, 3))
    return images


def _rendered_parts(factors: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(factors), _PART):
        yield render(factors[start : start + _PART]).reshape(-1, math.prod(SHAPE))


def _render_part(factors: Float64[np.ndarray, "images 5"], pixels: UInt8[np.ndarray, "pixels 3"]) -> None:
    """Draw into `pixels`, which are black."""
    angle, hue, scale, x, y = factors.T
    cosine = (np.cos(np.deg2rad(angle)) / scale).astype(np.float32)
    sine = (np.sin(np.deg2rad(angle)) / scale).astype(np.float32)
    left = np.clip(np.floor(x + 0.5).astype(int) - _WINDOW // 2, 0, 32 - _WINDOW)
    top = np.clip(np.floor(y + 0.5).astype(int) - _WINDOW // 2, 0, 32 - _WINDOW)

    # Middle of every pixel's sample points in units of the upright piece, and its depth inside the piece
    # (negative outside) in the maximum norm; the piece is the union of its right column and its bottom row.
    side = np.arange(_WINDOW) + _MID
    across = (side + (left - (x + 0.5))[:, None]).astype(np.float32)
    down = (side + (top - (y + 0.5))[:, None]).astype(np.float32)
    u = (cosine[:, None] * across)[:, None, :] - (sine[:, None] * down)[:, :, None]
    v = (sine[:, None] * across)[:, None, :] + (cosine[:, None] * down)[:, :, None]
    half, one, one_and_half = np.float32(0.5), np.float32(1), np.float32(1.5)
    column = np.minimum(half - np.abs(u - half), one_and_half - np.abs(v))
    row = np.minimum(one - np.abs(u), half - np.abs(v - one))
    depth = np.maximum(column, row)
    # How far a pixel's sample points lie from their middle, plus a ramp's width, plus a little for rounding.
    reach = (np.abs(cosine) + np.abs(sine)) * np.float32(_MID) + np.float32(1.1 / TEMPLATE)
    within = np.flatnonzero(depth >= reach[:, None, None])
    edge = np.flatnonzero(np.abs(depth) < reach[:, None, None])

    image = edge // _WINDOW**2
    coverage = _edge_coverage(u.reshape(-1)[edge], v.reshape(-1)[edge], cosine[image], sine[image], reach[image])
    in_window = (np.arange(_WINDOW)[:, None] * 32 + np.arange(_WINDOW)).reshape(-1)
    first = np.arange(len(factors)) * 32 * 32 + top * 32 + left
    colour = (255 * _rgb(hue)).astype(np.float32)
    pixels[first[image] + in_window[edge % _WINDOW**2]] = np.rint(colour[image] * coverage[:, None])
    image = within // _WINDOW**2
    pixels[first[image] + in_window[within % _WINDOW**2]] = np.rint(colour)[image]


def _rgb(hue: Float64[np.ndarray, " images"]) -> Float64[np.ndarray, "images 3"]:
    """The full colour of a hue, in [0, 1]: HSV with saturation and value 1."""
    sixth = 6 * hue
    ramps = [np.abs(sixth - 3) - 1, 2 - np.abs(sixth - 2), 2 - np.abs(sixth - 4)]
    rgb: Float64[np.ndarray, "images 3"] = np.clip(np.stack(ramps, axis=1), 0, 1)
    return rgb


def _edge_coverage(
    u: Float32[np.ndarray, " pixels"],
    v: Float32[np.ndarray, " pixels"],
    cosine: Float32[np.ndarray, " pixels"],
    sine: Float32[np.ndarray, " pixels"],
    reach: Float32[np.ndarray, " pixels"],
) -> Float32[np.ndarray, " pixels"]:
    """Mean of a pixel's samples, for pixels that see one edge or one corner of the piece.

    Args:
        u: middle of the sample points across, in units of the upright piece.
        v: middle of the sample points down, in the same units.
        cosine: cosine of the angle, divided by the scale.
        sine: sine of the angle, divided by the scale.
        reach: largest distance from the middle at which a line changes a sample.
    """
    # The lines nearest to a pixel (others are too far to matter), and what is in the four cells around.
    i = (u > -0.5).astype(np.int8) + (u > 0.5)
    j = (v > -0.5).astype(np.int8) + (v > 1)
    u, v = u - _U_LINES[i], v - _V_LINES[j]
    near_u, near_v = np.abs(u) < reach, np.abs(v) < reach
    low_low, high_low = _IS_PIECE[i, j], _IS_PIECE[i + 1, j]
    low_high, high_high = _IS_PIECE[i, j + 1], _IS_PIECE[i + 1, j + 1]

    # A sample is H(u) and H(v) of the lines: ramps, linear in the sample's number across and down.
    step = np.float32(TEMPLATE / SAMPLES)
    a, b = cosine * step, sine * step
    middle = np.float32((SAMPLES - 1) / 2)
    ramp_u = (TEMPLATE * u + 1 - middle * (a - b), a, -b)
    ramp_v = (TEMPLATE * v + 1 - middle * (b + a), b, a)

    coverage = np.empty_like(u)
    odd = low_low ^ high_low ^ low_high ^ high_high  # one cell or three are the piece
    at_corner = near_u & near_v & odd
    edge_is_u = near_u & np.where(v > 0, low_high != high_high, low_low != high_low)
    falls_in_u, falls_in_v = np.where(v > 0, low_high, low_low), np.where(u > 0, high_low, low_low)
    falls = np.where(edge_is_u, falls_in_u, falls_in_v)

    straight = np.flatnonzero(~at_corner)
    ramp = [np.where(edge_is_u, in_u, in_v)[straight] for in_u, in_v in zip(ramp_u, ramp_v, strict=True)]
    mean = _mean_of_ramp(*ramp)
    coverage[straight] = np.where(falls[straight], 1 - mean, mean)

    # Turn both ramps so that they rise into the one cell that differs from the other three.
    corner = np.flatnonzero(at_corner)
    is_convex = (low_low.astype(np.int8) + high_low + low_high + high_high)[corner] == 1
    differs_low_u = (low_low[corner] == is_convex) | (low_high[corner] == is_convex)
    differs_low_v = (low_low[corner] == is_convex) | (high_low[corner] == is_convex)
    mean = _mean_of_product(_turned(ramp_u, corner, differs_low_u), _turned(ramp_v, corner, differs_low_v))
    coverage[corner] = np.where(is_convex, mean, 1 - mean)
    return coverage


_Ramp = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Value at a pixel's first sample, steps across and down, [pixels] each; a sample is clip(value, 0, 1)."""

_COUNT = np.arange(SAMPLES, dtype=np.float32)[:, None]
_PIXELS = 2048
"""Pixels sampled at once; measured to be fastest on 2 MiB of cache."""


def _turned(ramp: _Ramp, chosen: Int64[np.ndarray, " chosen"], around: Bool[np.ndarray, " chosen"]) -> _Ramp:
    """Ramps of the chosen pixels; 1 - ramp where `around`."""
    value, across, down = (part[chosen] for part in ramp)
    sign = np.where(around, np.float32(-1), np.float32(1))
    return np.where(around, 1 - value, value), sign * across, sign * down


def _mean_of_ramp(
    value: Float32[np.ndarray, " pixels"],
    across: Float32[np.ndarray, " pixels"],
    down: Float32[np.ndarray, " pixels"],
) -> Float32[np.ndarray, " pixels"]:
    """Mean over 16 x 16 samples of clip(value + i across + j down, 0, 1)."""
    # The mean stays the same when samples are counted from the other end, and when across and down are
    # exchanged.
    value = value + (SAMPLES - 1) * (np.minimum(across, 0) + np.minimum(down, 0))
    across, down = np.abs(across), np.abs(down)
    across, down = np.maximum(across, down), np.minimum(across, down)
    mean = np.empty_like(value)
    for start in range(0, len(value), _PIXELS):
        part = slice(start, start + _PIXELS)
        step = across[part]
        inverse = 1 / step
        row = value[part] + down[part] * _COUNT
        above_0 = np.clip(np.ceil(row * -inverse), 0, SAMPLES)  # number of the first sample above 0, and at or above 1
        above_1 = np.clip(np.ceil((1 - row) * inverse), 0, SAMPLES)
        rising = (above_1 - above_0) * (row + step * ((above_0 + above_1 - 1) * np.float32(0.5)))
        mean[part] = (rising - above_1).sum(axis=0)
    return mean * np.float32(1 / SAMPLES**2) + 1  # + 1: above_1 counts the samples that are not 1


def _mean_of_product(u: _Ramp, v: _Ramp) -> Float32[np.ndarray, " pixels"]:
    """Mean over 16 x 16 samples of the product of two ramps."""
    mean = np.empty_like(u[0])
    for start in range(0, len(mean), _PIXELS):
        part = slice(start, start + _PIXELS)
        (u_value, u_across, u_down), (v_value, v_across, v_down) = ([x[part] for x in ramp] for ramp in (u, v))
        u_row, v_row = u_value + u_down * _COUNT, v_value + v_down * _COUNT
        total = np.zeros_like(u_row)
        u_clipped, v_clipped = np.empty_like(u_row), np.empty_like(v_row)
        for _ in range(SAMPLES):
            np.minimum(np.maximum(u_row, 0, out=u_clipped), 1, out=u_clipped)
            np.minimum(np.maximum(v_row, 0, out=v_clipped), 1, out=v_clipped)
            u_clipped *= v_clipped
            total += u_clipped
            u_row += u_across
            v_row += v_across
        mean[part] = total.sum(axis=0)
    return mean * np.float32(1 / SAMPLES**2)

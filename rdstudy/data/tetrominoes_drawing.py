"""Drawing of Tetrominoes: the J piece, rotated, scaled and coloured, with anti-aliased edges.

factors (angle, hue, scale, x, y) -> 32 x 32 RGB
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8


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
LOW = np.array([factor.low for factor in FACTORS])
HIGH = np.array([factor.high for factor in FACTORS])

SHAPE = (32, 32, 3)
"""Height, width and channels of an image."""
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
    if not ((factors >= LOW) & (factors <= HIGH)).all():
        bad = factors[~((factors >= LOW) & (factors <= HIGH)).all(axis=1)][0]
        ranges = ", ".join(f"{factor.name} {factor.low:g} to {factor.high:g}" for factor in FACTORS)
        raise ValueError(f"no image has the factors {bad.tolist()}; allowed: {ranges}")
    images = np.zeros((len(factors), *SHAPE), dtype=np.uint8)
    for start in range(0, len(factors), _PART):
        part = slice(start, start + _PART)
        _render_part(factors[part], images[part].reshape(-1, 3))
    return images


def rendered_parts(factors: np.ndarray) -> Iterator[np.ndarray]:
    """The images of these factors in parts of [images, pixels], uint8."""
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

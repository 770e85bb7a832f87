"""Image grids: originals, reconstructions and samples, one column per beta."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rdstudy.report.figures.style import COLUMN_INCHES, figure_of, new_figure, styled

Images = UInt8[np.ndarray, "images height width channels"]

_GAP = 2  # pixels between pictures
_MAX_BETAS = 8


@styled
def reconstruction_grid(
    originals: Images, reconstructions: Mapping[float, Images], *, ax: Axes | None = None, title: str = ""
) -> Figure:
    """Test examples down, betas across from large to small, the originals in the first column.

    Args:
        reconstructions: beta -> the reconstructions of `originals`, in their order.
    """
    betas = _spread(reconstructions)
    columns = [originals, *(reconstructions[beta] for beta in betas)]
    rows = min(len(column) for column in columns)
    return labelled_grid([c[:rows] for c in columns], ["input", *(f"{b:g}" for b in betas)], ax, title, "β")


@styled
def sample_grid(samples: Mapping[float, Images], *, ax: Axes | None = None, title: str = "") -> Figure:
    """Samples from the prior, decoded; betas across from large to small."""
    betas = _spread(samples)
    rows = min(len(images) for images in samples.values())
    return labelled_grid([samples[b][:rows] for b in betas], [f"{b:g}" for b in betas], ax, title, "β")


@styled
def cell_grid(images: Mapping[str, Images], *, ax: Axes | None = None, title: str = "") -> Figure:
    """One cell: images of each population beside their reconstructions, and samples from its prior.

    Args:
        images: `train_images train_reconstructions test_images test_reconstructions samples`, as far as they are there.
    """
    names = {
        "train_images": "train",
        "train_reconstructions": "reconstructed",
        "test_images": "test",
        "test_reconstructions": "reconstructed",
        "samples": "samples",
    }
    there = [name for name in names if name in images]
    rows = min(len(images[name]) for name in there)
    return labelled_grid([images[name][:rows] for name in there], [names[name] for name in there], ax, title, "")


def _spread(images: Mapping[float, Images]) -> list[float]:
    """Betas from large to small; of more than eight, eight spread over the grid."""
    betas = sorted(images, reverse=True)
    chosen = np.unique(np.linspace(0, len(betas) - 1, min(_MAX_BETAS, len(betas))).round().astype(int))
    return [betas[k] for k in chosen]


def labelled_grid(
    columns: list[Images],
    labels: Sequence[str],
    ax: Axes | None,
    title: str,
    along: str,
    rows: Sequence[str] = (),
) -> Figure:
    """Columns of images with a label under each, and before each row where rows have one."""
    mosaic, side = _mosaic(columns)
    if ax is None:
        height = COLUMN_INCHES * mosaic.shape[0] / mosaic.shape[1] + 0.5
        ax = new_figure(height=height).subplots()
    ax.imshow(mosaic, interpolation="none")
    ax.set_xticks([k * side + (side - _GAP) / 2 for k in range(len(labels))], labels, fontsize=6)
    tall = (mosaic.shape[0] + _GAP) / len(columns[0])
    ax.set_yticks([k * tall + (tall - _GAP) / 2 for k in range(len(rows))], rows, fontsize=6)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel(along)
    if title:
        ax.set_title(title)
    return figure_of(ax)


def as_picture(image: UInt8[np.ndarray, "height width channels"]) -> UInt8[np.ndarray, "height columns 3"]:
    """An image that can be shown: grey and RGB as they are, any other number of channels side by side in grey."""
    height, width, channels = image.shape
    if channels == 3:
        return image
    side_by_side = image.transpose(0, 2, 1).reshape(height, channels * width, 1)
    return np.repeat(side_by_side, 3, axis=2)


def _mosaic(columns: list[Images]) -> tuple[UInt8[np.ndarray, "rows columns 3"], int]:
    """The images on one grey ground, and the distance from one to the next."""
    columns = [np.stack([as_picture(image) for image in images]) for images in columns]
    count, height, width, channels = columns[0].shape
    ground = np.full(
        (count * (height + _GAP) - _GAP, len(columns) * (width + _GAP) - _GAP, channels), 128, dtype=np.uint8
    )
    for k, images in enumerate(columns):
        for j, image in enumerate(images):
            y, x = j * (height + _GAP), k * (width + _GAP)
            ground[y : y + height, x : x + width] = image
    return ground, width + _GAP

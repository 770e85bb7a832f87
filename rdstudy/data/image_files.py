"""The user's own images, from an .npz file or a folder of image files.

    images.npz: `images` uint8 [n, height, width] or [n, height, width, channels], optionally `labels` [n]
    folder/*.png, or folder/CLASS/*.png

Images are never resized or cropped: different sizes are an error that names the first image that differs.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from rdstudy.data.dataset import Dataset, make_dataset

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")


def load_image_files(path: str | Path) -> Dataset:
    """Load images from an .npz file or a folder.

    Files of a folder are sorted by name. With one sub-folder per class, the label is the sub-folder's position
    in alphabetical order.

    Args:
        path: an .npz file (never unpickled) or a folder of .png, .jpg, .jpeg and .bmp files, grey or RGB.

    Raises:
        ValueError: there are no images, or one cannot be used; the message names it.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        return _from_folder(path)
    if path.suffix.lower() == ".npz" and path.is_file():
        return _from_npz(path)
    problem = "exists but is neither" if path.exists() else "does not exist; expected"
    raise ValueError(f"images: {path.resolve()} {problem} an .npz file or a folder of {', '.join(SUFFIXES)} files")


def _from_npz(path: Path) -> Dataset:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {key: file[key] for key in ("images", "labels") if key in file.files}
            found = list(file.files)
        for key, array in arrays.items():
            if not isinstance(array, np.ndarray):
                raise ValueError(f"`{key}` is not an array")
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"images: {path} cannot be read as an .npz file of plain arrays: {error}") from error
    if "images" not in arrays:
        raise ValueError(f"images: {path} holds {', '.join(found) or 'nothing'}; it needs an array `images`")

    images = arrays["images"]
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or 0 in images.shape:
        raise ValueError(
            f"images: `images` in {path} is {images.dtype} {list(images.shape)}; "
            "expected uint8 (0 to 255) [n, height, width] or [n, height, width, channels]"
        )
    labels = arrays.get("labels")
    if labels is not None:
        if labels.dtype.kind not in "iu" or labels.shape != (len(images),) or labels.min() < 0:
            raise ValueError(
                f"images: `labels` in {path} is {labels.dtype} {list(labels.shape)}; "
                f"expected {len(images)} integers of at least 0"
            )
        labels = labels.astype(np.int64)
    height, width = images.shape[1:3]
    return make_dataset(
        "images",
        np.ascontiguousarray(images).reshape(len(images), -1),
        (height, width, images.shape[3] if images.ndim == 4 else 1),
        labels=labels,
    )


def _from_folder(folder: Path) -> Dataset:
    files = sorted(
        (
            file.relative_to(folder)
            for file in folder.rglob("*")
            if file.suffix.lower() in SUFFIXES and not any(part[0] == "." for part in file.relative_to(folder).parts)
        ),
        key=lambda file: file.parts,
    )
    if not files:
        raise ValueError(f"images: {folder} holds no image; looked for {', '.join(SUFFIXES)}")
    depth = len(files[0].parts)
    for file in files:
        if len(file.parts) != depth or depth > 2:
            raise ValueError(
                f"images: {folder} holds {files[0]} and {file}; "
                "images must all be in the folder itself, or all in sub-folders, one per class"
            )

    first = _read(folder, files[0])
    images = np.empty((len(files), *first.shape), dtype=np.uint8)
    for i, file in enumerate(files):
        image = _read(folder, file)
        if image.shape != first.shape:
            raise ValueError(
                f"images: {folder / file} is {_size(image)}, but {files[0]} is {_size(first)}; "
                "all images need the same size and the same channels"
            )
        images[i] = image
    labels = None
    if depth == 2:
        _, labels = np.unique([file.parts[0] for file in files], return_inverse=True)
        labels = labels.astype(np.int64)
    height, width, channels = first.shape
    return make_dataset("images", images.reshape(len(files), -1), (height, width, channels), labels=labels)


def _read(folder: Path, file: Path) -> np.ndarray:
    """One image, [height, width, channels]."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(folder / file) as image:
            mode = image.mode
            pixels: np.ndarray = np.asarray(image)
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ValueError(f"images: {folder / file} cannot be read as an image: {error}") from error
    if mode not in ("L", "RGB"):
        raise ValueError(f"images: {folder / file} has mode {mode}; save it as grey (L) or RGB, eight bits per channel")
    return np.asarray(pixels.reshape(*pixels.shape[:2], -1), dtype=np.uint8)


def _size(image: np.ndarray) -> str:
    height, width, channels = image.shape
    return f"{width}x{height} {'grey' if channels == 1 else 'RGB'}"

"""The user's own images, from an .npz file or a folder of image files.

    images.npz: `images` uint8 [n, height, width] or [n, height, width, channels], optionally `labels` [n]
    folder/*.png, or folder/CLASS/*.png
    folder/train/*.png and folder/test/*.png, or folder/train/CLASS/*.png: the split `standard`

Images are never resized or cropped: different sizes are an error that names the first image that differs. What is
read in another form than it is stored in, or looks wrong, is said in the data set's `notes`; what cannot be read
without loss is refused by name. No file is left out silently.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections import Counter
from pathlib import Path
from typing import IO

import numpy as np

from rdstudy.data.dataset import Dataset, make_dataset
from rdstudy.data.files import open_regular
from rdstudy.data.limits import memory_bytes

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
OTHER_SUFFIXES = frozenset(
    [
        *(".gif", ".tif", ".tiff", ".jp2", ".jpx", ".heic", ".heif", ".avif", ".ppm", ".pgm", ".pbm", ".pnm"),
        *(".tga", ".ico", ".dds", ".exr", ".hdr", ".jfif", ".apng", ".npy"),
    ]
)
"""Image files that are not read, and so are refused instead of left out."""
TRAIN_NAMES, TEST_NAMES = frozenset({"train", "training"}), frozenset({"test", "testing"})
SPLIT_NAMES = TRAIN_NAMES | TEST_NAMES | {"val", "valid", "validation", "dev"}
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
"""Readers of an array's shape and type, by the format's version."""
DARK = 32
"""Images whose largest value is below this are almost black on the scale to 255."""


def load_image_files(path: str | Path) -> Dataset:
    """Load images from an .npz file or a folder.

    Files of a folder are sorted by name. With one sub-folder per class, the label is the sub-folder's position
    in alphabetical order.

    Args:
        path: an .npz file (never unpickled) or a folder of .png, .jpg, .jpeg, .bmp and .webp files.

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
        with open_regular(path) as opened:
            arrays, found = _arrays(opened)
    except Exception as error:  # of a damaged file, NumPy, zipfile and zlib raise a dozen kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise ValueError(f"images: {path} cannot be read as an .npz file of plain arrays: {reason}") from error
    if "images" not in arrays:
        listed = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
        raise ValueError(f"images: {path} holds {listed[:160] or 'nothing'}; it needs an array `images`")

    images = arrays["images"]
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or 0 in images.shape:
        raise ValueError(
            f"images: `images` in {path} is {images.dtype} {list(images.shape)}; "
            "expected uint8 (0 to 255) [n, height, width] or [n, height, width, channels]"
        )
    if images.ndim == 4 and images.shape[1] <= 4 < images.shape[3]:
        raise ValueError(
            f"images: `images` in {path} is {list(images.shape)}, which looks like [n, channels, height, width]; "
            "expected [n, height, width, channels]: store images.transpose(0, 2, 3, 1)"
        )
    labels = arrays.get("labels")
    if labels is not None:
        whole = labels.dtype.kind in "iu" and labels.shape == (len(images),)
        if not whole or labels.min() < 0 or labels.max() >= 2**63:
            raise ValueError(
                f"images: `labels` in {path} is {labels.dtype} {list(labels.shape)}; "
                f"expected {len(images)} integers of at least 0"
            )
        labels = labels.astype(np.int64)
    height, width = images.shape[1:3]
    shape = (height, width, images.shape[3] if images.ndim == 4 else 1)
    return _dataset(np.ascontiguousarray(images).reshape(len(images), -1), shape, labels, [])


def _arrays(opened: IO[bytes]) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays `images` and `labels` of an .npz file, and the names of all. Nothing is unpickled.

    Raises:
        Exception: one of many kinds; the file is damaged, or is none.
    """
    arrays = {}
    with zipfile.ZipFile(opened) as file:
        found = {name.removesuffix(".npy"): name for name in file.namelist()}
        for key in {"images", "labels"} & found.keys():
            with file.open(found[key]) as member:
                shape, _, dtype = _HEADERS[np.lib.format.read_magic(member)](member)
                n_bytes = math.prod(shape) * dtype.itemsize
            if not dtype.hasobject and n_bytes > file.getinfo(found[key]).file_size:
                raise ValueError(f"`{key}` should have {n_bytes:,} bytes, which the file does not hold")
            if n_bytes > memory_bytes():
                raise ValueError(f"`{key}` takes {n_bytes / 2**30:,.1f} GiB, more than this machine's memory")
            with file.open(found[key]) as member:
                arrays[key] = np.lib.format.read_array(member, allow_pickle=False)
    return arrays, list(found)


def _dataset(
    images: np.ndarray,
    shape: tuple[int, int, int],
    labels: np.ndarray | None,
    notes: list[str],
    standard_train: int | None = None,
) -> Dataset:
    """The data set, with notes on what looks wrong with its images [n, pixels]."""
    largest = int(images.max())
    if largest == 1:
        images = images * np.uint8(255)
        notes.append("the values are 0 and 1, and are read as 0 and 255")
    elif largest < DARK:
        notes.append(f"the largest value is {largest} of 255, so the images are almost black: were they scaled?")
    different = len({row.tobytes() for row in images})
    if different == 1 < len(images):
        notes.append("all images are equal")
    elif different < len(images):
        copies = len(images) - different
        notes.append(f"{copies:,} of {len(images):,} images are copies of others, which train and test may share")
    if shape[2] not in (1, 3):
        notes.append(f"{shape[2]} channels, which are drawn side by side: pictures have 1 or 3")
    return make_dataset("images", images, shape, labels=labels, notes=notes, standard_train=standard_train)


def _listed(folder: Path, inside: Path = Path()) -> list[Path]:
    """Paths of the image files in a folder and its folders, relative to it and sorted; links are followed.

    Raises:
        ValueError: there are images of a kind that is not read, or too deep in the folder.
    """
    files = []
    with os.scandir(folder / inside) as entries:
        found = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in found:
        path = inside / entry.name
        suffix = path.suffix.lower()
        if suffix in SUFFIXES:
            files.append(path)
        elif entry.is_dir():
            if len(path.parts) > 3:  # also the end of a link to a folder above
                raise ValueError(f"images: {folder} holds {path}: folders are read three deep, as train/CLASS")
            files += _listed(folder, path)
        elif suffix in OTHER_SUFFIXES:
            raise ValueError(
                f"images: {folder / path} is not read; allowed: {', '.join(SUFFIXES)}. Convert or remove it"
            )
    return files


def _from_folder(folder: Path) -> Dataset:
    try:
        files = sorted(_listed(folder), key=lambda file: file.parts)
    except OSError as error:
        raise ValueError(f"images: {error.filename or folder} cannot be read: {error.strerror or error}") from error
    if not files:
        raise ValueError(f"images: {folder} holds no image; looked for {', '.join(SUFFIXES)}")
    files, n_train = _train_first(folder, files)
    depth = len(files[0].parts)
    deepest = 2 if n_train is None else 3
    for file in files:
        if len(file.parts) != depth or depth > deepest:
            raise ValueError(
                f"images: {folder} holds {files[0]} and {file}; "
                "images must all be in the folder itself, or all in sub-folders, one per class"
            )

    changed: Counter[str] = Counter()
    first = _read(folder, files[0], Counter())
    if len(files) * first.size > memory_bytes():
        raise ValueError(f"images: {folder} takes {len(files) * first.size / 2**30:,.1f} GiB, more than the memory")
    images = np.empty((len(files), *first.shape), dtype=np.uint8)
    for i, file in enumerate(files):
        image = _read(folder, file, changed)
        if image.shape != first.shape:
            raise ValueError(
                f"images: {folder / file} is {_size(image)}, but {files[0]} is {_size(first)}; "
                "all images need the same size and the same channels"
            )
        images[i] = image
    labels = None
    if depth == deepest:
        _, labels = np.unique([file.parts[-2] for file in files], return_inverse=True)
        labels = labels.astype(np.int64)
    height, width, channels = first.shape
    notes = [f"{n:,} images {how}" for how, n in changed.items()]
    return _dataset(images.reshape(len(files), -1), (height, width, channels), labels, notes, standard_train=n_train)


def _train_first(folder: Path, files: list[Path]) -> tuple[list[Path], int | None]:
    """The files, those of a folder `train` before those of `test`, and their number; None if there are no such two.

    Raises:
        ValueError: there are folders of a split, but not these two.
    """
    tops = {file.parts[0] for file in files if len(file.parts) > 1}
    names = {top.lower() for top in tops}
    if len(names) < 2 or not names <= SPLIT_NAMES or any(len(file.parts) == 1 for file in files):
        return files, None
    if len(tops) != 2 or not names & TRAIN_NAMES or not names & TEST_NAMES:
        raise ValueError(
            f"images: {folder} holds the folders {', '.join(sorted(tops))}, which look like parts of a split; "
            "expected train and test (rdstudy takes validation examples from test: dataset.validation_size)"
        )
    train = [file for file in files if file.parts[0].lower() in TRAIN_NAMES]
    return train + [file for file in files if file.parts[0].lower() in TEST_NAMES], len(train)


def _read(folder: Path, file: Path, changed: Counter[str]) -> np.ndarray:
    """One image, [height, width, channels]; counts in `changed` how it was changed."""
    from PIL import Image, ImageOps

    try:
        with open_regular(folder / file) as opened, Image.open(opened) as image:
            mode, frames = image.mode, getattr(image, "n_frames", 1)
            turned = image.getexif().get(274, 1) != 1
            transparent = mode in ("RGBA", "LA", "PA") or "transparency" in image.info
            image.load()
            read = ImageOps.exif_transpose(image) if turned else image
            alpha = np.asarray(read.convert("RGBA"))[..., 3] if transparent else None
            if mode in ("1", "LA"):
                read = read.convert("L")
            elif mode in ("P", "PA", "RGBA"):
                read = read.convert("RGB")
            pixels: np.ndarray = np.asarray(read)
    except OSError as error:
        raise ValueError(f"images: {folder / file} cannot be read as an image: {error.strerror or error}") from error
    except Exception as error:  # Pillow raises many kinds for damaged files
        raise ValueError(f"images: {folder / file} cannot be read as an image: {error}") from error
    if frames > 1:
        raise ValueError(f"images: {folder / file} is animated, with {frames} frames; save one of them")
    if alpha is not None and alpha.min() < 255:
        raise ValueError(f"images: {folder / file} is transparent in places; lay it on a background and save it as RGB")
    if mode not in ("L", "RGB", "1", "P", "LA", "PA", "RGBA"):
        raise ValueError(f"images: {folder / file} has mode {mode}; save it as grey (L) or RGB, eight bits per channel")
    if turned:
        changed["turned upright, as their EXIF orientation says"] += 1
    if mode not in ("L", "RGB"):
        changed[f"of mode {mode} read as {'grey' if mode in ('1', 'LA') else 'RGB'}"] += 1
    return np.asarray(pixels.reshape(*pixels.shape[:2], -1), dtype=np.uint8)


def _size(image: np.ndarray) -> str:
    height, width, channels = image.shape
    return f"{width}x{height} {'grey' if channels == 1 else 'RGB'}"

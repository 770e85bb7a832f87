"""The cache of generated images, which are made once, checked at every read, and complete or absent.

    FOLDER/NAME.npy     the images, memory-mapped when they are read
    FOLDER/NAME.json    its size, checksum and the pixels' SHA-256, written after it

Files are written atomically, so a process that is killed leaves nothing that looks finished. Processes that need the
same images wait for the first one to make them. Where the file system has no locks, each process makes the same
files.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from rdstudy.data.files import TEMPORARY_PREFIX, atomic_file, file_lock

CACHE_VARIABLE = "RDSTUDY_CACHE"

_log = logging.getLogger(__name__)


def cache_folder(cache: str | Path | None = None) -> Path:
    """The folder of generated data: `cache`, else $RDSTUDY_CACHE, else `rdstudy` in the user's cache folder."""
    chosen = cache or os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "rdstudy"


def cached_images(
    name: str,
    shape: tuple[int, int],
    make: Callable[[], Iterable[UInt8[np.ndarray, "some pixels"]]],
    *,
    cache: str | Path | None = None,
) -> tuple[UInt8[np.ndarray, "examples pixels"], str]:
    """Read images from the cache, after making them if they are missing or damaged.

    Args:
        name: name of the files, which must determine the images.
        shape: number of images, and pixels of each.
        make: yields the images in consecutive parts.
        cache: folder, as in `cache_folder`.

    Returns:
        The images as a read-only memory map, and the SHA-256 of their bytes in hexadecimal.

    Raises:
        ValueError: the folder cannot be read or written, or the disk is full.
    """
    folder = cache_folder(cache)
    n_bytes = shape[0] * shape[1]
    with _translate_errors(folder, n_bytes):
        found = _read(folder, name, shape)
        if found is not None:
            return found
        folder.mkdir(parents=True, exist_ok=True)
        with file_lock(folder / f"{name}.lock") as locked:
            found = _read(folder, name, shape)  # another process may have made them while this one waited
            if found is not None:
                return found
            _log.info("making %d images (%.0f MB) in %s", shape[0], n_bytes / 1e6, folder)
            if locked is not None:  # without a lock, an unfinished file may belong to a running process
                for unfinished in folder.glob(f"{TEMPORARY_PREFIX}{name}.*"):
                    unfinished.unlink(missing_ok=True)
            _write(folder, name, shape, make())
            found = _read(folder, name, shape)
    if found is None:
        raise ValueError(f"images written to {folder} read back differently; {_HINT}")
    return found


def _read(folder: Path, name: str, shape: tuple[int, int]) -> tuple[np.ndarray, str] | None:
    """The images and their SHA-256, or None if they are missing or damaged."""
    path = folder / f"{name}.npy"
    try:
        record: Any = json.loads((folder / f"{name}.json").read_bytes())
        n_bytes, digest, checksum = record["bytes"], str(record["sha256"]), record["crc32"]
        if path.stat().st_size != n_bytes:
            raise ValueError(f"it has {path.stat().st_size} bytes instead of {n_bytes}")
        images = np.load(path, mmap_mode="r", allow_pickle=False)
        if images.shape != shape or images.dtype != np.uint8:
            raise ValueError(f"it holds {images.dtype} {images.shape} instead of uint8 {shape}")
        if _checksum(zlib.crc32(images.data), digest) != checksum:
            raise ValueError("its checksum is not the recorded one")
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, EOFError) as error:
        _log.warning("%s is damaged and will be made again: %s", path, error)
        return None
    return images, digest


def _write(folder: Path, name: str, shape: tuple[int, int], parts: Iterable[np.ndarray]) -> None:
    digest, checksum = hashlib.sha256(), 0
    with atomic_file(folder / f"{name}.npy") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        rows = 0
        for part in parts:
            assert part.dtype == np.uint8
            assert part.shape[1] == shape[1]
            file.write(part.data)
            digest.update(part.data)
            checksum = zlib.crc32(part.data, checksum)
            rows += len(part)
        assert rows == shape[0], f"made {rows} images instead of {shape[0]}"
        n_bytes = file.tell()
    with atomic_file(folder / f"{name}.json") as file:
        text = digest.hexdigest()
        record = {"bytes": n_bytes, "sha256": text, "crc32": _checksum(checksum, text)}
        file.write(json.dumps(record).encode())


def _checksum(pixels: int, digest: str) -> int:
    """CRC-32 of the pixels and of their recorded digest: checked eight times faster than SHA-256."""
    return zlib.crc32(digest.encode(), pixels)


_HINT = f"set {CACHE_VARIABLE} (or the argument `cache`) to a folder with room that can be written"


@contextmanager
def _translate_errors(folder: Path, n_bytes: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"generated images cannot be kept in {folder}: {error.strerror or error}; "
            f"they take {n_bytes / 1e6:.1f} MB: {_HINT}"
        ) from error

"""Files that appear whole or not at all: written aside, forced to disk, then renamed."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rdstudy.errors import UserError

ASIDE = ".aside-"
"""Prefix of files being written; readers ignore them, and a later run removes what a killed one left."""


class StorageError(UserError):
    """The results folder cannot be read or written."""


@contextmanager
def explained(path: Path, doing: str) -> Iterator[None]:
    """Turn the operating system's error into one message that names the path and the mend."""
    try:
        yield
    except OSError as error:
        hint = {
            errno.ENOSPC: "the disk is full: free some space",
            errno.EDQUOT: "the disk quota is used up: free some space",
            errno.EROFS: "the file system is read-only",
            errno.EACCES: "permission denied",
            errno.EPERM: "operation not permitted",
            errno.ENOTDIR: "a file stands where a folder is needed",
            errno.EEXIST: "a file stands where a folder is needed",
        }.get(error.errno or 0, error.strerror or str(error))
        raise StorageError(
            f"{path}: {doing} failed: {hint}. What is in the results folder stays as it was; mend this, or choose "
            "another folder with --results, and run the same command again."
        ) from error


def make_folder(path: Path) -> None:
    """Make a folder and its parents."""
    with explained(path, "making the folder"):
        path.mkdir(parents=True, exist_ok=True)


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Call `write` on a file that takes the name `path` only once it is complete and on disk.

    Raises:
        StorageError: it could not be written; `path` is as it was before.
    """
    aside = path.parent / f"{ASIDE}{uuid.uuid4().hex}"
    make_folder(path.parent)
    with explained(path, "writing"):
        try:
            with aside.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)
            _sync_folder(path.parent)
        finally:
            aside.unlink(missing_ok=True)


def move_whole(source: Path, target: Path) -> None:
    """Give a finished file its final name, in one step."""
    make_folder(target.parent)
    with explained(target, "moving a finished file into place"):
        os.replace(source, target)
        _sync_folder(target.parent)


def remove(path: Path) -> None:
    """Remove a file that may be gone already."""
    with explained(path, "removing"):
        path.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed writers left in a folder. Only for the holder of the lock, when no writer is at work."""
    for path in folder.glob(f"{ASIDE}*"):
        remove(path)


def _sync_folder(folder: Path) -> None:
    """Force a rename to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Files that appear whole or not at all: written aside, forced to disk, then renamed; in a bucket, one PUT."""

from __future__ import annotations

import errno
import io
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from rdstudy.errors import UserError
from rdstudy.storage.paths import PASSING, StoragePath, in_bucket, retry, storage_errors

ASIDE = ".aside-"
"""Prefix of files being written; readers ignore them, and a later run removes what a killed one left."""


class StorageError(UserError):
    """The results cannot be read or written."""


@contextmanager
def explained(path: StoragePath, doing: str) -> Iterator[None]:
    """Turn the storage's error into one message that names the path and the mend."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, storage_errors()) or isinstance(error, StorageError):
            raise
        hint = {
            errno.ENOSPC: "the disk is full: free some space",
            errno.EDQUOT: "the disk quota is used up: free some space",
            errno.EROFS: "the file system is read-only",
            errno.EACCES: "permission denied",
            errno.EPERM: "operation not permitted",
            errno.ENOTDIR: "a file stands where a folder is needed",
            errno.EEXIST: "a file stands where a folder is needed",
        }.get(getattr(error, "errno", None) or 0, getattr(error, "strerror", None) or str(error).strip())
        raise StorageError(
            f"{path}: {doing} failed: {hint}. What is in the results stays as it was; mend this, or choose "
            "another place with --results, and run the same command again."
        ) from error


def make_folder(path: StoragePath) -> None:
    """Make a folder and its parents. A bucket needs none."""
    if in_bucket(path):
        return
    with explained(path, "making the folder"):
        path.mkdir(parents=True, exist_ok=True)


def atomic_write(path: StoragePath, write: Callable[[IO[bytes]], object]) -> None:
    """Call `write` on a file that takes the name `path` only once it is complete and on disk.

    Raises:
        StorageError: it could not be written; `path` is as it was before.
    """
    if in_bucket(path):
        buffer = io.BytesIO()
        write(buffer)
        with explained(path, "writing"):
            try:
                retry(lambda: path.fs.pipe_file(path.path, buffer.getvalue()))
            except FileNotFoundError as error:  # a bucket has no folders that could be missing
                raise OSError("the bucket is not there") from error
        return
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


def move_whole(source: StoragePath, target: StoragePath) -> None:
    """Give a finished file its final name, in one step. In a bucket it may then stand under both for a moment."""
    if in_bucket(source) or in_bucket(target):
        with explained(target, "copying a finished file into place"):
            data = retry(source.read_bytes)
        atomic_write(target, lambda file: file.write(data))
        remove(source)
        return
    with explained(target, "moving a finished file into place"):
        retry(lambda: target.parent.mkdir(parents=True, exist_ok=True), only=PASSING)
        retry(lambda: os.replace(source, target), only=PASSING)
        retry(lambda: _sync_folder(target.parent), only=PASSING)


def remove(path: StoragePath) -> None:
    """Remove a file that may be gone already."""
    with explained(path, "removing"):
        if in_bucket(path):
            with suppress(FileNotFoundError):  # asked again, because the answer to the first request was lost
                retry(lambda: path.unlink(missing_ok=True))
        else:
            retry(lambda: path.unlink(missing_ok=True), only=PASSING)


def remove_folder(folder: StoragePath) -> None:
    """Remove a folder with all that is in it; in a bucket, all whose names begin with its."""
    with explained(folder, "removing"):
        if in_bucket(folder):
            with suppress(FileNotFoundError):
                retry(lambda: folder.fs.rm(folder.path, recursive=True))
        else:
            shutil.rmtree(folder)


def remove_leftovers(folder: StoragePath) -> None:
    """Remove what killed writers left in a folder. Only for the holder of the lock, when no writer is at work."""
    if in_bucket(folder):
        return
    for path in folder.glob(f"{ASIDE}*"):
        remove(path)


def _sync_folder(folder: Path) -> None:
    """Force a rename to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Atomic writes and moves, and removal, in a folder or in a bucket.

On disk a file is written under a temporary name, flushed and renamed; in a bucket it is one PUT request.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO

from rdstudy.data.files import TEMPORARY_PREFIX, atomic_file, sync_folder
from rdstudy.errors import UserError
from rdstudy.storage.paths import PASSING, StoragePath, in_bucket, retry, storage_errors


class StorageError(UserError):
    """Results that cannot be read or written."""


@contextmanager
def translate_errors(path: StoragePath, action: str) -> Iterator[None]:
    """Raise errors of the file system or bucket as a `StorageError` that says what failed and how to fix it.

    Args:
        path: the file or folder in use, named in the message.
        action: what was attempted, as in "writing"; begins the message.
    """
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
            errno.ENOTDIR: "a file is in the place of a folder",
            errno.EEXIST: "a file is in the place of a folder",
        }.get(getattr(error, "errno", None) or 0, getattr(error, "strerror", None) or str(error).strip())
        raise StorageError(
            f"{path}: {action} failed: {hint}. Existing results are unchanged. Fix this, or choose another "
            "place with --results, and run the same command again."
        ) from error


def make_folder(path: StoragePath) -> None:
    """Make a folder and its parents. A bucket has no folders, so nothing happens there."""
    if in_bucket(path):
        return
    with translate_errors(path, "making the folder"):
        path.mkdir(parents=True, exist_ok=True)


def atomic_write(path: StoragePath, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file that appears as `path` only once it is complete and on disk.

    Args:
        path: the file, in a folder or in a bucket. Missing folders are made.
        write: called with a binary file, to which it writes the content.

    Raises:
        StorageError: the file could not be written; `path` is unchanged.
    """
    if in_bucket(path):
        buffer = io.BytesIO()
        write(buffer)
        with translate_errors(path, "writing"):
            try:
                retry(lambda: path.fs.pipe_file(path.path, buffer.getvalue()))
            except FileNotFoundError as error:  # a bucket has no folders that could be missing
                raise OSError("the bucket does not exist") from error
        return
    make_folder(path.parent)
    with translate_errors(path, "writing"), atomic_file(path) as file:
        write(file)


def atomic_move(source: StoragePath, target: StoragePath) -> None:
    """Rename a complete file in one step. In a bucket the file is copied, so both names exist for a moment.

    Raises:
        StorageError: the file could not be moved.
    """
    if in_bucket(source) or in_bucket(target):
        with translate_errors(target, "copying a finished file into place"):
            data = retry(source.read_bytes)
        atomic_write(target, lambda file: file.write(data))
        remove(source)
        return
    with translate_errors(target, "moving a finished file into place"):
        retry(lambda: target.parent.mkdir(parents=True, exist_ok=True), only=PASSING)
        retry(lambda: os.replace(source, target), only=PASSING)
        retry(lambda: sync_folder(target.parent), only=PASSING)


def remove(path: StoragePath) -> None:
    """Remove a file. A missing file is no error."""
    with translate_errors(path, "removing"):
        if in_bucket(path):
            with suppress(FileNotFoundError):  # a repeated request, after the answer to the first was lost
                retry(lambda: path.unlink(missing_ok=True))
        else:
            retry(lambda: path.unlink(missing_ok=True), only=PASSING)


def remove_folder(folder: StoragePath) -> None:
    """Remove a folder and its content; in a bucket, every object below this prefix."""
    with translate_errors(folder, "removing"):
        if in_bucket(folder):
            with suppress(FileNotFoundError):
                retry(lambda: folder.fs.rm(folder.path, recursive=True))
        else:
            shutil.rmtree(folder)


def remove_leftovers(folder: StoragePath) -> None:
    """Remove the unfinished files of killed writers. Only for the holder of the lock, while no worker is running."""
    if in_bucket(folder):
        return
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        remove(path)

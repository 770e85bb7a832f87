"""Files on a local or shared disk: written atomically, and locked between processes. Standard library only."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

TEMPORARY_PREFIX = ".aside-"
"""Prefix of unfinished files. Readers ignore them; a later run removes those that a killed process left."""

_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
"""Error numbers of a file system that does not support locks."""
_NO_FOLDER_LOCKS = _NO_LOCKS | {errno.EBADF}
"""The same for a folder, which cannot be opened for writing, as NFS asks of what is locked."""


def open_regular(path: str | Path) -> IO[bytes]:
    """Open a regular file for reading. A pipe, device or socket is refused instead of waited for.

    Raises:
        OSError: there is no such file, it cannot be opened, or it is not a regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that appears as `path` only once it is complete and on disk.

    The content goes to a temporary file in the same folder, which is flushed to disk and then renamed.

    Raises:
        OSError: the file cannot be written; `path` is unchanged.
    """
    temporary = path.parent / f"{TEMPORARY_PREFIX}{path.name}.{uuid.uuid4().hex}"
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, so that a rename survives a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def file_lock(path: Path, *, timeout: float | None = None) -> Iterator[int | None]:
    """Hold an exclusive advisory lock (`flock`) on a file, which is created if it is missing.

    The operating system releases the lock when the process ends, however it ends.

    Args:
        path: the file to lock.
        timeout: seconds to wait for another holder; None waits without limit.

    Yields:
        The open file descriptor, or None where the file system does not support locks.

    Raises:
        BlockingIOError: another process still held the lock after `timeout` seconds.
        OSError: the file cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield descriptor if _acquire(descriptor, timeout) else None
    finally:
        os.close(descriptor)


@contextmanager
def folder_lock(folder: Path) -> Iterator[bool]:
    """Hold an exclusive advisory lock on a folder itself, for as long as it exists under any name.

    Yields:
        Whether the file system has locks of folders; where it has none, nothing is held.

    Raises:
        BlockingIOError: another process holds it.
        OSError: the folder cannot be opened or locked.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield _acquire(descriptor, 0.0, unsupported=_NO_FOLDER_LOCKS)
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, timeout: float | None, *, unsupported: frozenset[int] = _NO_LOCKS) -> bool:
    """Lock an open file or folder. False where the file system does not support that, by these error numbers."""
    started = time.monotonic()
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if timeout is None else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if timeout is None or time.monotonic() - started > timeout:
                raise
            time.sleep(timeout / 20)
        except OSError as error:
            if error.errno not in unsupported:
                raise
            return False
        else:
            return True

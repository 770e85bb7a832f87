"""Temporary folders, which the next run removes if their owner was killed. Standard library only.

    /tmp/rdstudy-ray-k3v8x1zq/.owner    locked by the folder's owner

The owner holds an advisory lock (`flock`) on the file for as long as it lives; the operating system releases it,
however the process ends. So a folder is abandoned if its file can be locked: no process id, which may be given again,
is compared. A folder without the file is nobody's to remove.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rdstudy.data.files import file_lock

PREFIX = "rdstudy-"
OWNER = ".owner"
SHORT = Path("/tmp")
"""A temporary folder with a short name, for sockets, whose names are limited."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def temporary_folder(kind: str, *, parent: Path | None = None) -> Iterator[Path]:
    """Make a temporary folder, and remove it at the end of the context.

    Args:
        kind: what it is for; part of its name.
        parent: where to make it; None: in the system's temporary folder.

    Raises:
        OSError: it cannot be made.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{kind}-", dir=parent))
    unlocked = folder / f"{OWNER}.new"
    with file_lock(unlocked, timeout=0.0) as held:
        if held is not None:  # else the file system has no locks, and only this process removes the folder
            os.rename(unlocked, folder / OWNER)  # it is never seen unlocked
        try:
            yield folder
        finally:
            with suppress(
                OSError
            ):  # another process, such as one of Ray's, still writes to it: the next run removes it
                descriptor = os.open(folder, _FOLDER)
                try:
                    _remove(folder, descriptor)
                finally:
                    os.close(descriptor)


def remove_abandoned() -> list[str]:
    """Remove this user's temporary folders whose owner has ended without removing them.

    Other users' folders, symbolic links and folders without an owner's file stay.

    Returns:
        A message for each folder that could not be removed.
    """
    messages = []
    for parent in dict.fromkeys((Path(tempfile.gettempdir()), SHORT)):
        for folder in sorted(parent.glob(f"{PREFIX}*")):
            try:
                _remove_if_abandoned(folder)
            except OSError as error:
                messages.append(f"{folder}: left by a killed run, and cannot be removed: {error.strerror or error}")
    return messages


def _remove_if_abandoned(folder: Path) -> None:
    try:
        descriptor = os.open(folder, _FOLDER)
    except OSError:  # a link, a file, another user's, or removed meanwhile
        return
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            return
        try:
            owner = os.open(OWNER, _FILE, dir_fd=descriptor)
        except OSError:  # a link, or none: nobody has said that the folder is abandoned when its lock is free
            return
        try:
            if stat.S_ISREG(os.fstat(owner).st_mode) and _is_free(owner):
                _remove(folder, descriptor)
        finally:
            os.close(owner)
    finally:
        os.close(descriptor)


def _is_free(descriptor: int) -> bool:
    """Whether nobody else holds the lock of an open file, which this process holds from now on."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held, or this file system has no locks
        return False
    return os.fstat(descriptor).st_nlink > 0  # else another process has just removed it


def _remove(folder: Path, descriptor: int) -> None:
    """Remove an open folder, following no link; the owner's file last, so that what fails is found again."""
    names = [entry.name for entry in os.scandir(descriptor) if entry.name != OWNER]
    for name in names:
        if stat.S_ISDIR(os.lstat(name, dir_fd=descriptor).st_mode):
            shutil.rmtree(name, dir_fd=descriptor)
        else:
            os.unlink(name, dir_fd=descriptor)
    with suppress(FileNotFoundError):  # where there are no locks there is none
        os.unlink(OWNER, dir_fd=descriptor)
    folder.rmdir()

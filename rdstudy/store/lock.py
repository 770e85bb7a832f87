"""One writer per results folder: the lock, and who holds it.

An advisory lock on the file `lock` (`flock`): the operating system releases it the moment its holder dies, however
it dies, so a dead holder's lock is simply free. The file's text names the holder, for the message only.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rdstudy.errors import UserError
from rdstudy.store.files import explained, make_folder


class LockedError(UserError):
    """Another run holds the results folder."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock.

    Raises:
        LockedError: another process holds it; the message names that process.
        StorageError: the lock file cannot be written.
    """
    make_folder(folder)
    path = folder / "lock"
    with explained(path, "opening the lock"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(
                f"{folder} is being written by {_holder(path)}. Wait for it or end it; `rdstudy status {folder}` "
                "shows how far it is. Another --results folder can be used at the same time."
            ) from None
        with explained(path, "writing the lock"):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(_me()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _me() -> dict[str, str | int]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "user": os.environ.get("USER") or str(os.getuid()),
        "since": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text())
        return "process {pid} of {user} on {host}, since {since}".format(**holder)
    except (OSError, ValueError, KeyError):
        return "another process (it has not said which yet)"

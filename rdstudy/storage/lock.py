"""The lock of a results folder, which admits one writer at a time.

It is an advisory lock (`flock`) on the file `lock`, which the operating system releases when the holder ends, however
it ends. The file's text names the holder, for messages only. Asking for the holder takes a shared lock for a moment,
so a run waits up to a second for the lock. A bucket has leases instead (`lease.py`).
"""

from __future__ import annotations

import datetime as dt
import fcntl
import getpass
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rdstudy.data.files import file_lock, folder_lock
from rdstudy.errors import UserError
from rdstudy.storage.files import StorageError, make_folder, translate_errors
from rdstudy.storage.paths import StoragePath, in_bucket, read_bytes

Holder = dict[str, Any]
"""What a lock or a lease says of the process that holds it."""

LOOK_SECONDS = 1.0
"""Seconds to wait for the lock: far longer than `holder` takes."""


class LockedError(UserError):
    """Another run is writing to the results folder."""


@contextmanager
def locked(results: StoragePath) -> Iterator[Callable[[], None]]:
    """Hold the lock of a results folder or bucket prefix. Gives a check that it is still held, for use before commits.

    Raises:
        LockedError: another process holds it; the message names that process.
        StorageError: the lock cannot be written.
    """
    with _leased(results) if in_bucket(results) else _flocked(results) as check:
        yield check


def holder(results: StoragePath) -> Holder | None:
    """The process that is writing to the results: `host`, `pid`, `user`, `since`; None if there is none.

    The record is empty if the process has not written its name yet. A folder may be read-only, because nothing is
    written. In a bucket, a holder that died counts until its lease has expired.

    Raises:
        StorageError: the lock cannot be read.
    """
    if in_bucket(results):
        from rdstudy.storage.lease import holder as lease_holder

        return lease_holder(results)
    path = results / "lock"
    with translate_errors(path, "looking at the lock"):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _last_named(path)
        finally:
            os.close(descriptor)
    return None


def check_free(results: StoragePath) -> None:
    """Make sure that no process is writing to the results. Writes nothing.

    Raises:
        LockedError: a process holds the lock; the message names it.
        StorageError: the lock cannot be read.
    """
    found = holder(results)
    if found is not None:
        raise LockedError(_refusal(results, found))


def name_of(holder: Mapping[str, object]) -> str:
    """A holder as text for messages."""
    try:
        return "process {pid} of {user} on {host}, since {since}".format(**holder)
    except KeyError:
        return "another process (not yet named)"


@contextmanager
def _leased(results: Any) -> Iterator[Callable[[], None]]:
    from rdstudy.storage.lease import STALE_SECONDS, Lease

    def refused(holder: Holder) -> LockedError:
        return LockedError(
            f"{_refusal(results, holder)} If that process died, its lease expires {STALE_SECONDS:.0f} s after the last "
            "renewal: try again then."
        )

    lease = Lease(results, _me(), refused)
    lease.take()
    try:
        yield lease.check
    finally:
        lease.give_back()


@contextmanager
def _flocked(folder: Path) -> Iterator[Callable[[], None]]:
    make_folder(folder)
    path = folder / "lock"
    with ExitStack() as held:
        with translate_errors(path, "opening the lock"):
            try:
                descriptor = held.enter_context(file_lock(path, timeout=LOOK_SECONDS))
            except BlockingIOError:
                raise LockedError(_refusal(folder, _last_named(path))) from None
        # The folder is locked too: the file may be removed while the run is active.
        try:
            held.enter_context(folder_lock(folder))
        except BlockingIOError:
            raise LockedError(_refusal(folder, _last_named(path))) from None
        if descriptor is None:
            raise StorageError(f"{path}: this file system does not support locks; choose another place with --results")
        with translate_errors(path, "writing the lock"):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(_me()).encode(), 0)
        yield lambda: None  # the operating system keeps the lock for as long as this process lives


def _refusal(results: StoragePath, holder: Mapping[str, object]) -> str:
    return (
        f"{results} is being written by {name_of(holder)}. Wait for it or end it; `rdstudy status {results}` shows its "
        "progress. Another --results location can be used at the same time."
    )


def _me() -> dict[str, str | int]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "user": _user(),
        "since": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return str(os.getuid())


def parse_holder(text: bytes) -> Holder:
    """What a lock or a lease says of its holder: only words and numbers under the known names; else nothing."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str | int) and len(str(value)) <= 200}


def _last_named(path: Path) -> Holder:
    try:
        return parse_holder(read_bytes(path))
    except OSError:
        return {}

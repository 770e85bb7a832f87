"""A lease that its holder renews, in place of a lock, for results in a bucket.

    <results>/lease/000007.json    names the holder, or says that the lease was given back

Each new holder makes the next number, by a PUT that the store refuses if the name exists (S3: `If-None-Match`, GCS:
`ifGenerationMatch=0`), so of two that try at once only one succeeds. The holder rewrites its file every
`RENEW_SECONDS`. A lease not renewed for `STALE_SECONDS` has expired and may be taken over. A holder that was cut off
stops writing after half of that time, before another run can begin.
"""

from __future__ import annotations

import datetime as dt
import json
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from upath import UPath

from rdstudy.errors import UserError
from rdstudy.storage.files import StorageError, remove, translate_errors
from rdstudy.storage.paths import list_files

RENEW_SECONDS = 20.0
STALE_SECONDS = 120.0


def holder(results: UPath) -> dict[str, Any] | None:
    """The record of the lease's holder; None if nobody holds it, or the lease has expired.

    Nothing is written, so the age is by this machine's clock, which must be right to within a minute or so.
    """
    folder = results / "lease"
    with translate_errors(folder, "looking at the lease"):
        names = list(list_files(folder, ".json"))
        if not names:
            return None
        latest = folder / names[-1]
        text: dict[str, Any] = json.loads(latest.read_bytes())
        age = dt.datetime.now(dt.UTC) - latest.fs.modified(latest.path)
    if text.pop("given_back", False) or age.total_seconds() > STALE_SECONDS:
        return None
    text.pop("token", None)
    return text


class Lease:
    """The right to write to results in a bucket, until it is given back or lost."""

    def __init__(self, results: UPath, me: dict[str, Any], refused: Callable[[dict[str, Any]], UserError]) -> None:
        """Prepare a lease for the process `me`; `refused(holder)` makes the error if another process holds it."""
        self.folder = results / "lease"
        self.me, self.refused = me | {"token": uuid.uuid4().hex}, refused
        self.path: UPath
        self._renewed = 0.0
        self._error: Exception | None = None
        self._end = threading.Event()

    def take(self) -> None:
        """Take the lease if it is free or has expired.

        Raises:
            UserError: another process holds it.
            StorageError: the bucket cannot be written.
        """
        with translate_errors(self.folder, "taking the lease"):
            names = list(list_files(self.folder, ".json"))
            number = 1
            if names:
                latest = self.folder / names[-1]
                number = int(names[-1].removesuffix(".json")) + 1
                holder = json.loads(latest.read_bytes())
                if not holder.get("given_back") and self._age(latest) < STALE_SECONDS:
                    raise self.refused(holder)
            self.path = self.folder / f"{number:06d}.json"
            self._renewed = time.monotonic()
            try:
                self.path.fs.pipe_file(self.path.path, self._text(), mode="create")
            except FileExistsError:
                holder = json.loads(self.path.read_bytes())
                if holder.get("token") != self.me["token"]:  # else the request succeeded, but its answer was lost
                    raise self.refused(holder) from None
            if not self._mine():  # another process took and removed leases meanwhile
                raise self.refused({})
            for name in names:
                remove(self.folder / name)
        self._thread = threading.Thread(target=self._keep, name="rdstudy-lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Make sure that the lease is held, before something is written.

        Raises:
            StorageError: it was not renewed for so long that another run may have taken it over.
        """
        if time.monotonic() - self._renewed > STALE_SECONDS / 2:
            reason = f": {self._error}" if self._error else ""
            raise StorageError(
                f"{self.path}: the lease was lost, because it could not be renewed for "
                f"{STALE_SECONDS / 2:.0f} s{reason}. No file is incomplete. Run the same command again."
            )

    def give_back(self) -> None:
        """End the lease, so that the next run does not have to wait."""
        self._end.set()
        self._thread.join(timeout=RENEW_SECONDS)
        if self._mine():
            self.path.fs.pipe_file(self.path.path, self._text(given_back=True))

    def _keep(self) -> None:
        while not self._end.wait(RENEW_SECONDS):
            began = time.monotonic()
            try:
                if not self._mine():
                    self._error = UserError("another run took it over")
                    return
                self.path.fs.pipe_file(self.path.path, self._text())
                self._renewed = began
            except Exception as error:  # reported by `check`; until then renewal is tried again
                self._error = error

    def _mine(self) -> bool:
        return list(list_files(self.folder, ".json"))[-1:] == [self.path.name]

    def _text(self, **more: object) -> bytes:
        return json.dumps({**self.me, **more}).encode()

    def _age(self, path: UPath) -> float:
        """Seconds since a lease was renewed, by the bucket's clock, since this machine's may be wrong."""
        clock = self.folder / "clock"
        clock.fs.pipe_file(clock.path, b"")
        age: dt.timedelta = clock.fs.modified(clock.path) - path.fs.modified(path.path)
        return age.total_seconds()

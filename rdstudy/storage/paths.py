"""Paths of results: a folder, or a prefix in a bucket (`s3://bucket/name`, `gs://bucket/name`).

A folder is a `pathlib.Path`; a prefix in a bucket is a `upath.UPath`, which has the same methods. Credentials come from
the environment, where the provider's own tools look for them, and are never written.
"""

from __future__ import annotations

import errno
import os
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from rdstudy.data.files import open_regular
from rdstudy.data.temporary import temporary_folder
from rdstudy.errors import UserError

if TYPE_CHECKING:
    from typing_extensions import TypeIs
    from upath import UPath

    StoragePath: TypeAlias = Path | UPath
else:
    StoragePath: TypeAlias = object  # importing upath takes a quarter of a second, and most runs do not need it

BUCKETS = {"s3": "s3fs", "gs": "gcsfs"}
"""Supported kinds of buckets, with the library that reads each."""

PATIENCE_SECONDS = 240.0
"""Seconds for which failing requests to a bucket or shared folder are repeated, besides the retries of its library."""
PASSING = frozenset({errno.EIO, errno.EROFS, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN})
"""Error numbers of a file system that may recover, unlike those of a full disk or a missing permission."""
MAX_NAME = 240
"""Bytes of one name in a path; file systems allow 255, and temporary files take some more."""
LONGEST_WAIT = 15.0
_FINAL = (FileNotFoundError, FileExistsError, IsADirectoryError)
Result = TypeVar("Result")


def default_results(name: str) -> StoragePath:
    """Where results of a study go unless said otherwise: NAME in RDSTUDY_RESULTS, or in the folder `results`."""
    return storage_path(os.environ.get("RDSTUDY_RESULTS") or "results") / name


def storage_path(results: str | Path | StoragePath) -> StoragePath:
    """Convert a results argument to a path.

    Args:
        results: a folder, `s3://BUCKET/NAME` or `gs://BUCKET/NAME`.

    Raises:
        UserError: the kind of storage is unknown, or its library is not installed.
    """
    text = str(results)
    if isinstance(results, str):
        _check_name(text)
    if not isinstance(results, str) or "://" not in text:
        return _folder(results) if isinstance(results, str) else results
    kind, _, rest = text.partition("://")
    if kind not in BUCKETS or not rest.strip("/"):
        raise UserError(f"{text}: not a results location: give a folder, s3://BUCKET/NAME or gs://BUCKET/NAME")
    if find_spec(BUCKETS[kind]) is None:
        raise UserError(f"{text}: reading {kind}:// needs {BUCKETS[kind]}: pip install 'rdstudy[{kind}]'")
    from upath import UPath

    # Listings must not be cached, because other machines write.
    return UPath(text.rstrip("/"), use_listings_cache=False)


def _check_name(text: str) -> None:
    problem = None
    if not text.strip():
        problem = "an empty name"
    elif any(ord(character) < 32 or 127 <= ord(character) < 160 for character in text):
        problem = f"{text[:80]!a} has control characters"
    elif any(len(os.fsencode(part)) > MAX_NAME for part in text.split("/")):
        problem = f"{text[:40]}... is longer than {MAX_NAME} bytes"
    elif re.match(rf"({'|'.join(BUCKETS)}):/?[^/]", text):
        problem = f"{text[:80]} has too few slashes"
    if problem:
        raise UserError(f"results: {problem}: give a folder, s3://BUCKET/NAME or gs://BUCKET/NAME")


def _folder(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UserError(f"results: {text[:80]}: there is no such user") from None


def in_bucket(path: StoragePath) -> TypeIs[UPath]:
    """Whether a path is in a bucket, which has neither renames nor locks."""
    return not isinstance(path, Path)


def absolute(results: StoragePath) -> str:
    """The path as text that means the same on every machine that shares the storage."""
    return str(results) if in_bucket(results) else str(results.resolve())


def storage_errors() -> tuple[type[Exception], ...]:
    """The exceptions of storage: `OSError`, and those of the bucket libraries that are imported."""
    errors: list[type[Exception]] = [OSError]
    for module, name in (
        ("botocore.exceptions", "BotoCoreError"),
        ("botocore.exceptions", "ClientError"),
        ("aiohttp", "ClientError"),
        ("gcsfs.retry", "HttpError"),
        ("google.auth.exceptions", "GoogleAuthError"),
    ):
        if module in sys.modules:
            errors.append(getattr(sys.modules[module], name))
    return tuple(errors)


def is_forbidden(error: Exception) -> bool:
    """Whether a bucket refused a request for lack of permission. gcsfs has no exception class for it."""
    return (
        isinstance(error, PermissionError)
        or getattr(error, "code", None) in (401, 403)
        or (type(error) is OSError and str(error).startswith("Forbidden"))
    )


def retry(request: Callable[[], Result], *, only: frozenset[int] | None = None) -> Result:
    """Return the result of a request, which is repeated with growing waits while the storage fails.

    Args:
        request: the request to a bucket or folder.
        only: error numbers to repeat after, for a folder; any other error is raised at once.

    Raises:
        PermissionError: permission is denied; raised at once.
        OSError: the file or bucket does not exist (raised at once), or the storage did not recover in time.
    """
    wait, until = 0.5, time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return request()
        except storage_errors() as error:
            if only is not None and getattr(error, "errno", None) not in only:
                raise
            if is_forbidden(error):
                raise PermissionError(errno.EACCES, "permission denied") from error
            if isinstance(error, _FINAL) or time.monotonic() + wait > until:
                raise
            time.sleep(wait * random.uniform(0.5, 1))  # spread the retries of workers that failed together
            wait = min(2 * wait, LONGEST_WAIT)


def list_files(folder: StoragePath, suffix: str) -> dict[str, int]:
    """Names and sizes in bytes of the files directly in a folder, sorted by name; empty if there is no folder.

    Unfinished files (names with a leading dot) are left out.
    """
    found: dict[str, int] = {}
    if in_bucket(folder):
        try:
            listed = retry(lambda: folder.fs.ls(folder.path, detail=True))
        except FileNotFoundError:
            return {}
        found = {Path(one["name"]).name: int(one["size"]) for one in listed if one["type"] == "file"}
    elif folder.is_dir():
        for path in folder.iterdir():
            try:
                found[path.name] = path.stat().st_size
            except OSError:
                if path.is_symlink():
                    found[path.name] = 0  # a link to nothing or to itself: an error once it is read
    return {name: found[name] for name in sorted(found) if name.endswith(suffix) and not name.startswith(".")}


def list_folders(folder: StoragePath) -> list[StoragePath]:
    """The folders directly in a folder, sorted by name; empty if there is no folder."""
    if in_bucket(folder):
        try:
            listed = retry(lambda: folder.fs.ls(folder.path, detail=True))
        except FileNotFoundError:
            return []
        return [folder / Path(one["name"]).name for one in listed if one["type"] == "directory"]
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def read_bytes(path: StoragePath) -> bytes:
    """The content of a file; of a folder's file only if it is a regular one, so that no pipe is waited for.

    Raises:
        OSError: it cannot be read.
    """
    if in_bucket(path):
        return retry(path.read_bytes)
    with open_regular(path) as file:
        return file.read()


@contextmanager
def local_copy(path: StoragePath) -> Iterator[Path]:
    """Give a local file with the same content, for libraries that read only local files."""
    if not in_bucket(path):
        yield path
        return
    with temporary_folder("copy") as folder:
        copy = folder / path.name
        copy.write_bytes(retry(path.read_bytes))
        yield copy

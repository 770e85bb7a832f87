"""Where results lie: a folder, or a prefix of a bucket (`s3://bucket/name`, `gs://bucket/name`).

A folder is a `pathlib.Path`; a prefix of a bucket is a `upath.UPath`, which has the same methods. Credentials come from
the environment, as the provider's own tools find them; none is written anywhere.
"""

from __future__ import annotations

import errno
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from rdstudy.errors import UserError

if TYPE_CHECKING:
    from typing_extensions import TypeIs
    from upath import UPath

    StoragePath: TypeAlias = Path | UPath
else:
    StoragePath: TypeAlias = Any  # importing upath takes a quarter of a second, and few need it

BUCKETS = {"s3": "s3fs", "gs": "gcsfs"}
"""Kinds of buckets, and the library that reads each."""

PATIENCE_SECONDS = 240.0
"""How long a bucket may refuse requests before a run gives up, beside what its library tries again by itself; and how
long a shared folder may be out of order while its server fails over."""
PASSING = frozenset({errno.EIO, errno.EROFS, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN})
"""What a file system says while it is out of order. A disk that is full, or a permission, does not mend itself."""
LONGEST_WAIT = 15.0
_FINAL = (FileNotFoundError, FileExistsError, IsADirectoryError)
Result = TypeVar("Result")


def default_results(name: str) -> StoragePath:
    """Where results of a study go unless said otherwise: NAME in RDSTUDY_RESULTS, or in the folder `results`."""
    return storage_path(os.environ.get("RDSTUDY_RESULTS") or "results") / name


def storage_path(results: str | Path | StoragePath) -> StoragePath:
    """The place that a results argument names.

    Raises:
        UserError: a kind of storage that is not known, or whose library is not installed.
    """
    text = str(results)
    if not isinstance(results, str) or "://" not in text:
        return Path(results) if isinstance(results, str) else results
    kind, _, rest = text.partition("://")
    if kind not in BUCKETS or not rest.strip("/"):
        raise UserError(f"{text}: not a results location: give a folder, s3://BUCKET/NAME or gs://BUCKET/NAME")
    if find_spec(BUCKETS[kind]) is None:
        raise UserError(f"{text}: reading {kind}:// needs {BUCKETS[kind]}: pip install 'rdstudy[{kind}]'")
    from upath import UPath

    # Listings are never kept: other machines write.
    return UPath(text.rstrip("/"), use_listings_cache=False)


def in_bucket(path: StoragePath) -> TypeIs[UPath]:
    """Whether a location is in a bucket, where there is no rename and no lock."""
    return not isinstance(path, Path)


def absolute(results: StoragePath) -> str:
    """The location as text that means the same on every machine that shares it."""
    return str(results) if in_bucket(results) else str(results.resolve())


def storage_errors() -> tuple[type[Exception], ...]:
    """What storage raises: the operating system's errors, and those of a bucket's library where it is in use."""
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
    """Whether a bucket refused a request because of who asked; gcsfs has no error of its own for it."""
    return (
        isinstance(error, PermissionError)
        or getattr(error, "code", None) in (401, 403)
        or (type(error) is OSError and str(error).startswith("Forbidden"))
    )


def retry(request: Callable[[], Result], *, only: frozenset[int] | None = None) -> Result:
    """What a request to a bucket or a folder gives, tried again with growing waits while that is out of order.

    What trying again cannot mend (no such bucket, no permission) is raised at once, and so is, for a folder, all that
    is not among the error numbers `only`.
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
            time.sleep(wait * random.uniform(0.5, 1))  # workers that failed together do not come back together
            wait = min(2 * wait, LONGEST_WAIT)


def list_files(folder: StoragePath, suffix: str) -> dict[str, int]:
    """Names and sizes in bytes of the files directly in a folder, in the order of names. No folder, no files.

    Files that are being written aside (names with a leading dot) are left out.
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
            except FileNotFoundError:
                continue  # went away after it was listed
    return {name: found[name] for name in sorted(found) if name.endswith(suffix) and not name.startswith(".")}


def list_folders(folder: StoragePath) -> list[StoragePath]:
    """The folders directly in a folder, in the order of names."""
    if in_bucket(folder):
        try:
            listed = retry(lambda: folder.fs.ls(folder.path, detail=True))
        except FileNotFoundError:
            return []
        return [folder / Path(one["name"]).name for one in listed if one["type"] == "directory"]
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


@contextmanager
def local_copy(path: StoragePath) -> Iterator[Path]:
    """A file of this machine with the same content, for libraries that read nothing else."""
    if not in_bucket(path):
        yield path
        return
    with TemporaryDirectory(prefix="rdstudy-") as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(retry(path.read_bytes))
        yield copy

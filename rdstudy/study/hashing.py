"""Names made from what they name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import lru_cache

_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


@lru_cache(65536, typed=True)
def encoded(value: str | int | float | None) -> str:
    """A scalar as JSON; grids have few different ones."""
    return _JSON.encode(value)


def digest(record: dict[str, object], n_bytes: int) -> str:
    """Hexadecimal hash of a record: `n_bytes` bytes, the same for equal records everywhere."""
    return _hash(_JSON.encode(record), n_bytes)


def flat_digest(names: Sequence[str], values: Iterable[str | int | float | None], n_bytes: int) -> str:
    """`digest` of the record of these names, ascending, and scalar values; faster."""
    return _hash("{" + ",".join([f'"{n}":{encoded(v)}' for n, v in zip(names, values, strict=True)]) + "}", n_bytes)


def _hash(text: str, n_bytes: int) -> str:
    return hashlib.blake2b(text.encode(), digest_size=n_bytes).hexdigest()

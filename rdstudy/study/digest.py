"""Names made from what they name."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def digest(record: dict[str, Any], n_bytes: int) -> str:
    """Hexadecimal hash of a record: `n_bytes` bytes, the same for equal records everywhere."""
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=n_bytes).hexdigest()

"""Where every random number of a cell comes from: (stream, purpose, chunk) -> generator.

A stream is named by a cell's `stream_id`: cells that differ only in what is compared within a seed (beta, prior, ...)
share it, all others have their own. A cell draws the same numbers alone, in any pack, and after any interruption. The
generators are NumPy's counter-based Philox (Salmon et al. 2011), drawn on the CPU: the same bits on every device.
"""

from __future__ import annotations

import hashlib

import numpy as np


def generator(stream_id: str, purpose: str, *chunk: int | str) -> np.random.Generator:
    """A fresh generator that depends on nothing but its arguments.

    Args:
        stream_id: names the stream, a cell's `stream_id`.
        purpose: what it draws for: `initialisation`, `order`, `noise`, `evaluation`, `samples`, or a measure's stream.
        chunk: which part of the stream, e.g. the epoch, or (step, population).

    >>> generator("a cell", "noise", 3).random() == generator("a cell", "noise", 3).random()
    True
    """
    name = "/".join([stream_id, purpose, *map(str, chunk)])
    key = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=key))

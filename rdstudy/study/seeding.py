"""Where every random number of a cell comes from: (cell, purpose, chunk) -> generator.

No stream is shared between cells, so that a cell draws the same numbers alone, in any pack, and after any
interruption. The generators are NumPy's counter-based Philox (Salmon et al. 2011), drawn on the CPU: the same bits
on every device.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np

Purpose = Literal["initialisation", "order", "noise", "evaluation", "information", "likelihood", "samples"]


def generator(cell_id: str, purpose: Purpose, *chunk: int | str) -> np.random.Generator:
    """A fresh generator that depends on nothing but its arguments.

    Args:
        cell_id: the cell that draws.
        purpose: what it draws for.
        chunk: which part of the stream, e.g. the epoch, or (step, population).

    >>> generator("a cell", "noise", 3).random() == generator("a cell", "noise", 3).random()
    True
    """
    name = "/".join([cell_id, purpose, *map(str, chunk)])
    key = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=key))

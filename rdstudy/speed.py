"""How fast a device multiplies matrices, which is what training is measured against."""

from __future__ import annotations

import time
from functools import lru_cache

import torch

PROBE_SECONDS = 0.15
ROWS, SIDE = 1024, 1024
"""Of the products that are timed: large enough that nothing else counts."""


@lru_cache(8)
def product_rate(device: torch.device, dtype: torch.dtype = torch.float32) -> float:
    """Floating-point operations per second of matrix products, on as many threads as PyTorch has now. Timed once."""
    a = torch.ones(ROWS, SIDE, device=device, dtype=dtype)
    b = torch.ones(SIDE, SIDE, device=device, dtype=dtype)
    out = torch.mm(a, b)
    _wait(device)
    n, started = 0, time.perf_counter()
    while time.perf_counter() - started < PROBE_SECONDS:
        for _ in range(4 if device.type == "cpu" else 256):
            torch.mm(a, b, out=out)
            n += 1
        _wait(device)
    return n * 2.0 * ROWS * SIDE * SIDE / (time.perf_counter() - started)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()

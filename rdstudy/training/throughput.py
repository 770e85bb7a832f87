"""How fast a device multiplies matrices, which is what training is measured against."""

from __future__ import annotations

import time
from functools import lru_cache

import torch

PROBE_SECONDS = 0.15
SIDE = {"cpu": 1024, "mps": 1024, "cuda": 4096}
"""Of the square products that are timed: large enough that nothing else counts."""
AT_ONCE = {"cpu": 4, "mps": 64, "cuda": 8}
"""Products between two looks at the clock."""


@lru_cache(8)
def matmul_flops(device: torch.device, dtype: torch.dtype = torch.float32) -> float:
    """Floating-point operations per second of matrix products, on as many threads as PyTorch has now. Timed once."""
    side = SIDE[device.type]
    a = torch.linspace(-1, 1, side * side, device=device).view(side, side).to(dtype)
    out = torch.mm(a, a)
    _wait(device)
    n, started = 0, time.perf_counter()
    while time.perf_counter() - started < PROBE_SECONDS:
        for _ in range(AT_ONCE[device.type]):
            torch.mm(a, a, out=out)
            n += 1
        _wait(device)
    return n * 2.0 * side**3 / (time.perf_counter() - started)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()

"""Devices: which one to use, its CPU threads, and how to tell that memory ran out."""

from __future__ import annotations

import gc

import torch

from rdstudy.errors import UserError
from rdstudy.study import Study

_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")
"""PyTorch's CPU allocator, the CUDA driver and cuBLAS raise a plain RuntimeError with one of these."""


def pick_device(wanted: str) -> torch.device:
    """The device that `resources.device` means on this machine.

    Args:
        wanted: auto, cpu, cuda or mps.

    Raises:
        UserError: this machine has no such device.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return torch.device(next(name for name, is_available in available.items() if is_available))
    if not available[wanted]:
        raise UserError(
            f"resources.device is {wanted}, which this machine does not have; "
            f"it has {', '.join(name for name, is_available in available.items() if is_available)}"
        )
    return torch.device(wanted)


def use_threads(study: Study) -> None:
    """Set PyTorch's number of CPU threads to `resources.cpus_per_pack`."""
    torch.set_num_threads(study.resources.cpus_per_pack)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether this error, or the one that caused it, says that memory ran out."""
    if error is None:
        return False
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if any(words in str(error) for words in _OUT_OF_MEMORY):
        return True
    return is_out_of_memory(error.__cause__ or error.__context__)


def release_memory(device: torch.device) -> None:
    """Free what a failed attempt held: its objects refer to each other, so only the garbage collector frees them."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()

"""A training step as a CUDA graph: recorded once, then launched as a whole.

A step of a small stack is some thirty kernels of a few microseconds each; launching them one by one from Python takes
longer than they run.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Int64
from torch import Tensor


class CudaGraphStep:
    """A step that was recorded, and can be taken again and again.

    What it reads and writes lies where it lay when it was recorded: whoever replaces one of its tensors, or changes
    what the step does, records it anew.
    """

    def __init__(self, step: Callable[[Int64[Tensor, " 1"]], None], device: torch.device) -> None:
        """
        Args:
            step: called once, and recorded, with a tensor on the device that will hold the number of the step. It was
                taken at least once before, so that all that it makes at its first call is there.
            device: a CUDA device.
        """
        self._number = torch.zeros(1, dtype=torch.int64, device=device)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads, which send the next chunk, may go on meanwhile.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            step(self._number)
            self._number.add_(1)

    def __call__(self, steps: range) -> None:
        """Take the steps of these numbers, one after the other."""
        self._number.fill_(steps.start)
        for _ in steps:
            self._graph.replay()

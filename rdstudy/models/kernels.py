"""Passes over the pixels of a batch that a CUDA device takes in one kernel where PyTorch's own operations take several.

A small model has as many pixels as a large one, and a GPU is through with its products so fast that every pass shows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

_PIXEL_GRADIENT = """
template <typename T> T pixel_gradient(T logit, T bias, T intensity, T scale) {
  return (T(1) / (T(1) + exp(-(logit + bias))) - intensity) * scale;
}
"""


def intensities_into(out: Float[Tensor, "*batch pixels"], images: UInt8[Tensor, "*batch pixels"]) -> None:
    """Bytes as intensities in [0, 1]."""
    if out.device.type == "cuda" and out.dtype == torch.float32:  # in which PyTorch divides bytes, whatever `out` is
        torch.div(images, 255, out=out)
    else:
        out.copy_(images).div_(255)  # a CPU is slower where types are mixed than with a second pass


def fused_pixel_gradient(
    logits: Float[Tensor, "models rows pixels"],
    bias: Float[Tensor, "models 1 pixels"],
    images: Float[Tensor, "models rows pixels"],
    batch_size: int,
) -> Float[Tensor, "models rows pixels"]:
    """Gradient of the distortion by the logits: (sigmoid(logits + bias) - x) / B, 0 in rows beyond the batch.

    Args:
        logits: of the pixels, less their bias, on a CUDA device.
        bias: of the logits.
        images: intensities.
        batch_size: B, rows of the batch.
    """
    gradient: Tensor = _kernel()(logits, bias, images, scale=1 / batch_size)
    gradient[:, batch_size:].zero_()
    return gradient


@cache
def _kernel() -> Callable[..., Tensor]:
    """Compiled at its first call, by CUDA's run-time compiler, which comes with PyTorch."""
    kernel: Callable[..., Tensor] = torch.cuda.jiterator._create_jit_fn(_PIXEL_GRADIENT, scale=1.0)
    return kernel

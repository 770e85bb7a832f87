"""The Bernoulli likelihood on intensities, as published VAE code has it. Imports torch only where it computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float
    from torch import Tensor


class Bernoulli:
    """-log p(x|z) is the cross-entropy of the pixels' intensities in [0, 1] with the decoder's logits.

    As in the paper, and as published VAE code does it: for intensities strictly between 0 and 1 this is not a
    normalised likelihood, so values compare between models of one data set only. Its floor is the images' own entropy.

    >>> import torch
    >>> Bernoulli().distortion(torch.zeros(1, 2), torch.rand(1, 2))  # a decoder that knows nothing: log 2 a pixel
    tensor([1.3863])
    """

    outputs_per_pixel: ClassVar[int] = 1

    def distortion(
        self, output: Float[Tensor, "*examples pixels"], images: Float[Tensor, "*examples pixels"]
    ) -> Float[Tensor, "*examples"]:
        """Cross-entropy in nats, summed over pixels and channels."""
        from torch.nn.functional import softplus

        return (softplus(output) - images * output).sum(-1)

    def mean_image(self, output: Float[Tensor, "*examples pixels"]) -> Float[Tensor, "*examples pixels"]:
        """The pixels' probabilities."""
        return output.sigmoid()

    def sample(self, rng: np.random.Generator, output: Float[Tensor, "*examples pixels"]) -> Tensor:
        """Pixels of 0 or 1, for which the likelihood is normalised."""
        import torch

        uniform = torch.from_numpy(rng.random(tuple(output.shape), dtype="float32")).to(output)
        return (uniform < output.sigmoid()).to(output)

    def distortion_gradient(self, output: Tensor, images: Tensor, weight: Tensor) -> Tensor:
        """weight * (sigmoid(logits) - x), in place of the logits."""
        return output.sigmoid_().sub_(images).mul_(weight)

    def fused_distortion_gradient(self, output: Tensor, bias: Tensor, images: Tensor, batch_size: int) -> Tensor:
        """The same on a CUDA device in one kernel."""
        from rdstudy.models.kernels import fused_pixel_gradient

        return fused_pixel_gradient(output, bias, images, batch_size)

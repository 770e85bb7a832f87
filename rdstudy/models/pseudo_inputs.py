"""The learned images that a prior is made of, as more rows of the encoder's batch in training."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from rdstudy.models.protocols import EncodedPrior, Values


class PseudoInputs:
    """Those of K models. A step takes their images behind the batch's, their code from the batch's, and `backward`."""

    def __init__(
        self,
        prior: EncodedPrior,
        p: Values,
        grad: Values,
        batch: Float[Tensor, "models all_rows pixels"],
        delta: Float[Tensor, "models rows code"],
    ) -> None:
        """
        Args:
            prior: says how the images are made.
            p: what they are made from, [models, *shape].
            grad: where its gradients are written.
            batch: of the encoder, to be filled; its last rows are for the pseudo-inputs, in front of zeros as padding.
            delta: zeros, for the gradient of the code of these last rows.
        """
        self._prior, self._p, self._grad, self._batch = prior, p, grad, batch
        self.rows = delta.shape[1]
        self.delta = delta
        self.code_grad = delta[:, : prior.n_inputs]
        first = batch.shape[1] - self.rows
        self._examples, self._own = slice(first), slice(first, first + prior.n_inputs)
        self._leaves: dict[str, Tensor] = {}
        self._images = torch.empty(0)

    def behind(self, images: Float[Tensor, "models rows pixels"]) -> Float[Tensor, "models all_rows pixels"]:
        """The encoder's batch: these images, then the pseudo-inputs by the present parameters, then padding."""
        self._leaves = {name: each.detach().requires_grad_() for name, each in self._p.items()}
        with torch.enable_grad():
            self._images = self._prior.inputs(self._leaves)
        self._batch[:, self._examples] = images
        self._batch[:, self._own] = self._images.detach()
        return self._batch

    def code(self, code: Float[Tensor, "models all_rows code"]) -> Float[Tensor, "models inputs code"]:
        """That of the pseudo-inputs, from the whole batch's."""
        return code[:, self._own]

    def backward(self, delta: Float[Tensor, "models rows pixels"]) -> None:
        """Write the parameters' gradients for this gradient of the last rows' images, and free the graph."""
        delta = delta[:, : self._images.shape[1]].to(self._images.dtype)
        found = torch.autograd.grad(self._images, list(self._leaves.values()), delta, materialize_grads=True)
        for place, each in zip(self._grad.values(), found, strict=True):
            place.copy_(each)
        self._images = torch.empty(0)

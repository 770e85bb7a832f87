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
            batch: of the encoder, to be filled; its last rows are for the pseudo-inputs and some more as padding, so
                that no vectorised kernel ends inside a model.
            delta: zeros, for the gradient of the code of these last rows.
        """
        self._prior, self._p, self._grad, self._batch = prior, p, grad, batch
        self.rows, self.delta = delta.shape[1], delta
        self.code_grad = delta[:, : prior.n_inputs]
        self._first = batch.shape[1] - self.rows
        self._padded = {name: each.new_zeros(len(each), self.rows, *each.shape[2:]) for name, each in p.items()}
        self._leaves: list[Tensor] = []
        self._images = torch.empty(0)

    def behind(self, images: Float[Tensor, "models rows pixels"]) -> Float[Tensor, "models all_rows pixels"]:
        """The encoder's batch: these images, then the pseudo-inputs by the present parameters, then padding."""
        for name, each in self._p.items():
            self._padded[name][:, : each.shape[1]] = each
        leaves = {name: each.detach().requires_grad_() for name, each in self._padded.items()}
        with torch.enable_grad():
            self._images = self._prior.inputs(leaves)
        self._leaves = list(leaves.values())
        self._batch[:, : self._first] = images
        self._batch[:, self._first :] = self._images.detach()
        return self._batch

    def code(self, code: Float[Tensor, "models all_rows code"]) -> Float[Tensor, "models inputs code"]:
        """That of the pseudo-inputs, from the whole batch's."""
        return code[:, self._first : self._first + self.code_grad.shape[1]]

    def backward(self, delta: Float[Tensor, "models rows pixels"]) -> None:
        """Write the parameters' gradients for this gradient of the last rows' images, and free the graph."""
        found = torch.autograd.grad(self._images, self._leaves, delta.to(self._images.dtype), materialize_grads=True)
        for place, each in zip(self._grad.values(), found, strict=True):
            place.copy_(each[:, : place.shape[1]])
        self._images = torch.empty(0)

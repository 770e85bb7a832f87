"""One VAE: a ReLU MLP encoder and its mirror image as decoder, as a plain `nn.Module`.

The reference that the stack is tested against, and what `load_model` gives back.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rdstudy.models.objective import Posterior
from rdstudy.models.shape import Layer, ModelShape


class Affine(nn.Module):
    """x -> x @ weight + bias, with weight [inputs, outputs] as in the stack (the transpose of `nn.Linear`'s)."""

    def __init__(self, weight: Float[Tensor, "inputs outputs"], bias: Float[Tensor, " outputs"]) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(bias)

    def forward(self, x: Float[Tensor, "*examples inputs"]) -> Float[Tensor, "*examples outputs"]:
        """The layer's output, without a nonlinearity."""
        if x.dim() != 2:
            return x @ self.weight + self.bias
        return torch.addmm(self.bias, x, self.weight)


class VAE(nn.Module):
    """A variational autoencoder with Gaussian posterior, standard normal prior and Bernoulli decoder.

    Has no hidden randomness: `encode` gives the posterior, the caller samples, `decode` gives the pixels' logits.
    """

    def __init__(self, shape: ModelShape, row: Float[Tensor, " row"]) -> None:
        """
        Args:
            shape: sizes of the layers.
            row: all parameters, one after the other, as in one row of a stack; the module's parameters are views of it.
        """
        super().__init__()
        self.shape = shape
        encoder, decoder = shape.layers
        self.encoder = _mlp(encoder, row)
        self.decoder = _mlp(decoder, row)

    def encode(self, images: Float[Tensor, "*examples pixels"]) -> Posterior:
        """q(z|x) of images with intensities in [0, 1]."""
        mean, log_std = self.encoder(images).chunk(2, dim=-1)
        return Posterior(mean, log_std)

    def decode(self, latent: Float[Tensor, "*examples latent"]) -> Float[Tensor, "*examples pixels"]:
        """Logits of p(x|z)."""
        logits: Tensor = self.decoder(latent)
        return logits

    def row(self) -> Float[Tensor, " row"]:
        """All parameters as one row (a copy), padded with zeros: the inverse of the constructor."""
        row = next(self.parameters()).new_zeros(self.shape.row)
        flat = torch.cat([p.detach().reshape(-1) for p in self.parameters()])
        row[: flat.numel()] = flat
        return row


def _mlp(layers: tuple[Layer, ...], row: Tensor) -> nn.Sequential:
    modules: list[nn.Module] = []
    for layer in layers:
        if modules:
            modules.append(nn.ReLU())
        weight = row[layer.weight_at : layer.bias_at].view(layer.inputs, layer.outputs)
        modules.append(Affine(weight, row[layer.bias_at : layer.bias_at + layer.outputs]))
    return nn.Sequential(*modules)

"""What a prior, a likelihood and an architecture must offer to be part of a model.

Tensors of several models have a leading axis `models`; one model is a stack of one. Every method works elementwise over
that axis, so that a model's numbers do not depend on its company; `*draws` and `*examples` begin with it. Nats.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import torch
    from jaxtyping import Float
    from torch import Tensor

    from rdstudy.models.objective import Posterior

Values: TypeAlias = Mapping[str, "Tensor"]
"""Parameters by name, each [models, *shape]."""

CODE = "code"
"""Name under which an `EncodedPrior` finds the code of its pseudo-inputs among its values."""


class Parameter(NamedTuple):
    """One learned tensor of one model. Its place in the flat vector follows from the order of parameters.

    Attributes:
        name: unique within the part; dots make nested modules.
        shape: of one model's.
        bound: its initial values are uniform in [-bound, bound].
        flop_per_example: arithmetic of its matrix products in one training step, per example.
    """

    name: str
    shape: tuple[int, ...]
    bound: float
    flop_per_example: float = 0.0


class Sizes(NamedTuple):
    """What an architecture is made for."""

    pixels: int
    outputs: int
    depth: int
    width: int
    latent_dim: int


@runtime_checkable
class Prior(Protocol):
    """p(z). `closed_form`: whether `rate` is the KL itself; otherwise it is log q(z|x) - log p(z) at one draw z.

    A prior may offer `add_rate_gradient` (see `HandWrittenRate`); otherwise the gradient of `rate` is autograd's.
    It may offer `latent_rates` (see `FactorisedRate`); otherwise the rates of latent dimensions are not recorded.
    It may be made of posteriors of learned images (see `EncodedPrior`); otherwise it knows nothing of the encoder.
    """

    closed_form: ClassVar[bool]

    def parameters(self, latent_dim: int) -> tuple[Parameter, ...]:
        """Its learned parameters."""

    def log_density(self, z: Float[Tensor, "*draws latent"], p: Values) -> Float[Tensor, "*draws"]:
        """log p(z), in the type of z."""

    def sample(
        self, rng: np.random.Generator, n: int, latent_dim: int, p: Values
    ) -> Float[Tensor, "models draws latent"]:
        """Draws from p(z), as many for each model."""

    def rate(self, posterior: Posterior, z: Float[Tensor, "*examples latent"], p: Values) -> Float[Tensor, "*examples"]:
        """KL(q(z|x) || p(z)), or an unbiased estimate of it from z, one draw of q(z|x) each."""


@runtime_checkable
class FactorisedRate(Protocol):
    """A prior whose rate is a sum over latent dimensions, each in closed form."""

    def latent_rates(self, posterior: Posterior, p: Values) -> Float[Tensor, "*examples latent"]:
        """KL(q(z_d|x) || p(z_d)) of every latent dimension d in nats; their sum is `rate`."""


@runtime_checkable
class EncodedPrior(Protocol):
    """A prior made of the posteriors q(z|u_k) of learned images u_k, its pseudo-inputs.

    Whoever evaluates it encodes the pseudo-inputs: `log_density`, `sample` and `rate` find mean and log_std of their
    posteriors as `p[CODE]` [models, inputs, 2 * latent], beside the parameters that `parameters` names.
    """

    @property
    def n_inputs(self) -> int:
        """K, the number of pseudo-inputs."""

    def input_parameters(self, pixels: int) -> tuple[Parameter, ...]:
        """What the pseudo-inputs are made from, each [inputs, ...]; learned through the encoder."""

    def inputs(self, p: Values) -> Float[Tensor, "models inputs pixels"]:
        """Pseudo-inputs as intensities in [0, 1], each from its row of `input_parameters`; there may be more rows."""


@runtime_checkable
class HandWrittenRate(Protocol):
    """A prior without parameters whose rate has a gradient written by hand."""

    def add_rate_gradient(
        self,
        posterior: Posterior,
        std: Float[Tensor, "models rows latent"],
        weight: Float[Tensor, "models rows 1"],
        mean_grad: Float[Tensor, "models rows latent"],
        log_std_grad: Float[Tensor, "models rows latent"],
    ) -> tuple[Float[Tensor, "models rows latent"], Float[Tensor, "models rows latent"]]:
        """Both gradients with those of sum weight * rate added; `log_std_grad` may be changed in place."""


@runtime_checkable
class Likelihood(Protocol):
    """p(x|z), given what the decoder puts out for z: `outputs_per_pixel` numbers for each pixel, pixel after pixel.

    A likelihood may offer `distortion_gradient` (see `HandWrittenDistortion`); otherwise autograd's is taken. It may
    offer `sample` (see `SampledLikelihood`); otherwise no images can be simulated from a model.
    """

    outputs_per_pixel: ClassVar[int]

    def distortion(
        self, output: Float[Tensor, "*examples outputs"], images: Float[Tensor, "*examples pixels"]
    ) -> Float[Tensor, "*examples"]:
        """-log p(x|z) of images with intensities in [0, 1], summed over pixels and channels."""

    def mean_image(self, output: Float[Tensor, "*examples outputs"]) -> Float[Tensor, "*examples pixels"]:
        """E[x|z] as intensities in [0, 1]."""


@runtime_checkable
class SampledLikelihood(Protocol):
    """A likelihood that images can be drawn from."""

    def sample(
        self, rng: np.random.Generator, output: Float[Tensor, "*examples outputs"]
    ) -> Float[Tensor, "*examples pixels"]:
        """Draws of x from p(x|z), in the type of the output."""


@runtime_checkable
class HandWrittenDistortion(Protocol):
    """A likelihood of one output per pixel whose distortion has a gradient written by hand."""

    def distortion_gradient(
        self,
        output: Float[Tensor, "models rows pixels"],
        images: Float[Tensor, "models rows pixels"],
        weight: Float[Tensor, "rows 1"],
    ) -> Float[Tensor, "models rows pixels"]:
        """Gradient of sum weight * distortion by the output, which may be overwritten."""

    def fused_distortion_gradient(
        self,
        output: Float[Tensor, "models rows pixels"],
        bias: Float[Tensor, "models 1 pixels"],
        images: Float[Tensor, "models rows pixels"],
        batch_size: int,
    ) -> Float[Tensor, "models rows pixels"]:
        """The same on a CUDA device in one kernel, for outputs that lack their bias, with weight 1 / batch_size."""


@runtime_checkable
class Architecture(Protocol):
    """Encoder and decoder of K models of the same sizes; made as `Class(sizes, *arguments)`.

    An architecture may offer `by_hand` (see `HandWrittenNetwork`); otherwise its gradient is autograd's.
    """

    def __init__(self, sizes: Sizes, *arguments: float) -> None: ...

    @property
    def activations(self) -> int:
        """Numbers per example that a training step holds, for planning memory."""

    def parameters(self) -> tuple[Parameter, ...]:
        """Its parameters, in the order of the flat vector."""

    def encode(self, images: Float[Tensor, "models rows pixels"], p: Values) -> Float[Tensor, "models rows code"]:
        """Mean and log_std of q(z|x), one after the other: 2 * latent_dim numbers per example."""

    def decode(self, latent: Float[Tensor, "models rows latent"], p: Values) -> Float[Tensor, "models rows outputs"]:
        """The likelihood's input, for each example."""


@runtime_checkable
class Network(Protocol):
    """Encoder and decoder with their gradients, into work space made once. `last_bias`: of the output layer.

    The last rows of the encoder's images may be pseudo-inputs, which are not decoded; the network is made for so many.
    """

    last_bias: Float[Tensor, "models 1 outputs"] | None

    def begin(self) -> None:
        """Read the parameters, which have changed."""

    def encode(self, images: Float[Tensor, "models rows pixels"]) -> Float[Tensor, "models rows code"]:
        """As the architecture's."""

    def decode(
        self, latent: Float[Tensor, "models rows latent"], *, bias: bool = True
    ) -> Float[Tensor, "models rows outputs"]:
        """As the architecture's; without the last bias where that is wanted, which only some can do."""

    def decoder_gradient(self, delta: Float[Tensor, "models rows outputs"]) -> Float[Tensor, "models rows latent"]:
        """Write the gradients of the decoder's parameters for this gradient of its output; that of its input."""

    def encoder_gradient(self, delta: Float[Tensor, "models rows code"]) -> Float[Tensor, "models inputs pixels"]:
        """The same of the encoder; the gradient of the pseudo-inputs is returned."""

    def finish(self) -> None:
        """Have all gradients in their place."""


@runtime_checkable
class HandWrittenNetwork(Protocol):
    """An architecture that brings its own gradient."""

    def by_hand(self, p: Values, grad: Values, rows: int, product_dtype: torch.dtype, *, inputs: int = 0) -> Network:
        """A network over these parameters [models, *shape], writing into `grad`.

        Args:
            p: the parameters.
            grad: where their gradients are written.
            rows: of examples, for encoder and decoder.
            product_dtype: type of the matrix products.
            inputs: rows of pseudo-inputs, which the encoder takes after those of the examples.
        """

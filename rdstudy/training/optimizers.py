"""Adam, AdamW and SGD over the flat parameters of a pack: PyTorch's own fused kernels, without its optimizer classes.

The classes import PyTorch's compiler at their first use, which costs every process 1.6 s and 150 MiB, and some 50 us a
step. The kernels, and so the bits, are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd

BETAS, EPSILON = (0.9, 0.999), 1e-8
"""Decay of Adam's two moments and what is added to the root of the second: Kingma & Ba 2015, PyTorch's defaults."""
ADAMW_DECAY = 0.01
"""Weight decay of AdamW, PyTorch's default."""


class FlatOptimizer:
    """One optimizer over one tensor of parameters, whose gradient lies beside it.

    Attributes:
        moments: running means of the shape of the parameters, by PyTorch's names; empty before the first step, and for
            SGD.
    """

    def __init__(self, name: str, parameters: Tensor, gradient: Tensor, learning_rate: float) -> None:
        """
        Args:
            name: `adam`, `adamw` or `sgd`.
            parameters: of any shape; changed in place.
            gradient: of that shape; read at each step.
            learning_rate: of all of them.
        """
        self.parameters, self.gradient, self.learning_rate = parameters, gradient, learning_rate
        self.moments: dict[str, Tensor] = {}
        self._take = _STEPS[name]
        self._steps = self._counter(0)

    @torch.no_grad()
    def step(self) -> None:
        """One step down the gradient."""
        self._take(self)

    def restore(self, moments: dict[str, Tensor], steps: int) -> None:
        """Go on after so many steps, with the `moments` of then."""
        self.moments = {name: value.to(self.parameters.device) for name, value in moments.items()}
        self._steps = self._counter(steps)

    def _counter(self, steps: int) -> Tensor:
        return torch.tensor(float(steps), device=self.parameters.device)

    def _adam(self, *, decay: float = 0.0) -> None:
        if not self.moments:
            self.moments = {name: torch.zeros_like(self.parameters) for name in ("exp_avg", "exp_avg_sq")}
        adam(
            [self.parameters],
            [self.gradient],
            [self.moments["exp_avg"]],
            [self.moments["exp_avg_sq"]],
            [],
            [self._steps],
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=self.learning_rate,
            weight_decay=decay,
            decoupled_weight_decay=bool(decay),
            eps=EPSILON,
            maximize=False,
        )

    def _adamw(self) -> None:
        self._adam(decay=ADAMW_DECAY)

    def _sgd(self) -> None:
        sgd(
            [self.parameters],
            [self.gradient],
            [None],
            fused=True,
            lr=self.learning_rate,
            momentum=0.0,
            dampening=0.0,
            weight_decay=0.0,
            nesterov=False,
            maximize=False,
        )


_STEPS: Final[dict[str, Callable[[FlatOptimizer], None]]] = {
    "adam": FlatOptimizer._adam,
    "adamw": FlatOptimizer._adamw,
    "sgd": FlatOptimizer._sgd,
}

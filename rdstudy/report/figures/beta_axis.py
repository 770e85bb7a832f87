"""The axis of beta: logarithmic, from large to small as the texts read it, with a place for beta = 0.

The rate rises as beta falls, so figures over beta and over the rate run the same way.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

_ROUND = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1e3)


def positions(betas: Sequence[float] | Float[np.ndarray, " betas"]) -> Float[np.ndarray, " betas"]:
    """Where each beta is drawn: at itself, and 0 at a third of the smallest positive one."""
    values = np.asarray(betas, dtype=np.float64)
    positive = values[values > 0]
    return np.where(values > 0, values, positive.min() / 3 if len(positive) else 1.0)


def set_beta_axis(axes: Axes, betas: Sequence[float] | Float[np.ndarray, " betas"]) -> None:
    """Label the horizontal axis in beta, large to small, with ticks at powers of ten and where there is room."""
    values = np.unique(np.asarray(betas, dtype=np.float64))
    values = values[np.isfinite(values)]
    at = positions(values)
    axes.set_xscale("log")
    axes.set_xlabel("β, weight of the rate (log scale, large to small)")
    if not len(values):
        axes.set_xlim(10.0, 0.1)  # a logarithmic axis without data has no limits of its own
        return
    low, high = at.min() / 1.25, at.max() * 1.25
    ticks = [tick for tick in _ROUND if low <= tick <= high]
    room = np.log(high / low) / 7  # about seven labels fit a column
    for tick in (at.max(), at.min(), *at):
        if all(abs(np.log(tick / other)) >= room for other in ticks):
            ticks.append(float(tick))
    axes.xaxis.set_major_locator(FixedLocator(sorted(ticks)))
    zero = set(at[values == 0])
    axes.xaxis.set_major_formatter(lambda tick, _: "0" if tick in zero else f"{tick:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_minor_locator(NullLocator() if len(at) > 40 else FixedLocator(list(at)))
    axes.set_xlim(high, low)

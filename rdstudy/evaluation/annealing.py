"""How to anneal from p(z) to p(z) p(x|z)^t: temperatures, step sizes and metrics, found in a run of its own.

The run is a sequential Monte Carlo sampler (Del Moral, Doucet & Jasra 2006) whose draws are thrown away: what is
measured later uses other draws, with all settings fixed, so that its expectations are exact. Each image goes up by its
own steps in t, of a fixed change of its chains' spread of t D(z); resampling keeps chains out of modes of no weight.
The metric at t is the mean over chains of the second derivatives of the energy (Gauss and Newton), the step size
follows the acceptance rate.

The temperatures of the measuring run are common to all images, and equally far apart in thermodynamic length, the
integral of sd_t(D) dt, averaged over images: for a given number of steps, the least spread of the weights where chains
mix well (Gelman & Meng 1998; Grosse, Maddison & Salakhutdinov 2013).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rdstudy.evaluation.curvature import local_shape
from rdstudy.evaluation.hmc import Draws, Kernel, State, Target, transition

SPACING = 0.5
"""Length of a step in t of the adapting run: sd_t(D) times the step."""
GROWTH = 2.0
"""Largest factor from one t to the next, but for the first."""
ACCEPTANCE = 0.8
"""Aim of the step size: mean probability of acceptance."""
GAIN = 1.0
"""Change of log step size per unit of acceptance above the aim."""
SHAPING_CHAINS = 4
"""Chains at which second derivatives are taken."""


@dataclass(frozen=True, slots=True)
class _Path:
    """One image's way up, at the t of its own: from the lowest above 0 to the highest."""

    t: Float[np.ndarray, " knots"]
    spread: Float[np.ndarray, " knots"]  # sd of D before the first, then at all but the last
    log_step_size: Float[np.ndarray, " knots"]
    distortion_curvature: Float[np.ndarray, "knots latent latent"]
    surprise_curvature: Float[np.ndarray, "knots latent latent"]


@dataclass(frozen=True, slots=True)
class Annealing:
    """Everything that a measuring run needs beside its draws.

    Attributes:
        temperatures: t from 0 to the largest, ascending, one of them 1 exactly.
        leapfrog_steps: of each transition.
        paths: of every image, for its step sizes and metrics.
    """

    temperatures: Float[Tensor, " temperatures"]
    leapfrog_steps: int
    paths: tuple[_Path, ...]

    @property
    def one(self) -> int:
        """Number of the temperature t = 1."""
        return int((self.temperatures == 1).nonzero()[0])

    def kernel(self, k: int, device: torch.device) -> Kernel:
        """Of the transitions at temperature number k, interpolated in log t; on the chains' device."""
        log_t = float(self.temperatures[k].log())
        size, curvature = [], []
        for path in self.paths:
            knots = np.log(path.t)
            upper = int(np.clip(np.searchsorted(knots, log_t), 1, max(1, len(knots) - 1)))
            lower = upper - 1
            upper = min(upper, len(knots) - 1)
            gap = knots[upper] - knots[lower]
            share = float(np.clip((log_t - knots[lower]) / gap, 0, 1)) if gap > 0 else 0.0
            size.append((1 - share) * path.log_step_size[lower] + share * path.log_step_size[upper])
            distortion, surprise = (
                (1 - share) * each[lower] + share * each[upper]
                for each in (path.distortion_curvature, path.surprise_curvature)
            )
            curvature.append(np.exp(log_t) * distortion + surprise)
        scale = _scale(torch.from_numpy(np.stack(curvature)))
        return Kernel(torch.tensor(size, dtype=torch.float64).exp().to(device), scale.to(device))


def adapt(
    target: Target, draws: Draws, *, chains: int, steps: int, leapfrog_steps: int, largest: float = 1.0
) -> Annealing:
    """Temperatures, step sizes and metrics for a batch of images.

    Args:
        target: the images' densities.
        draws: of the images; not those of the measuring run.
        chains: per image, at least 4.
        steps: number of steps from t = 0 to 1; as many more beyond it as their length asks for.
        leapfrog_steps: of each transition, here and in the measuring run.
        largest: highest t, at least 1.

    Raises:
        ValueError: the decoder gives distortions that are not finite.
    """
    state = target.state(target.sample_prior(draws, chains))
    if not bool(state.distortion.isfinite().all()):
        raise ValueError("the distortion of draws from the prior is not finite")
    examples, device = len(state.z), state.z.device
    t = torch.zeros(examples, dtype=torch.float64, device=device)
    log_size = torch.full_like(t, -0.5)
    found: list[tuple[Tensor, ...]] = []
    while bool((t < largest).any()):
        spread = state.distortion.std(1)
        step = SPACING / spread
        ceiling = torch.where(t > 0, GROWTH * t, torch.full_like(t, largest))
        after = torch.minimum(t + step, ceiling).clamp(max=largest)
        # Every image stops at 1 on its way, as the measuring run does.
        after = torch.where((t < 1) & (after > 1), torch.ones_like(after), after)
        state = state.take(_resampled(-(after - t)[:, None] * state.distortion, draws.uniform().to(device)))
        distortion_curvature, surprise_curvature = _curvatures(target, state)
        kernel = Kernel(log_size.exp(), _scale(after[:, None, None] * distortion_curvature + surprise_curvature))
        state, accepted = transition(target, state, after, kernel, leapfrog_steps, draws)
        log_size = log_size + GAIN * (accepted.mean(1) - ACCEPTANCE)
        found.append((t, after, spread, log_size, distortion_curvature, surprise_curvature))
        t = after
    paths = tuple(_path(n, found) for n in range(examples))
    return Annealing(_temperatures(paths, steps, largest), leapfrog_steps, paths)


def _resampled(log_weight: Float[Tensor, "examples chains"], uniform: Float[Tensor, " examples"]) -> Tensor:
    """Numbers of the chains kept, by systematic resampling."""
    chains = log_weight.shape[1]
    ends = log_weight.softmax(1).cumsum(1)
    places = (torch.arange(chains, device=uniform.device) + uniform[:, None]) / chains
    return torch.searchsorted(ends, places).clamp(max=chains - 1)


def _curvatures(target: Target, state: State) -> tuple[Tensor, Tensor]:
    """Mean second derivatives of D and of -log p(z) over a few chains, [examples, latent, latent]."""
    few = min(SHAPING_CHAINS, state.z.shape[1])
    chosen = torch.linspace(0, state.z.shape[1] - 1, few).long()  # far apart: resampled copies are neighbours
    latent = state.z[:, chosen].flatten(0, 1).to(target.images.dtype)
    images = target.images.repeat_interleave(few, 0)
    at_once = max(1, target.rows // latent.shape[1])
    blocks = zip(images.split(at_once), latent.split(at_once), strict=True)
    shapes = [local_shape(target.model, *block) for block in blocks]

    def mean(curvatures: list[Tensor]) -> Tensor:
        return torch.cat(curvatures).double().view(-1, few, *curvatures[0].shape[1:]).mean(1)

    return mean([each.distortion.curvature for each in shapes]), mean([each.surprise.curvature for each in shapes])


def _scale(curvature: Float[Tensor, "examples latent latent"]) -> Float[Tensor, "examples latent latent"]:
    """S with S S' the inverse of the curvature, of which no direction is flatter than 1e-6 of the steepest."""
    eigenvalues, axes = torch.linalg.eigh(curvature)
    eigenvalues = torch.maximum(eigenvalues, 1e-6 * eigenvalues[:, -1:]).clamp(min=1e-12)
    scale: Tensor = axes * eigenvalues.rsqrt()[:, None, :]
    return scale


def _path(n: int, found: list[tuple[Tensor, ...]]) -> _Path:
    kept = [each for each in found if each[0][n] < each[1][n]]
    _, after, spread, size, distortion, surprise = (
        np.stack([each[i][n].cpu().numpy() for each in kept]) for i in range(6)
    )
    return _Path(after, spread, _smooth(size), distortion, surprise)


def _smooth(values: Float[np.ndarray, " knots"]) -> Float[np.ndarray, " knots"]:
    """Means over windows of 5, shorter at the ends."""
    sums = np.cumsum(np.concatenate([[0.0], values]))
    k = np.arange(len(values))
    low, high = np.maximum(k - 2, 0), np.minimum(k + 3, len(values))
    smoothed: np.ndarray = (sums[high] - sums[low]) / (high - low)
    return smoothed


def _temperatures(paths: tuple[_Path, ...], steps: int, largest: float) -> Float[Tensor, " temperatures"]:
    """Equally far apart in mean thermodynamic length, from 0 to 1 and on to the largest."""
    grid = np.unique(np.concatenate([[0.0], *(path.t for path in paths)]))
    speed = np.zeros_like(grid)
    for path in paths:  # the spread at the start of a step, for which it holds
        starts = np.concatenate([[0.0], path.t[:-1]])
        speed += np.interp(grid, starts, path.spread) / len(paths)
    length = np.concatenate([[0.0], np.cumsum(0.5 * (speed[1:] + speed[:-1]) * np.diff(grid))])
    length += 1e-12 * np.arange(len(length))  # ascending, though D may not vary
    one = float(np.interp(1.0, grid, length))
    parts = [np.interp(np.linspace(0, one, steps + 1), length, grid)]
    parts[0][-1] = 1.0
    if largest > 1:
        more = max(1, round(steps * (length[-1] - one) / one))
        parts.append(np.interp(np.linspace(one, length[-1], more + 1)[1:], length, grid))
        parts[1][-1] = largest
    return torch.from_numpy(np.concatenate(parts))

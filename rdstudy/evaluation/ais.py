"""The negative log-likelihood -log p(x) of a decoder by annealed importance sampling (AIS), without an encoder.

    log w = -sum_k (t_k - t_{k-1}) D(z_{k-1}),    z_0 ~ p(z),  z_k ~ T_k(. | z_{k-1}),    D(z) = -log p(x|z)

where T_k leaves p(z) p(x|z)^{t_k} invariant (Neal 2001; Wu, Burda, Salakhutdinov & Grosse 2017). E[w] = p(x) exactly,
so -log of a mean of weights is an upper bound of -log p(x) in expectation, which falls with steps and chains. The
transitions are of Hamiltonian Monte Carlo, with temperatures, step sizes and metrics from a run of their own
(`annealing.py`); adapting them on the chains that are weighed would bias w.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rdstudy.evaluation.annealing import Annealing, adapt
from rdstudy.evaluation.estimate import Estimate
from rdstudy.evaluation.hmc import Draws, Model, State, Target, transition
from rdstudy.evaluation.rate_distortion_curve import Curve, Point, point

CHAINS, STEPS, LEAPFROG_STEPS = 16, 500, 2
"""Of a run, where nothing else is said."""


@dataclass(frozen=True)
class AISEstimate(Estimate):
    """Mean -log p(x) of a set of images, an upper bound in expectation, with diagnostics of its quality.

    Value, standard error and count as in `Estimate`: the error over fresh draws with these images and the same
    adaptation, to first order in the weights' relative spread (nan for one chain); the count is that of images.

    Attributes:
        chains: per image.
        steps: from t = 0 to 1.
        leapfrog_steps: of each step's transition.
        error_over_examples: standard error as an estimate for the distribution that the images come from, the draws'
            error included; nan for one image.
        effective_sample_size: (sum w)^2 / sum w^2 of an image's chains, harmonic mean over images (as the images of
            few effective chains have the largest error); between 1 and `chains`.
        acceptance: mean probability that a transition is accepted.
        each: the estimate of each image, in their order.
        each_error: the draws' standard error of each image; nan for one chain.
        curve: rate and distortion of the decoder without an encoder.
    """

    chains: int
    steps: int
    leapfrog_steps: int
    error_over_examples: float
    effective_sample_size: float
    acceptance: float
    each: tuple[float, ...] = field(repr=False, compare=False)
    each_error: tuple[float, ...] = field(repr=False, compare=False)
    curve: Curve = field(repr=False, compare=False)


def annealed_importance_sampling(
    model: Model,
    images: Float[Tensor, "examples pixels"],
    *,
    generator: np.random.Generator,
    chains: int = CHAINS,
    steps: int = STEPS,
    leapfrog_steps: int = LEAPFROG_STEPS,
    largest: float = 1.0,
) -> AISEstimate:
    """Estimate the mean -log p(x) of images under one model.

    Costs steps * leapfrog_steps gradients per chain; the adaptation adds about 100 gradients per chain.

    Args:
        model: its decoder, likelihood and prior; parameters are kept as they are.
        images: intensities in [0, 1], on the model's device, in its type.
        generator: source of all draws.
        chains: per image, at least 4.
        steps: from the prior to the posterior.
        leapfrog_steps: of each step's transition.
        largest: t at which the rate-distortion curve ends, at least 1; a beta-VAE of this decoder would aim at
            t = 1 / beta.

    Returns:
        The estimate with its errors and the rate-distortion curve.

    Raises:
        ValueError: no images, or a number below its least.

    References:
        Neal 2001 (AIS). Wu, Burda, Salakhutdinov & Grosse 2017 (of decoders). Neal 2011 (HMC). Huang, Makhzani, Cao &
        Grosse 2020 (the curve).
    """
    target, annealing = prepared(model, images, generator, chains, steps, leapfrog_steps, largest)
    run = anneal(target, annealing, chains, Draws.of(generator, len(images)))
    log_sum = run.log_weights.logsumexp(1)
    effective = (2 * log_sum - (2 * run.log_weights).logsumexp(1)).exp()
    nll = math.log(chains) - log_sum
    variance = (chains / effective - 1).clamp(min=0) / (chains - 1)
    examples = len(nll)
    return AISEstimate(
        value=nll.mean().item(),
        standard_error=variance.sum().sqrt().item() / examples,
        count=examples,
        chains=chains,
        steps=steps,
        leapfrog_steps=leapfrog_steps,
        error_over_examples=nll.std().item() / math.sqrt(examples) if examples > 1 else math.nan,
        effective_sample_size=1 / effective.reciprocal().mean().item(),
        acceptance=run.acceptance,
        each=tuple(nll.tolist()),
        each_error=tuple(variance.sqrt().tolist()),
        curve=Curve.of(run.points, annealing.temperatures),
    )


def prepared(
    model: Model,
    images: Float[Tensor, "examples pixels"],
    generator: np.random.Generator,
    chains: int,
    steps: int,
    leapfrog_steps: int,
    largest: float,
) -> tuple[Target, Annealing]:
    """The target of these images, and how to anneal to it.

    Raises:
        ValueError: no images, or a number below its least.
    """
    if min(len(images), steps, leapfrog_steps) < 1 or chains < 4 or not largest >= 1:
        raise ValueError(
            f"{len(images)} images, {steps} steps of {leapfrog_steps} leapfrog steps, {chains} chains, up to t = "
            f"{largest:g}: images, steps and t must be at least 1, chains 4."
        )
    with torch.no_grad():
        target = Target(model, images)
        draws = Draws.of(generator, len(images))
        return target, adapt(target, draws, chains=chains, steps=steps, leapfrog_steps=leapfrog_steps, largest=largest)


@dataclass(frozen=True, slots=True)
class Run:
    """What chains that went from the prior to the posterior have brought.

    Attributes:
        log_weights: of every chain at t = 1; float64.
        points: rate and distortion of every image at each temperature.
        acceptance: mean probability that a transition is accepted.
    """

    log_weights: Float[Tensor, "examples chains"]
    points: list[Point]
    acceptance: float


@torch.no_grad()
def anneal(target: Target, annealing: Annealing, chains: int, draws: Draws) -> Run:
    """Chains of every image from exact draws of the prior up to the largest temperature.

    Args:
        target: the images' densities.
        annealing: made with other draws.
        chains: per image.
        draws: of the images.
    """
    state = target.state(target.sample_prior(draws, chains))
    log_weights = torch.zeros_like(state.distortion)
    at_one = log_weights
    points = [point(log_weights, state.distortion, 0.0)]
    accepted = []
    for k in range(1, len(annealing.temperatures)):
        t, step = float(annealing.temperatures[k]), float(annealing.temperatures[k] - annealing.temperatures[k - 1])
        log_weights = log_weights - step * state.distortion
        if k == annealing.one:
            at_one = log_weights
        kernel = annealing.kernel(k, state.z.device)
        state, probability = transition(target, state, _filled(state, t), kernel, annealing.leapfrog_steps, draws)
        accepted.append(probability.mean().item())
        points.append(point(log_weights, state.distortion, t))
    return Run(at_one, points, float(np.mean(accepted)))


@torch.no_grad()
def anneal_back(
    target: Target, annealing: Annealing, z: Float[Tensor, "examples latent"], chains: int, draws: Draws
) -> Float[Tensor, "examples chains"]:
    """The log weights of chains that go from draws of the posterior down to the prior, by the reversed transitions.

    E[1 / w] = 1 / p(x) exactly. The chains of an image begin at the same z, and so depend on each other.

    Args:
        target: the images' densities.
        annealing: made with draws that do not depend on z.
        z: an exact draw of p(z|x) for every image.
        chains: per image.
        draws: of the images.

    Returns:
        log w of every chain, float64.
    """
    state = target.state(z.double()[:, None].expand(-1, chains, -1).contiguous())
    log_weights = torch.zeros_like(state.distortion)
    for k in range(annealing.one, 0, -1):
        t, step = float(annealing.temperatures[k]), float(annealing.temperatures[k] - annealing.temperatures[k - 1])
        kernel = annealing.kernel(k, state.z.device)
        state, _ = transition(target, state, _filled(state, t), kernel, annealing.leapfrog_steps, draws)
        log_weights = log_weights - step * state.distortion
    return log_weights


def _filled(state: State, t: float) -> Float[Tensor, " examples"]:
    return state.z.new_full((len(state.z),), t)

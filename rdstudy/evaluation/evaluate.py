"""A trained model and a population become measured values.

Rate, distortion and ELBO over the whole population, every example once; the mutual information and the likelihood
where the study asks for them. One model at a time, so that a value cannot depend on the pack: a model's forward pass
fills a device, and stacking several gains nothing there (tests/benchmarks). Computed in the parameters' own float32 or
better, whatever training used; averaged in float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from rdstudy.evaluation.gaussian import active_units
from rdstudy.evaluation.importance_sampling import importance_weighted_nll, pooled
from rdstudy.evaluation.mutual_information import decompose_rate
from rdstudy.models.objective import Posterior
from rdstudy.models.vae import VAE
from rdstudy.storage.schema import DIVERGED, OK
from rdstudy.study import NLL, Evaluation, MutualInformation
from rdstudy.study.seeding import generator

STANDARD_NORMAL = "standard_normal"
EXAMPLES_AT_ONCE = 1024
"""Examples per forward pass. Part of the numerics: rounding of a product may depend on its size."""


@dataclass(frozen=True, slots=True)
class Values:
    """Measured columns of one row, and whether the model could be measured."""

    columns: dict[str, Any]
    status: str = OK
    message: str | None = None


def intensities(images: UInt8[Tensor, "examples pixels"], like: Tensor) -> Float[Tensor, "examples pixels"]:
    """Bytes as intensities in [0, 1], in the type of `like`."""
    return images.to(like.dtype).div_(255)


@torch.no_grad()
def measure(
    model: VAE,
    images: UInt8[Tensor, "examples pixels"],
    indices: Int64[np.ndarray, " population"],
    evaluation: Evaluation,
    *,
    stream_id: str,
    step: int,
    final: int,
    population: str,
) -> Values:
    """Everything that the evaluation asks for at this step, with standard errors.

    Args:
        model: the model, at training step `step`.
        images: the whole data set, on the model's device.
        indices: which images form the population, in random order: a subsample is the first of them, so that every
            cell has the same.
        evaluation: what is measured when.
        stream_id: with step and population, what the draws of z depend on.
        step: training steps taken.
        final: the cell's last step.
        population: `train` or `test`.
    """
    model, images = _where_float64_is(model, images)
    seen = _encoded(model, images, indices, generator(stream_id, "evaluation", step, population))
    columns: dict[str, Any] = {
        "n_examples": len(indices),
        **_mean("rate", seen.rate),
        **_mean("distortion", seen.distortion),
        **_mean("elbo", -(seen.distortion + seen.rate)),
    }
    bad = _not_finite(columns)
    if not bad and evaluation.includes("mutual_information", step, final):
        rng = generator(stream_id, "information", step, population)
        columns |= _information(model, seen.posterior, evaluation.mutual_information, rng)
    if not bad and evaluation.includes("nll", step, final):
        rng = generator(stream_id, "likelihood", step, population)
        columns |= _likelihood(model, images, indices, seen, evaluation.nll, rng)
    bad = _not_finite(columns)
    if bad:
        message = f"{', '.join(bad)} not finite at step {step}"
        return Values({"n_examples": len(indices)}, DIVERGED, message)
    return Values(columns)


@dataclass(frozen=True, slots=True)
class _Seen:
    """Posteriors of a population, and every example's rate and distortion in nats."""

    posterior: Posterior
    rate: Float[Tensor, " examples"]
    distortion: Float[Tensor, " examples"]


def _where_float64_is(model: VAE, images: Tensor) -> tuple[VAE, Tensor]:
    """Model and images as they are, or on the CPU where their device has no float64 (Apple's GPUs)."""
    if images.device.type != "mps":
        return model, images
    return VAE(model.shape, model.row().cpu()), images.cpu()


def _encoded(
    model: VAE,
    images: UInt8[Tensor, "examples pixels"],
    indices: Int64[np.ndarray, " population"],
    rng: np.random.Generator,
) -> _Seen:
    parameter = next(model.parameters())
    rates, distortions, means, log_stds = [], [], [], []
    for start in range(0, len(indices), EXAMPLES_AT_ONCE):
        x = _batch(images, indices[start : start + EXAMPLES_AT_ONCE], parameter)
        posterior = model.encode(x)
        noise = torch.from_numpy(rng.standard_normal(tuple(posterior.mean.shape), dtype=np.float32))
        latent = posterior.sample(noise.to(parameter))
        rates.append(model.rate(posterior, latent).double())
        distortions.append(model.distortion(model.decode(latent), x).double())
        means.append(posterior.mean)
        log_stds.append(posterior.log_std)
    return _Seen(Posterior(torch.cat(means), torch.cat(log_stds)), torch.cat(rates), torch.cat(distortions))


def _batch(images: Tensor, indices: Int64[np.ndarray, " batch"], like: Tensor) -> Float[Tensor, "batch pixels"]:
    return intensities(images.index_select(0, torch.from_numpy(indices).to(images.device)), like)


def _information(
    model: VAE, posterior: Posterior, asked: MutualInformation, rng: np.random.Generator
) -> dict[str, Any]:
    """Columns of the mutual information, the marginal KL and the active units."""
    m = None if asked.examples == "all" else asked.examples
    split = decompose_rate(
        posterior.mean[:m],
        posterior.log_std[:m],
        generator=rng,
        draws_per_example=asked.draws,
        log_prior=None if model.shape.prior == STANDARD_NORMAL else model.log_prior,
    )
    return {
        "mi_nats": split.mutual_information.value,
        "mi_se": split.mutual_information.standard_error,
        "mi_ceiling_nats": split.ceiling,
        "mi_draws": asked.draws,
        "mi_examples": len(posterior.mean[:m]),
        "marginal_kl_nats": split.marginal_kl.value,
        "marginal_kl_se": split.marginal_kl.standard_error,
        "active_units": active_units(posterior.mean),
    }


def _likelihood(
    model: VAE, images: Tensor, indices: np.ndarray, seen: _Seen, asked: NLL, rng: np.random.Generator
) -> dict[str, Any]:
    """Columns of the NLL.

    A subsample of m examples is carried over to the population of N by the -ELBO, which is known of all,

        NLL = 1/N sum_N -ELBO_n + 1/m sum_m (NLL_n + ELBO_n),    Var = Var(NLL_n) / N + (1/m - 1/N) Var(NLL_n + ELBO_n)

    (the difference estimator of two-phase sampling, Cochran 1977, section 12.9): as unbiased, far less noisy, and
    comparable with the -ELBO, because the examples of the subsample may be harder or easier than all.
    """
    chosen = indices[: None if asked.examples == "all" else asked.examples]
    parameter = next(model.parameters())
    parts = [
        importance_weighted_nll(
            model,
            _batch(images, chosen[start : start + EXAMPLES_AT_ONCE], parameter),
            asked.importance_samples,
            generator=rng,
        )
        for start in range(0, len(chosen), EXAMPLES_AT_ONCE)
    ]
    estimate = pooled(parts)
    negative_elbo = (seen.distortion + seen.rate).cpu()
    each = torch.tensor(estimate.each, dtype=torch.float64)
    difference = each - negative_elbo[: len(each)]
    m, n = len(each), len(negative_elbo)
    error = math.sqrt(each.var() / n + (1 / m - 1 / n) * difference.var()) if m > 1 else None
    return {
        "nll_nats": (negative_elbo.mean() + difference.mean()).item(),
        "nll_se": error,
        "nll_draws": estimate.draws,
        "nll_examples": estimate.count,
        "nll_ess": estimate.effective_sample_size,
        "nll_unreliable_share": estimate.unreliable_share,
    }


def _mean(name: str, values: Float[Tensor, " examples"]) -> dict[str, float | None]:
    """Mean over examples and its standard error (of one example: null)."""
    error = (values.std() / math.sqrt(len(values))).item() if len(values) > 1 else None
    return {f"{name}_nats": values.mean().item(), f"{name}_se": error}


def _not_finite(columns: dict[str, Any]) -> list[str]:
    return [name for name, value in columns.items() if value is not None and not math.isfinite(value)]


@torch.no_grad()
def sheet(
    model: VAE,
    images: UInt8[Tensor, "examples pixels"],
    train: Int64[np.ndarray, " train"],
    test: Int64[np.ndarray, " test"],
    *,
    n: int,
    stream_id: str,
) -> dict[str, np.ndarray]:
    """A few images with their reconstructions, and samples from the prior, as uint8 [n, pixels]."""
    parameter = next(model.parameters())
    rng = generator(stream_id, "samples")
    found: dict[str, np.ndarray] = {}
    for population, indices in (("train", train), ("test", test)):
        x = images.index_select(0, torch.from_numpy(indices[:n]).to(images.device))
        posterior = model.encode(intensities(x, parameter))
        found[f"{population}_images"] = x.cpu().numpy()
        found[f"{population}_reconstructions"] = _bytes(model.mean_image(model.decode(posterior.mean)))
    found["samples"] = _bytes(model.mean_image(model.decode(model.sample_prior(rng, n))))
    return found


def _bytes(intensities: Tensor) -> np.ndarray:
    found: np.ndarray = (intensities * 255).round().to(torch.uint8).cpu().numpy()
    return found

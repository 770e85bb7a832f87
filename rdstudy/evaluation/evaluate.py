"""A trained model and a population become measured values.

Rate, distortion and ELBO over the whole population, every example once; the mutual information and the likelihood
where the study asks for them. One model at a time, so that a value cannot depend on the pack: a model's forward pass
fills a device, and stacking several gains nothing there (tests/benchmarks). Computed in the parameters' own float32 or
better, whatever training used; averaged in float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from rdstudy.evaluation.measure import Measure, Value
from rdstudy.evaluation.population import EncodedPopulation, encode_population, intensities
from rdstudy.models.vae import VAE
from rdstudy.storage.schema import DIVERGED, OK, TRAIN
from rdstudy.study import Evaluation
from rdstudy.study.measures import MeasureSpec
from rdstudy.study.seeding import generator


@dataclass(frozen=True, slots=True)
class Values:
    """Measured columns of one row, and whether the model could be measured."""

    columns: dict[str, Any]
    status: str = OK
    message: str | None = None


@torch.no_grad()
def measure(
    model: VAE,
    images: UInt8[Tensor, "examples pixels"],
    populations: Mapping[str, Int64[np.ndarray, " population"]],
    evaluation: Evaluation,
    *,
    beta: float,
    stream_id: str,
    step: int,
    final: int,
) -> dict[str, Values]:
    """Everything that the evaluation asks for at this step, with standard errors, of every population.

    Args:
        model: the model, at training step `step`.
        images: the whole data set, on the model's device.
        populations: by name (`train`, `test`, `validation`), which images form it, in random order: a subsample is the
            first of them, so that every cell has the same. Densities are fitted to those of `train` where it is there,
            and else to the population itself.
        evaluation: what is measured when.
        beta: the weight of the rate that the model was trained with.
        stream_id: with step and population, what the draws of z depend on.
        step: training steps taken.
        final: the cell's last step.
    """
    model, images = _where_float64_is(model, images)
    found: dict[str, Values] = {}
    training = None
    for population in sorted(populations, key=lambda name: name != TRAIN):
        rng = generator(stream_id, "evaluation", step, population)
        indices = populations[population]
        encoded = encode_population(model, images, indices, rng, beta=beta, fitted_on=training)
        if population == TRAIN:
            training = encoded
        due = {name: each for name, each in evaluation.measures.items() if each.is_due(step, final)}
        found[population] = _values(encoded, due, stream_id, step, population)
    return {population: found[population] for population in populations}


def _values(
    encoded: EncodedPopulation, measures: Mapping[str, MeasureSpec], stream_id: str, step: int, population: str
) -> Values:
    """The columns of these measures for one population."""
    columns: dict[str, Any] = {"n_examples": len(encoded)}
    for name, each in measures.items():
        assert isinstance(each, Measure)
        found = each.compute(encoded, generator(stream_id, each.stream or name, step, population))
        bad = _not_finite(found)
        if bad:
            message = f"{', '.join(bad)} not finite at step {step}"
            return Values({"n_examples": len(encoded)}, DIVERGED, message)
        columns |= found
    return Values(columns)


def _where_float64_is(model: VAE, images: Tensor) -> tuple[VAE, Tensor]:
    """Model and images as they are, or on the CPU where their device has no float64 (Apple's GPUs)."""
    if images.device.type != "mps":
        return model, images
    return VAE(model.shape, model.row().cpu()), images.cpu()


def _not_finite(columns: Mapping[str, Value]) -> list[str]:
    numbers = {name: value for name, value in columns.items() if not (value is None or isinstance(value, str))}
    return [name for name, value in numbers.items() if not np.isfinite(value).all()]


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

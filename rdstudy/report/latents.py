"""What each latent dimension carries: its rate, and what the decoder makes of its values.

Needs the weights of the cells (`resources.save_models`) and torch, which only the function that uses it imports.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, UInt8

from rdstudy.report.image_grids import read_images
from rdstudy.storage.paths import StoragePath
from rdstudy.storage.schema import TEST

MAX_LATENTS = 4
STEPS = np.linspace(-2.5, 2.5, 7)
"""Values of a latent, in standard deviations of the prior."""

STANDARD_NORMAL = "standard_normal"


@dataclass(frozen=True)
class Traversal:
    """One model's latents, and one test image decoded along the most informative ones.

    Attributes:
        rates_nats: of every latent dimension, mean over examples.
        examples: over how many; 0: all of the test set.
        latents: the dimensions that are traversed, the most informative first.
        values: of the latent in each column.
        images: decoded mean images.
    """

    rates_nats: Float[np.ndarray, " latent_dim"]
    examples: int
    latents: Int[np.ndarray, " latents"]
    values: Float[np.ndarray, " values"]
    images: UInt8[np.ndarray, "latents values height width channels"]


def has_weights(results: StoragePath, cell_id: str) -> bool:
    """Whether the weights and images of a cell are stored."""
    paths = (results / "models" / f"{cell_id}.safetensors", results / "sheets" / f"{cell_id}.npz")
    return cell_id.isalnum() and all(path.is_file() for path in paths)


def traverse(
    results: StoragePath, cell_id: str, measured: Float[np.ndarray, " latent_dim"] | None = None
) -> Traversal | None:
    """Decode the first stored test image with one latent at a time set to `STEPS`, the others at its posterior mean.

    The rate of a latent is KL(q(z_d|x) || N(0, 1)) under a standard normal prior. Other priors do not divide into
    latents: 1/2 log(1 + Var[mean] / E[std^2]) takes its place, and steps are in standard deviations of the stored
    images' codes.

    Args:
        results: the results folder.
        cell_id: of a cell with weights.
        measured: rates of all latents on the test set, where they are in the table.

    Returns:
        None where no test images are stored.

    Raises:
        ImportError: torch is not installed.
        UserError: the weights cannot be read.
    """
    import torch

    from rdstudy.storage.weights import load_model

    stored = read_images(results / "sheets" / f"{cell_id}.npz")
    if not len(stored.get("test_images", ())):
        return None
    seen = np.concatenate([stored[name] for name in ("test_images", "train_images") if name in stored])
    model = load_model(results, cell_id)
    dtype = next(model.parameters()).dtype
    with torch.no_grad():
        posterior = model.encode(torch.from_numpy(seen.reshape(len(seen), -1)).to(dtype) / 255)
        mean, std = posterior.mean.double().numpy(), posterior.log_std.double().exp().numpy()
        standard = model.shape.prior == STANDARD_NORMAL
        rates = _rates(mean, std) if standard else 0.5 * np.log1p(mean.var(axis=0) / (std**2).mean(axis=0))
        if measured is not None and len(measured) == len(rates):
            rates, examples = measured, 0
        else:
            examples = len(seen)
        latents = np.argsort(-rates, kind="stable")[:MAX_LATENTS]
        centre = np.zeros(len(rates)) if standard else mean.mean(axis=0)
        scale = np.ones(len(rates)) if standard else np.sqrt(mean.var(axis=0) + (std**2).mean(axis=0))
        codes = np.tile(mean[0], (len(latents), len(STEPS), 1))
        for row, d in enumerate(latents):
            codes[row, :, d] = centre[d] + scale[d] * STEPS
        pictures = model.mean_image(model.decode(torch.from_numpy(codes.reshape(-1, len(rates))).to(dtype)))
    images = (pictures.clamp(0, 1).double().numpy() * 255).round().astype(np.uint8)
    return Traversal(rates, examples, latents, STEPS, images.reshape(len(latents), len(STEPS), *seen.shape[1:]))


def _rates(mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """KL(N(mean, std^2) || N(0, 1)) of each latent, mean over examples."""
    return np.asarray((0.5 * (mean**2 + std**2 - 1) - np.log(std)).mean(axis=0))


def measured_rates(table: pd.DataFrame, cell_id: str) -> Float[np.ndarray, " latent_dim"] | None:
    """The rates of all latents on the test set that the table has of a cell; None where it has none."""
    if "latent_rates_nats" not in table.columns:
        return None
    rows = table[(table["cell_id"] == cell_id) & (table["population"] == TEST) & table["is_final"].astype(bool)]
    known = [value for value in rows["latent_rates_nats"] if isinstance(value, list | np.ndarray)]
    found = np.asarray(known[-1] if known else [], dtype=np.float64)
    return found if len(found) and np.isfinite(found).all() else None

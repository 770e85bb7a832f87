"""Trained weights: one safetensors file per cell, which is read without unpickling."""

from __future__ import annotations

import json
from dataclasses import asdict

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from rdstudy.errors import UserError
from rdstudy.models.shape import ModelShape
from rdstudy.models.vae import VAE
from rdstudy.storage.files import atomic_write
from rdstudy.storage.paths import StoragePath, local_copy, storage_path
from rdstudy.study.registry import PARTS, require_permission


def model_path(results: StoragePath, cell_id: str) -> StoragePath:
    """The path of a cell's weights, which exist only with `resources.save_models`."""
    return results / "models" / f"{cell_id}.safetensors"


def save_model(results: StoragePath, cell_id: str, model: VAE) -> None:
    """Write a trained model as `<results>/models/<cell_id>.safetensors`."""
    tensors = {name: value.detach().cpu().clone() for name, value in model.named_parameters()}
    data = save(tensors, {"shape": json.dumps(asdict(model.shape)), "cell_id": cell_id})
    atomic_write(model_path(results, cell_id), lambda file: file.write(data))


def load_model(results: str | StoragePath, cell_id: str) -> VAE:
    """The trained model of a cell.

    Args:
        results: the results folder, or a prefix in a bucket.
        cell_id: as in the table's column `cell_id`.

    Returns:
        A `VAE` on the CPU: `encode(images in [0, 1]) -> Posterior`, `decode(latent) -> logits`.

    Raises:
        UserError: there are no weights of this cell.

    >>> import rdstudy
    >>> table = rdstudy.load_measurements("results/quickstart")
    >>> model = rdstudy.load_model("results/quickstart", table["cell_id"].iloc[0])
    >>> posterior = model.encode(torch.rand(2, 3072))  # two images of 32 x 32 pixels and 3 channels
    >>> posterior.mean.shape
    torch.Size([2, 10])
    """
    path = model_path(storage_path(results), cell_id)
    try:
        with local_copy(path) as copy, safe_open(copy, "pt") as file:
            shape = ModelShape(**json.loads(file.metadata()["shape"]))
            for kind in PARTS:
                require_permission(kind, getattr(shape, kind))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise UserError(
            f"{path}: there are no weights of cell {cell_id}: it is not finished, or diverged, or the study was run "
            "with resources.save_models: false"
        ) from None
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a model of rdstudy: {error}") from error
    dtype = next(iter(tensors.values())).dtype
    model = VAE(shape, torch.zeros(shape.row, dtype=dtype))
    model.load_state_dict(tensors)
    return model.eval()

"""Trained weights: one safetensors file per cell, which is read without unpickling."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import torch
from pyarrow import compute
from pydantic import TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load, save

from rdstudy.errors import UserError
from rdstudy.models.shape import ModelShape
from rdstudy.models.vae import VAE
from rdstudy.storage.files import atomic_write
from rdstudy.storage.parts import read_parts
from rdstudy.storage.paths import StoragePath, read_bytes, storage_path
from rdstudy.study.axes import MAX_DEPTH
from rdstudy.study.registry import PARTS, require_permission

_ID = re.compile(r"[0-9A-Za-z]{1,64}")


def model_path(results: StoragePath, cell_id: str) -> StoragePath:
    """The path of a cell's weights, which exist only with `resources.save_models`."""
    return results / "models" / f"{cell_id}.safetensors"


def save_model(results: StoragePath, cell_id: str, model: VAE) -> str:
    """Write a trained model as `<results>/models/<cell_id>.safetensors`; returns the file's SHA-256."""
    tensors = {name: value.detach().cpu().clone() for name, value in model.named_parameters()}
    data = save(tensors, {"shape": json.dumps(asdict(model.shape)), "cell_id": cell_id})
    atomic_write(model_path(results, cell_id), lambda file: file.write(data))
    return hashlib.sha256(data).hexdigest()


def weights_checksums(results: StoragePath) -> dict[str, str]:
    """SHA-256 of the weights of each cell, from the table; cells of earlier versions have none.

    Raises:
        StorageError: the table cannot be read.
    """
    rows = read_parts(results / "measurements", ["cell_id", "weights_sha256"])
    rows = rows.filter(compute.is_valid(rows["weights_sha256"]))
    return dict(zip(rows["cell_id"].to_pylist(), rows["weights_sha256"].to_pylist(), strict=True))


def load_model(results: str | StoragePath, cell_id: str) -> VAE:
    """The trained model of a cell.

    Args:
        results: the results folder, or a prefix in a bucket.
        cell_id: as in the table's column `cell_id`.

    Returns:
        A `VAE` on the CPU: `encode(images in [0, 1]) -> Posterior`, `decode(latent) -> logits`.

    Raises:
        UserError: there are no weights of this cell, or they are another cell's, damaged or changed since.

    >>> import rdstudy
    >>> table = rdstudy.load_measurements("results/quickstart")
    >>> model = rdstudy.load_model("results/quickstart", table["cell_id"].iloc[0])
    >>> posterior = model.encode(torch.rand(2, 3072))  # two images of 32 x 32 pixels and 3 channels
    >>> posterior.mean.shape
    torch.Size([2, 10])
    """
    folder = storage_path(results)
    return read_model(folder, cell_id, weights_checksums(folder).get(cell_id))


def read_model(results: StoragePath, cell_id: str, sha256: str | None) -> VAE:
    """The trained model of a cell, whose file is checked against the table.

    Args:
        results: the results folder, or a prefix in a bucket.
        cell_id: as in the table's column `cell_id`.
        sha256: of the file, as in the table's column `weights_sha256`; None: not known.

    Raises:
        UserError: there are no weights of this cell, or they are another cell's, damaged or changed.
    """
    data, metadata = checked_weights(results, cell_id, sha256)
    with _translate_errors(model_path(results, cell_id)):
        shape = _SHAPE.validate_json(metadata["shape"], strict=True)
        if min(shape.pixels, shape.width, shape.latent_dim) < 1 or not 0 <= shape.depth <= MAX_DEPTH:
            raise ValueError(f"its shape is {shape}")
        for kind in PARTS:
            require_permission(kind, getattr(shape, kind))
        tensors = load(data)
        if not tensors or shape.n_parameters != sum(tensor.numel() for tensor in tensors.values()):
            raise ValueError("its tensors do not have the sizes that it names")
        dtype = next(iter(tensors.values())).dtype
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"its numbers are {dtype}; expected float32 or float64")
        model = VAE(shape, torch.zeros(shape.row, dtype=dtype))
        model.load_state_dict(tensors)
        return model.eval()


def checked_weights(results: StoragePath, cell_id: str, sha256: str | None) -> tuple[bytes, dict[str, str]]:
    """The bytes of a cell's file of weights, and its metadata, after a check of whose they are.

    Args and Raises as in `read_model`.
    """
    if not _ID.fullmatch(cell_id):
        raise UserError(f"{cell_id[:80]!r} is not a cell's id; `rdstudy ls {results}` lists them")
    path = model_path(results, cell_id)
    with _translate_errors(path):
        try:
            data = read_bytes(path)
        except FileNotFoundError:
            raise UserError(
                f"{path}: there are no weights of cell {cell_id}: it is not finished, or diverged, or the study was "
                "run with resources.save_models: false"
            ) from None
        metadata = _METADATA.validate_python(_header(data)["__metadata__"])
        owner = metadata["cell_id"]
    if owner != cell_id:
        raise UserError(f"{path}: holds the weights of cell {owner[:64]!r}, not of {cell_id}: was a file copied?")
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise UserError(
            f"{path}: was changed after training: its SHA-256 is not the table's `weights_sha256`. Put the right file "
            "back, or move the cell's part out of the folder measurements and run the study again"
        )
    return data, metadata


_METADATA = TypeAdapter(dict[str, str])
_SHAPE = TypeAdapter(ModelShape)


def _header(data: bytes) -> dict[str, object]:
    """The JSON header of a safetensors file: 8 bytes with its length, then the text."""
    header: dict[str, object] = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return header


@contextmanager
def _translate_errors(path: StoragePath) -> Iterator[None]:
    """Say of what a damaged or foreign file raises that it is no file of weights."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, ArithmeticError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise UserError(f"{path}: not a model of rdstudy: {reason}") from error

"""The NLL of trained models by draws from the encoder and from the adaptive proposal, against AIS.

    python -m tests.benchmarks.nll_proposals RESULTS [--depth 1] [--train-size 8000] [--split random]

RESULTS is a results folder with stored weights; one cell of each beta is measured, on its first test images. Prints one
table; those of several folders are in results/nll_proposals.md.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import torch

from rdstudy.evaluation.importance_sampling import LikelihoodEstimate, importance_weighted_nll
from rdstudy.evaluation.population import batch
from rdstudy.execution.inputs import as_tensor, populations_of
from rdstudy.storage.study_record import recorded_study
from rdstudy.storage.weights import load_model, model_path
from rdstudy.study import Cell
from rdstudy.study.data import load_data

HEADING = (
    "| beta | encoder, 64 draws | unreliable | ESS | adaptive, 512 draws | unreliable | ESS | "
    "encoder less AIS | adaptive less AIS | encoder, ms | adaptive, ms |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|"
)


def timed(estimate: Callable[[], LikelihoodEstimate]) -> tuple[LikelihoodEstimate, float]:
    """An estimate and its processor time per image, in milliseconds."""
    began = time.process_time()
    found = estimate()
    return found, 1e3 * (time.process_time() - began) / found.count


def paired(estimate: LikelihoodEstimate, reference: np.ndarray) -> str:
    """Mean difference over the reference's images, its standard error, and the largest."""
    difference = np.array(estimate.each[: len(reference)]) - reference
    error = difference.std(ddof=1) / math.sqrt(len(difference))
    return f"{difference.mean():+.2f} +- {error:.2f} (to {difference.max():+.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--set", action="append", default=[], help="such as dataset.root=DIR")
    parser.add_argument("--split", default="random")
    parser.add_argument("--depth", type=int, default=1)
    parser.add_argument("--train-size", type=int, default=8000)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--ais-images", type=int, default=24)
    parser.add_argument("--ais-steps", type=int, default=300)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    annealed = import_module("rdstudy.evaluation.ais").annealed_importance_sampling
    study = recorded_study(asked.results, overrides=asked.set)
    data = load_data(study)
    cells: dict[float, Cell] = {}
    for cell in study.cells.values():
        wanted = (cell.split, cell.depth, cell.train_size) == (asked.split, asked.depth, asked.train_size)
        if wanted and model_path(asked.results, cell.id).exists():
            cells.setdefault(cell.beta, cell)
    print(
        f"{study.dataset.name}, {asked.split}, {asked.depth} hidden layers, {asked.train_size:,} training images: "
        f"{asked.images} test images, AIS ({asked.ais_steps} temperatures, 16 chains) on the first {asked.ais_images}. "
        f"Nats; ms of one core per image.\n\n{HEADING}",
        flush=True,
    )
    for beta, cell in sorted(cells.items(), reverse=True):
        model = load_model(asked.results, cell.id)
        images = as_tensor(data.of(cell.data_seed).images)
        chosen = populations_of(data.of(cell.data_seed), [cell])[0]["test"][: asked.images]
        x = batch(images, chosen, next(model.parameters()))
        rng = np.random.default_rng(0)
        old, old_ms = timed(lambda: importance_weighted_nll(model, x, 64, generator=rng, proposal="encoder"))  # noqa: B023
        new, new_ms = timed(lambda: importance_weighted_nll(model, x, 512, generator=rng))  # noqa: B023
        reference = annealed(model, x[: asked.ais_images], generator=rng, steps=asked.ais_steps)
        truth = np.array(reference.each)
        print(
            f"| {beta:g} | {old.value:.1f} | {old.unreliable_share:.0%} | {old.effective_sample_size:.1f} | "
            f"{new.value:.2f} | {new.unreliable_share:.0%} | {new.effective_sample_size:.0f} | "
            f"{paired(old, truth)} | {paired(new, truth)} | {old_ms:.0f} | {new_ms:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()

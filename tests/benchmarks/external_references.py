"""Compares a trained VAE with two numbers from outside: a published -ELBO, and pythae's importance-weighted NLL.

    python tests/benchmarks/external_references.py --root FOLDER_OF_MNIST    # 15 minutes; needs the extra `bench`

1. 1x400 ReLU, latent 20, beta 1, Adam 1e-3, batch 128, non-binarised MNIST, 7 epochs: the VAE of pytorch/examples
   reaches a test -ELBO of about 106.7 nats there.
2. The same weights loaded into pythae (Chadebec et al. 2022), and 30 test images: both estimates of log p(x) from the
   same number of draws from the encoder must agree within their errors.
3. The default estimate, from a proposal fitted to each image: pythae's falls towards it as its draws grow.
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import rdstudy
from rdstudy.evaluation.importance_sampling import importance_weighted_nll
from rdstudy.execution.inputs import populations_of
from rdstudy.study.data import load_data
from tests.benchmarks.rivals import in_pythae

SETTINGS = [
    *("grid.depth=[1]", "grid.width=[400]", "grid.latent_dim=[20]", "grid.beta=[1]", "grid.train_size=[60000]"),
    *("grid.seed=[0,1,2]", "training.epochs=7"),
    "evaluation.nll.importance_samples=500",
]
PUBLISHED = 106.7


def train(root: str, results: Path) -> rdstudy.Study:
    """Three seeds of the published setting, trained by the shipped commands."""
    overrides = [*SETTINGS, f"dataset.root={root}"]
    options = [part for setting in overrides for part in ("--set", setting)]
    command = [sys.executable, "-m", "rdstudy", "run", "studies/mnist.yaml", "--no-ray", "--results", str(results)]
    subprocess.run([*command, *options], check=True)
    return rdstudy.load_study("studies/mnist.yaml", overrides=overrides)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder in which torchvision finds MNIST")
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--repetitions", type=int, default=30)
    parser.add_argument("--fitted-draws", type=int, default=512)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results"
        study = train(options.root, results)
        table = rdstudy.load_measurements(results)
        final = table[table["is_final"] & (table["population"] == "test")].sort_values("seed")
        elbos = (-final["elbo_nats"]).tolist()
        spread = statistics.stdev(elbos)
        print(f"\ntest -ELBO after 7 epochs, 3 seeds: {', '.join(f'{value:.2f}' for value in elbos)} nats")
        print(
            f"published: about {PUBLISHED}; ours less that: {statistics.mean(elbos) - PUBLISHED:+.2f} (sd {spread:.2f})"
        )
        print(f"test NLL, {final['nll_draws'].iloc[0]} draws: {final['nll_nats'].mean():.2f} nats")

        cell = study.cells[final["cell_id"].iloc[0]]
        model = rdstudy.load_model(results, cell.id)
        dataset = load_data(study).of(study.dataset.seed)
        chosen = populations_of(dataset, [cell])[0]["test"][: options.images]
        images = torch.from_numpy(dataset.images[chosen]).float() / 255

    theirs_model = in_pythae(model).eval()
    print(f"\n{options.images} test images, {options.draws} draws each, {options.repetitions} repetitions each")
    ours, theirs, seconds = [], [], []
    for seed in range(options.repetitions):
        started = time.perf_counter()
        rng = np.random.default_rng(seed)
        ours.append(importance_weighted_nll(model, images, options.draws, generator=rng, proposal="encoder"))
        middle = time.perf_counter()
        torch.manual_seed(seed)
        with torch.no_grad():
            log_likelihood = theirs_model.get_nll(  # type: ignore[operator]
                images, n_samples=options.draws, batch_size=options.draws
            )
        theirs.append(-float(log_likelihood))
        seconds.append((middle - started, time.perf_counter() - middle))
    # pythae leaves out the normalising constants of both Gaussians, which cancel.
    values = [one.value for one in ours]
    difference = statistics.mean(values) - statistics.mean(theirs)
    error = math.hypot(statistics.stdev(values), statistics.stdev(theirs)) / math.sqrt(options.repetitions)
    first = ours[0]
    print(f"ours   {statistics.mean(values):.4f} nats; one estimate's standard error {first.standard_error:.4f}")
    print(f"pythae {statistics.mean(theirs):.4f} nats")
    print(f"difference {difference:+.4f}, standard error {error:.4f}: {abs(difference) / error:.1f} of them")
    print(f"effective sample size {first.effective_sample_size:.0f}, unreliable {first.unreliable_share:.0%}")
    our_time, their_time = (statistics.median(each) for each in zip(*seconds, strict=True))
    print(f"seconds: ours {our_time:.2f}, pythae {their_time:.2f}")

    fitted = importance_weighted_nll(model, images, options.fitted_draws, generator=np.random.default_rng(0))
    print(
        f"\nour default, {options.fitted_draws} draws: {fitted.value:.4f} nats, Monte Carlo error "
        f"{fitted.standard_error:.4f}, unreliable {fitted.unreliable_share:.0%}"
    )
    for factor in (1, 10):
        torch.manual_seed(factor)
        with torch.no_grad():
            log_likelihood = theirs_model.get_nll(  # type: ignore[operator]
                images, n_samples=factor * options.draws, batch_size=options.draws
            )
        more = -float(log_likelihood)
        print(f"pythae, {factor * options.draws:,} draws: {more:.4f} nats, less our default {more - fitted.value:+.4f}")


if __name__ == "__main__":
    main()

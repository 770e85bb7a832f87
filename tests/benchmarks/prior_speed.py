"""How much longer a training step takes with a learned prior than with the standard normal.

    python -m tests.benchmarks.prior_speed [--rounds 5]

One thread, packs of 8, one hidden layer of 512 units, batch 128. The priors take turns; ratios are within a round.
"""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np

from rdstudy.study import parse_study
from rdstudy.training.packs import FAST_PACK
from rdstudy.training.trainer import PackTrainer
from tests.benchmarks.machine import Case, Report, compare, ratios, spread
from tests.benchmarks.rivals import BATCH, LATENT, Train
from tests.benchmarks.training_speed import EXAMPLES, random_images

PRIORS = ("standard_normal", "gaussian", "mixture(128)", "flow(4)", "vampprior(128)")
PIXELS = (784, 3072)
PACK = FAST_PACK["cpu"]


def _packed(pixels: int, prior: str) -> Train:
    study = parse_study(
        "name: speed\ndataset: {name: mnist}\n"
        f"grid: {{split: [standard], beta: [1], depth: [1], width: [512], train_size: [{EXAMPLES}], "
        f"latent_dim: [{LATENT}], prior: ['{prior}'], seed: {{count: {PACK}}}}}\n"
        f"training: {{steps: 1000000, batch_size: {BATCH}}}"
    )
    training = PackTrainer(list(study.cells.values()), random_images(pixels), [np.arange(EXAMPLES)] * PACK)
    return lambda steps: training.advance(training.step + steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each prior in each round, roughly")
    arguments = parser.parse_args()
    report = Report("prior_speed", "python -m tests.benchmarks.prior_speed")
    report.line(f"Packs of {PACK} of 1x512, batch {BATCH}, float32, one thread; min-median-max of the rounds\n")
    report.line("| pixels | prior | ms per model-step | times the standard normal's step |")
    report.line("|---|---|---|---|")
    for pixels in PIXELS:
        cases = [Case(prior, partial(_packed, pixels, prior), PACK) for prior in PRIORS]
        rates = compare(cases, rounds=arguments.rounds, seconds=arguments.seconds)
        for prior in PRIORS:
            times = [1e3 / rate for rate in rates[prior]]
            longer = spread(ratios(rates[PRIORS[0]], rates[prior]), 2)
            report.line(f"| {pixels} | {prior} | {spread(times, 2)} | {longer} |")
    report.write()


if __name__ == "__main__":
    main()

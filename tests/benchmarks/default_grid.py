"""How often a study of some size reaches a verdict on lowering beta, by its number of seeds.

    python -m tests.benchmarks.default_grid RESULTS [--without BETA ...]

Studies are drawn from a normal distribution with the means and the covariance over betas of a study's seeds, each
setting apart, and judged as the report judges them. So the true gains are taken to be those seen.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

import rdstudy
from rdstudy.analysis import claims
from rdstudy.analysis.replicates import TEST, Replicates, replicates
from rdstudy.analysis.verdicts import OPEN

CRITERION = "distortion_nats"


def drawn(one: Replicates, seeds: int, without: Sequence[float], generator: np.random.Generator) -> Replicates:
    """A setting with new seeds."""
    kept = ~np.isin(one.betas, without)
    values = one.of(TEST, CRITERION)[:, kept]
    mean = values.mean(axis=0)
    noise = generator.standard_normal((seeds, len(values))) @ (values - mean) / np.sqrt(len(values) - 1)
    return Replicates(one.setting, one.betas[kept], np.arange(seeds), {(TEST, CRITERION): mean + noise})


def decided(study: Sequence[Replicates], seeds: int, without: Sequence[float], studies: int) -> np.ndarray:
    """Share of drawn studies with a verdict that is not open, for each setting."""
    generator = np.random.default_rng(0)
    found = np.zeros(len(study))
    for _ in range(studies):
        rows = claims([drawn(one, seeds, without, generator) for one in study])
        rows = rows[(rows["claim"] == "lowering_beta") & (rows["criterion"] == CRITERION)]
        found += (rows["verdict"] != OPEN).to_numpy()
    return found / studies


def main() -> None:
    """Print a line for each number of seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results")
    parser.add_argument("--without", type=float, nargs="*", default=[])
    parser.add_argument("--studies", type=int, default=300)
    arguments = parser.parse_args()
    table = rdstudy.load_measurements(arguments.results)
    study = replicates(table[table["is_final"]])
    for seeds in (3, 4, 5, 6, 8):
        shares = decided(study, seeds, arguments.without, arguments.studies)
        named = (f"depth {one.setting['depth']} {share:.0%}" for one, share in zip(study, shares, strict=True))
        print(f"{seeds} seeds: {', '.join(named)}")


if __name__ == "__main__":
    main()

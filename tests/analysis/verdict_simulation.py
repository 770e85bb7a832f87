"""Simulated studies whose truth is known: how often each verdict is wrong, and how often a true gain is found.

A study is an array [studies, settings, seeds, smaller betas] of differences to the reference within a seed, which
`rdstudy.analysis.contrasts` works on. Run as a program it writes `tests/benchmarks/results/verdict_error_rates.md`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rdstudy.analysis.claims_summary import CONTRADICTED, SUPPORTED, share_bounds_interval
from rdstudy.analysis.contrasts import contrasts
from rdstudy.analysis.looks import looks_of
from rdstudy.analysis.verdicts import BETTER, EQUIVALENT, OPEN, WORSE, verdicts

MARGIN = 2.0
BETAS = 8
EQUAL, REFERENCE = "equal noise", "noise as in the reference"
PLANNED = {"3 seeds": 3, "6 seeds": 6, "20 seeds": 20}


def noise(name: str) -> tuple[float, np.ndarray]:
    """Standard deviation of the reference beta and of each smaller beta, nats."""
    return (1.0, np.full(BETAS, 1.0)) if name == EQUAL else (0.6, np.geomspace(0.6, 8.0, BETAS))


def study(
    gains: np.ndarray, name: str, seeds: int, studies: int, settings: int, generator: np.random.Generator
) -> np.ndarray:
    """Differences to the reference: its own noise is in all of them."""
    of_reference, of_smaller = noise(name)
    reference = of_reference * generator.standard_normal((studies, settings, seeds, 1))
    return gains + reference - of_smaller * generator.standard_normal((studies, settings, seeds, BETAS))


def judged(differences: np.ndarray, planned: int, *, every_look: bool) -> np.ndarray:
    """Verdicts [studies, settings]; with `every_look`, the first that is not open on the way to the planned seeds."""
    looks = looks_of(planned) if every_look else (planned,)
    said = np.full(differences.shape[:2], OPEN, dtype=object)
    for number, seeds in enumerate(looks, start=1):
        now = verdicts(
            contrasts(differences[:, :, :seeds]), MARGIN, looks, np.full(differences.shape[:2], number, dtype=int)
        )
        said = np.where(said == OPEN, now, said)
    return said


def truths() -> dict[str, tuple[np.ndarray, set[str]]]:
    """Gains of the smaller betas, and the verdicts that are false of them."""
    one = np.full(BETAS, -6.0)
    return {
        "no difference": (np.zeros(BETAS), {BETTER, WORSE}),
        "one good beta, 2 nats": (np.append(np.full(BETAS - 3, 0.0), [2.0, 0.0, 0.0]), {WORSE, EQUIVALENT}),
        "first beta 2 nats, others 6 worse": (np.where(np.arange(BETAS) == 0, 2.0, one), {WORSE, EQUIVALENT}),
        "first beta equal, others 6 worse": (np.where(np.arange(BETAS) == 0, 0.0, one), {BETTER, WORSE}),
        "common gain, 2 nats": (np.full(BETAS, 2.0), {WORSE, EQUIVALENT}),
        "common loss, 2 nats": (np.full(BETAS, -2.0), {BETTER, EQUIVALENT}),
    }


def error_rates(studies: int, settings: int, seed: int = 0) -> Iterator[tuple[str, str, str, dict[str, float]]]:
    """Truth, noise, plan, and the rates of false better, worse and equivalent over settings and studies."""
    generator = np.random.default_rng(seed)
    for truth, (gains, false) in truths().items():
        for name in (EQUAL, REFERENCE):
            for plan, planned in PLANNED.items():
                differences = study(gains, name, planned, studies, settings, generator)
                for every_look in (False, True) if planned > 3 else (False,):
                    said = judged(differences, planned, every_look=every_look)
                    rates = {word: float((said == word).mean()) if word in false else 0.0 for word in _WORDS}
                    yield truth, name, plan + (", every look" if every_look else ""), rates


_WORDS = (BETTER, WORSE, EQUIVALENT)


def power(studies: int, seed: int = 1) -> dict[str, float]:
    """How often a gain of 2 nats is called better: 3 seeds, 12 settings, differences of sd 3, pairing 0.9."""
    generator = np.random.default_rng(seed)
    sd = 3 * np.sqrt(0.1)  # of the difference within a seed
    found = {}
    for name, gains in (("all smaller betas", np.full(BETAS, 2.0)), ("one of 8", np.r_[2.0, np.zeros(BETAS - 1)])):
        own = sd / np.sqrt(2)
        shape = (studies, 12, 3)
        differences = gains + own * (
            generator.standard_normal((*shape, 1)) - generator.standard_normal((*shape, BETAS))
        )
        found[name] = float((judged(differences, 3, every_look=False) == BETTER).mean())
    single = 2 + sd * generator.standard_normal((studies, 12, 3, 1))
    found["the one smaller beta"] = float((judged(single, 3, every_look=False) == BETTER).mean())
    return found


def summary_right(share: float, studies: int, settings: int, groups: int, seed: int = 2) -> float:
    """How often the summary does not contradict the true share: settings of a group are alike (correlation 0.1).

    A true gain is found in 80% and called worse or equivalent in 3%; where there is none, 3% are called better and half
    are called worse or equivalent.
    """
    generator = np.random.default_rng(seed)
    wrong = 0
    group = np.arange(settings) % groups
    for _ in range(studies):
        spread = 1 / 0.1 - 1
        own = generator.beta(share * spread, (1 - share) * spread, groups)[group]
        gains = generator.random(settings) < own
        drawn = generator.random(settings)
        with_gain = np.select([drawn < 0.8, drawn < 0.83], [BETTER, WORSE], OPEN)
        without = np.select([drawn < 0.03, drawn < 0.53], [BETTER, EQUIVALENT], OPEN)
        low, high = share_bounds_interval(np.where(gains, with_gain, without), group, draws=400)
        said = SUPPORTED if low > 0.5 else CONTRADICTED if high < 0.5 else OPEN
        wrong += said == (SUPPORTED if share < 0.5 else CONTRADICTED)
    return 1 - wrong / studies


SUMMARIES = [
    (share, settings, groups) for share in (0.30, 0.42, 0.60) for settings, groups in ((12, 1), (12, 2), (24, 4))
]


def main() -> None:
    command = "python -m tests.analysis.verdict_simulation"
    lines = [
        "# Error rates of the verdicts",
        "",
        f"`{command}`, {dt.date.today().isoformat()}. Shares of settings; simulated studies of 8 smaller betas, "
        "margin 2 nats, in percent; 3 is allowed. Noise as in the reference: sd 0.6 at beta 1, growing to 8 at the "
        "smallest beta. The worst of 3, 6 and 20 planned seeds, judged at the end, or at every look until a verdict is "
        "found.",
        "",
        "| settings | truth | noise | false better | false worse | false equivalent |",
        "|---:|---|---|---:|---:|---:|",
    ]
    for settings, studies in ((1, 6000), (2, 2000), (12, 400)):
        worst: dict[tuple[str, str], dict[str, float]] = {}
        for truth, name, _, rates in error_rates(studies, settings):
            before = worst.setdefault((truth, name), rates)
            worst[truth, name] = {word: max(rates[word], before[word]) for word in _WORDS}
        for (truth, name), rates in worst.items():
            cells = " | ".join(f"{100 * rates[word]:.2f}" for word in _WORDS)
            lines.append(f"| {settings} | {truth} | {name} | {cells} |")
    lines += ["", "Power at 2 nats, 3 seeds, 12 settings; differences of sd 3 when unpaired, pairing 0.9:", ""]
    lines += ["| better are | called better (%) |", "|---|---:|"]
    lines += [f"| {name} | {100 * value:.0f} |" for name, value in power(1000).items()]
    lines += [
        "",
        "Summary: how often it does not contradict the true share of settings with a gain (95% is needed):",
        "",
    ]
    lines += ["| true share | settings | groups | right (%) |", "|---:|---:|---:|---:|"]
    for share, settings, groups in SUMMARIES:
        right = summary_right(share, 1000, settings, groups)
        lines.append(f"| {share:.0%} | {settings} | {groups} | {100 * right:.1f} |")
    lines += [
        "",
        "Saturation: how often the betas bracket the true one (93% is needed), grids of the shipped studies:",
        "",
    ]
    lines += ["| study | betas | seeds | coverage (%) |", "|---|---:|---:|---:|"]
    from tests.analysis.test_saturation import coverage, shipped

    for name, betas, seeds in shipped():
        held = coverage(betas, seeds, 2000, np.random.default_rng(4))
        lines.append(f"| {name} | {len(betas)} | {seeds} | {100 * held:.1f} |")
    out = Path(__file__).parents[1] / "benchmarks" / "results" / "verdict_error_rates.md"
    out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

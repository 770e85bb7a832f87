"""The shape of a criterion over beta, decided with intervals and not by eye.

A curve is read from its largest beta to its smallest, the direction in which the rate rises. It *falls* if
some smaller beta is better than the largest, and it *rises* if it ends, at the smallest beta, above some
larger one. Then:

    falls and rises      U-shaped
    falls, does not rise falling
    rises, does not fall rising
    neither              flat, or humped if it passes above both of its ends

Each of the two questions is one comparison with the best of several betas (`contrasts`), so the number of betas does
not multiply the chance of an error. "U-shaped" needs both and is wrong even more rarely. A shape is a description: it
is not corrected for the number of settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from rdstudy.analysis.contrasts import MIN_SEEDS, Contrasts
from rdstudy.analysis.looks import ALPHA
from rdstudy.analysis.paired import Differences, compare, to_reference
from rdstudy.analysis.replicates import CRITERIA, SETTING, Replicates, averaged, replicates
from rdstudy.storage.schema import POPULATIONS

U_SHAPED, FALLING, RISING, FLAT, HUMPED, UNDECIDED = (
    "U-shaped",
    "falling",
    "rising",
    "flat",
    "humped",
    "undecided",
)

RELATIVE_RISE = 0.05
"""A fall or rise below this share of the curve's range does not count when a shape is named: a curve that
falls by 76
nats and ends 1.3 above its minimum, as the published deep test curve does, is falling."""


SMALLEST_EFFECT_NATS = 0.5
"""Falls and rises below this are called none: near the 0.3 nats to which the published figure can be read, and 1% of
the entropy floor of Tetrominoes (50.9 nats)."""

PRESENT, ABSENT, OPEN = "present", "absent", "open"


@dataclass(frozen=True)
class Change:
    """A fall or rise in nats: the largest difference of means that is well established, with its 95% interval."""

    nats: float
    low: float
    high: float
    decided: str


NO_CHANGE = Change(float("nan"), float("nan"), float("nan"), OPEN)


@dataclass(frozen=True)
class Shape:
    """A shape, and what it was decided by; `of_means` is what the means alone look like."""

    name: str
    of_means: str
    fall: Change
    rise: Change
    bump: Change


def shapes_of(
    curves: Sequence[tuple[Float[np.ndarray, " _"], Float[np.ndarray, "_ ... _"]]],
    smallest: float = SMALLEST_EFFECT_NATS,
) -> list[Shape]:
    """Decide the shapes of curves whose columns run from the largest beta to the smallest.

    Args:
        curves: betas and values of each setting, (seeds, betas) or (seeds, cells, betas); NaN where it was not
            measured. Columns without a value are ignored. The settings lend each other their noise.
        smallest: nats; falls and rises below it, or below 5% of the curve's range, do not count.
    """
    kept = []
    for betas, values in curves:
        by_cell = values[:, None] if values.ndim == 2 else values
        there = np.isfinite(by_cell).any(axis=(0, 1))
        kept.append((betas[there], by_cell[..., there]))
    means = [np.nanmean(averaged(values), axis=0) if values.size else np.empty(0) for _, values in kept]
    sizes = [max(smallest, RELATIVE_RISE * float(np.ptp(mean))) if len(mean) else smallest for mean in means]
    falls: list[Differences | None] = []
    rises: list[Differences | None] = []
    bumps: list[Differences | None] = []
    for (betas, values), mean in zip(kept, means, strict=True):
        last = len(betas) - 1
        if last < 1:
            for part in (falls, rises, bumps):
                part.append(None)
            continue
        # The higher end against the highest point between: a bump is above both ends.
        higher = 0 if mean[0] >= mean[last] else last
        falls.append(to_reference(values, betas, 0, range(1, last + 1)))
        rises.append(to_reference(values, betas, last, range(last)))
        bumps.append(to_reference(-values, betas, higher, range(1, last)))
    decided = [_changes(part, sizes) for part in (falls, rises, bumps)]
    found = []
    for k, mean in enumerate(means):
        fall, rise, bump = (part[k] for part in decided)
        if len(mean) < 2:
            found.append(Shape(UNDECIDED, UNDECIDED, NO_CHANGE, NO_CHANGE, NO_CHANGE))
            continue
        name = _name(fall.decided, rise.decided, bump.decided)
        found.append(Shape(name, _by_means(mean, sizes[k]), fall, rise, bump))
    return found


def _changes(asked: Sequence[Differences | None], sizes: Sequence[float]) -> list[Change]:
    found = [NO_CHANGE] * len(asked)
    usable = [(k, one) for k, one in enumerate(asked) if one is not None and one.points]
    if not usable:
        return found
    compared, _ = compare([one for _, one in usable])
    least = np.array([sizes[k] for k, _ in usable])
    low, high = compared.interval()
    states = decide(compared, least)
    for at, (k, _) in enumerate(usable):
        found[k] = Change(float(compared.difference[at]), float(low[at]), float(high[at]), str(states[at]))
    return found


def decide(found: Contrasts, smallest: float | Float[np.ndarray, " settings"]) -> np.ndarray:
    """`present`: shown above 0, and the difference of means is at least `smallest`. `absent`: shown below `smallest`.

    `open` otherwise, and always with fewer than three seeds. Each at a one-sided 2.5%.
    """
    enough = found.seeds >= MIN_SEEDS
    present = enough & (found.p_above(0.0) <= ALPHA) & (found.difference >= smallest)
    absent = enough & (found.p_below(smallest) <= ALPHA)
    return np.select([present, absent], [PRESENT, ABSENT], OPEN)


def _name(fall: str, rise: str, bump: str) -> str:
    if fall == PRESENT and rise == PRESENT:
        return U_SHAPED
    if fall == PRESENT and rise == ABSENT:
        return FALLING
    if rise == PRESENT and fall == ABSENT:
        return RISING
    if fall == ABSENT and rise == ABSENT:
        return {PRESENT: HUMPED, ABSENT: FLAT}.get(bump, UNDECIDED)
    return UNDECIDED


def _by_means(means: Float[np.ndarray, " betas"], smallest: float) -> str:
    falls = means[0] - means.min() >= smallest
    rises = means[-1] - means.min() >= smallest
    bumps = means.max() - max(means[0], means[-1]) >= smallest
    if falls and rises:
        return U_SHAPED
    if falls or rises:
        return FALLING if falls else RISING
    return HUMPED if bumps else FLAT


def shapes(
    table: pd.DataFrame | Sequence[Replicates], *, smallest_effect_nats: float = SMALLEST_EFFECT_NATS
) -> pd.DataFrame:
    """The shape over beta of every criterion that was measured.

    Returns:
        One row per setting, population and criterion: the setting's columns, `population criterion n_betas
        n_seeds`; `shape` (`U-shaped falling rising flat humped undecided`, read from the largest beta to the
        smallest; undecided with fewer than three seeds); `shape_of_means`, what the means look like without
        asking how sure that is; `fall_nats fall_low fall_high` from the largest beta down to the best smaller
        one and `rise_nats rise_low rise_high` from the best beta up to the smallest one; `min_nats` and
        `min_beta`, the lowest mean and where it is.
    """
    settings = replicates(table)
    rows = []
    for population in POPULATIONS:
        for criterion in CRITERIA:
            measured = [one for one in settings if one.measured(population, criterion)]
            curves = [(one.betas, one.cells(population, criterion)) for one in measured]
            for setting, found in zip(measured, shapes_of(curves, smallest_effect_nats), strict=True):
                betas, values = setting.betas, setting.of(population, criterion)
                there = np.isfinite(values).any(axis=0)
                means = np.nanmean(values[:, there], axis=0)
                row = {**setting.setting, "population": population, "criterion": criterion}
                row |= {"n_betas": int(there.sum()), "n_seeds": int(np.isfinite(values).any(axis=1).sum())}
                row |= {"shape": found.name, "shape_of_means": found.of_means}
                for name, change in (("fall", found.fall), ("rise", found.rise)):
                    row |= {f"{name}_nats": change.nats, f"{name}_low": change.low, f"{name}_high": change.high}
                row |= {"min_nats": float(means.min()), "min_beta": float(betas[there][np.argmin(means)])}
                rows.append(row)
    columns = [*SETTING, "population", "criterion", "n_betas", "n_seeds", "shape", "shape_of_means"]
    columns += [f"{part}_{end}" for part in ("fall", "rise") for end in ("nats", "low", "high")]
    frame = pd.DataFrame(rows, columns=[*columns, "min_nats", "min_beta"])
    return frame.sort_values([*SETTING], kind="stable", ignore_index=True)

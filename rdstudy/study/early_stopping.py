"""Limits on what a cell may measure on its way: one that is above its limit is stopped early. Pure.

A limit is made where cells are chosen (`search/stopping.py`), travels with the pack, and is held against what was
measured where the pack trains (`pack_run.py`); a search that is replayed holds it against the table.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple

NAMES = {"test_distortion": "distortion", "test_elbo": "-ELBO"}
"""What may have a limit, for it is measured at every evaluation step, and its name in words."""


class Measured(NamedTuple):
    """Values of one population at one step, nats per example; null where it was not measured."""

    distortion: float | None
    elbo: float | None

    def criterion(self, of: str) -> float | None:
        """The value that is to become small; null where it was not measured or is not finite.

        Args:
            of: one of `NAMES`.
        """
        value = self.distortion if of == "test_distortion" else self.elbo
        if value is None or not math.isfinite(value):
            return None
        return value if of == "test_distortion" else -value


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that a cell may have at one step, nats per example, and from how many cells it was found."""

    of: str
    nats: float
    cells: int

    def exceeded(self, tested: Measured) -> bool:
        """Whether a value is there, and above."""
        value = tested.criterion(self.of)
        return value is not None and value > self.nats

    def reason(self, tested: Measured, step: int, steps: int, population: str) -> str:
        """Why a cell was stopped, in words."""
        measure = f"{population} {NAMES[self.of]}"
        return (
            f"stopped at step {step:,} of {steps:,}: {measure} {tested.criterion(self.of):.1f} nats, "
            f"above {self.nats:.1f}, halfway between the best and the worst of {self.cells} cells there"
        )


Limits = Mapping[int, Limit]
"""A cell's limits, by step; there is none at its last."""
Course = Mapping[int, Measured]
"""What a cell gave, by step, its last one left out."""


def first_above(course: Course, limits: Limits) -> int | None:
    """The first step at which a cell is above its limit; None if it never is."""
    return next((step for step in sorted(course) if step in limits and limits[step].exceeded(course[step])), None)


def to_json(limits: Mapping[str, Limits]) -> str:
    """Limits by cell id, as text that `from_json` reads to the same bits."""
    return json.dumps({cell: {step: asdict(limit) for step, limit in mine.items()} for cell, mine in limits.items()})


def from_json(text: str) -> dict[str, Limits]:
    """Limits by cell id."""
    return {
        cell: {int(step): Limit(**limit) for step, limit in mine.items()} for cell, mine in json.loads(text).items()
    }

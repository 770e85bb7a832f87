"""Outcomes of cells for a search: final values, and the learning curve.

A search chooses on the validation examples where a cell has some, else on the test set.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd

from rdstudy.storage.schema import OK, POPULATIONS, STOPPED, TEST, TRAIN, VALIDATION
from rdstudy.study import SearchSpec
from rdstudy.study.early_stopping import Course, Measured


class Final(NamedTuple):
    """Final values of a cell on one population, nats; None if not measured."""

    distortion: float | None
    elbo: float | None
    nll: float | None

    def criterion(self, spec: SearchSpec) -> float | None:
        """The search's metric: smaller is better."""
        if spec.metric == "test_nll":
            return self.nll
        if spec.metric == "test_elbo":
            return None if self.elbo is None else -self.elbo
        return self.distortion


@dataclass(frozen=True, slots=True)
class Outcome:
    """Final values of a cell in nats, None if not measured: of the examples on which a beta is chosen.

    Attributes:
        test: the values of the test set, on which the beta is judged.
        chosen_on: `validation` or `test`.
        mi_share: mutual information over its ceiling.
        failed: whether the cell failed or diverged, so that it has no values.
        course: values by step, before the last step.
        stopped: whether the cell was stopped early, at the last step of `course`.
    """

    rate: float | None = None
    distortion: float | None = None
    elbo: float | None = None
    nll: float | None = None
    mi_share: float | None = None
    failed: bool = False
    course: Course = field(default_factory=dict)
    stopped: bool = False
    test: Final | None = None
    chosen_on: str = TEST

    def criterion(self, spec: SearchSpec) -> float | None:
        """The value that the search's goal is about: smaller is better, or for saturation the share of I's ceiling.

        For a stopped cell it is the last value measured, an upper bound in practice: more training would lower it.
        """
        if self.failed:
            return None
        if self.stopped:
            return self.course[max(self.course)].criterion(spec.metric)
        if spec.goal == "saturation":
            return self.mi_share
        return Final(self.distortion, self.elbo, self.nll).criterion(spec)

    def judged(self, spec: SearchSpec) -> float | None:
        """The metric on the test set; None where the search is about none, or it was not measured."""
        return None if self.test is None or spec.goal != "best_beta" else self.test.criterion(spec)


COLUMNS = (
    *("cell_id", "step", "population", "is_final", "status", "finished_at"),
    *("rate_nats", "distortion_nats", "elbo_nats", "nll_nats", "mi_nats", "mi_ceiling_nats"),
)


def outcomes(table: pd.DataFrame) -> dict[str, Outcome]:
    """Outcome of every cell with final rows in a table that has `COLUMNS`."""
    final = table[table["is_final"].astype(bool)].sort_values("finished_at", kind="stable")
    found: dict[str, Outcome] = {}
    by_population = {
        name: final[final["population"] == name].drop_duplicates("cell_id", keep="last") for name in POPULATIONS
    }
    test, validation = by_population[TEST], by_population[VALIDATION]
    shares = _shares(by_population[TRAIN])
    test_shares = _shares(test)
    validated = set(validation["cell_id"])
    courses = _courses(table, validated)
    tested = {str(row["cell_id"]): _final(row) for row in test.to_dict("records")}
    choosing = pd.concat([test[~test["cell_id"].isin(validated)], validation])
    for row in choosing.to_dict("records"):
        cell = str(row["cell_id"])
        if row["status"] == STOPPED:
            found[cell] = Outcome(course=courses[cell], stopped=True)
            continue
        if row["status"] != OK:
            found[cell] = Outcome(failed=True, course=courses.get(cell, {}))
            continue
        found[cell] = Outcome(
            **_final(row)._asdict(),
            rate=_number(row["rate_nats"]),
            mi_share=test_shares[cell] if shares.get(cell) is None else shares[cell],
            course=courses.get(cell, {}),
            test=tested[cell],
            chosen_on=row["population"],
        )
    return found


def _final(row: dict[Hashable, object]) -> Final:
    return Final(*(_number(row[name]) for name in ("distortion_nats", "elbo_nats", "nll_nats")))


def _courses(table: pd.DataFrame, validated: set[str]) -> dict[str, dict[int, Measured]]:
    """Values before the last step, by cell and step, of the examples on which a beta is chosen."""
    choosing = table["population"] == np.where(table["cell_id"].isin(validated), VALIDATION, TEST)
    on_the_way = ~table["is_final"].astype(bool) & choosing & table["status"].isin([OK, STOPPED])
    rows = table.loc[on_the_way, ["cell_id", "step", "distortion_nats", "elbo_nats"]]
    found: dict[str, dict[int, Measured]] = {}
    for cell, step, distortion, elbo in rows.itertuples(index=False):
        found.setdefault(str(cell), {})[int(step)] = Measured(_number(distortion), _number(elbo))
    return found


def _shares(rows: pd.DataFrame) -> Mapping[str, float | None]:
    """Mutual information over its ceiling, by cell."""
    return {
        str(cell): _number(value)
        for cell, value in zip(rows["cell_id"], rows["mi_nats"] / rows["mi_ceiling_nats"], strict=True)
    }


def _number(value: object) -> float | None:
    return None if value is None or pd.isna(value) else float(value)  # type: ignore[arg-type, call-overload]

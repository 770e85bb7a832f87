"""Outcomes of cells for a search: final values, and the learning curve on the test set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from rdstudy.storage.schema import OK, STOPPED, TEST, TRAIN
from rdstudy.study import SearchSpec
from rdstudy.study.early_stopping import Course, Measured


@dataclass(frozen=True, slots=True)
class Outcome:
    """Final values of a cell in nats, None if not measured.

    Attributes:
        mi_share: mutual information over its ceiling.
        failed: whether the cell failed or diverged, so that it has no values.
        course: test values by step, before the last step.
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
        if spec.metric == "test_nll":
            return self.nll
        if spec.metric == "test_elbo":
            return None if self.elbo is None else -self.elbo
        return self.distortion


COLUMNS = (
    *("cell_id", "step", "population", "is_final", "status", "finished_at"),
    *("rate_nats", "distortion_nats", "elbo_nats", "nll_nats", "mi_nats", "mi_ceiling_nats"),
)


def outcomes(table: pd.DataFrame) -> dict[str, Outcome]:
    """Outcome of every cell with final rows in a table that has `COLUMNS`."""
    final = table[table["is_final"].astype(bool)].sort_values("finished_at", kind="stable")
    found: dict[str, Outcome] = {}
    train, test = (final[final["population"] == name].drop_duplicates("cell_id", keep="last") for name in (TRAIN, TEST))
    shares = _shares(train)
    test_shares = _shares(test)
    courses = _courses(table)
    for row in test.to_dict("records"):
        cell = str(row["cell_id"])
        if row["status"] == STOPPED:
            found[cell] = Outcome(course=courses[cell], stopped=True)
            continue
        if row["status"] != OK:
            found[cell] = Outcome(failed=True, course=courses.get(cell, {}))
            continue
        found[cell] = Outcome(
            rate=_number(row["rate_nats"]),
            distortion=_number(row["distortion_nats"]),
            elbo=_number(row["elbo_nats"]),
            nll=_number(row["nll_nats"]),
            mi_share=test_shares[cell] if shares.get(cell) is None else shares[cell],
            course=courses.get(cell, {}),
        )
    return found


def _courses(table: pd.DataFrame) -> dict[str, dict[int, Measured]]:
    """Test values before the last step, by cell and step."""
    on_the_way = ~table["is_final"].astype(bool) & (table["population"] == TEST) & table["status"].isin([OK, STOPPED])
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

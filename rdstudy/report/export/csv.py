"""cells.csv, a row per cell, and curves.csv, a row per cell, step and value."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from rdstudy.report.export.runs import Run


def write_csv(runs: Sequence[Run], folder: Path, target: Path, study: str) -> None:
    """Write both files into `folder`; what was not measured is an empty field."""
    cells = [
        {"study": study, "cell_id": run.cell_id, "status": run.status, "message": run.message}
        | dict(run.settings)
        | {name.replace("/", "_"): value for name, value in run.final.items()}
        for run in runs
    ]
    curves = [
        {"cell_id": run.cell_id, "step": point.step, "population": population, "name": name, "value": point.value}
        for run in runs
        for point in run.points
        for population, _, name in [point.name.partition("/")]
    ]
    pd.DataFrame(cells).to_csv(folder / "cells.csv", index=False)
    columns = ["cell_id", "step", "population", "name", "value"]
    pd.DataFrame(curves, columns=columns).to_csv(folder / "curves.csv", index=False)

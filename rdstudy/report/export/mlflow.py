"""An MLflow tracking store in a folder (SQLite): an experiment per study, a run per cell."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from rdstudy.errors import UserError
from rdstudy.report.export.runs import Run
from rdstudy.storage.schema import FAILED, STOPPED

MAX_AT_ONCE = 1000
"""Values that MLflow takes in one request."""


def check_installed() -> None:
    """Refuse where something that MLflow's SQLite store needs is missing.

    Raises:
        UserError: names what is missing, and the command that installs it.
    """
    missing = [name for name in ("mlflow", "sqlalchemy", "alembic") if find_spec(name) is None]
    if missing:
        raise UserError(f"--to mlflow needs {', '.join(missing)}: pip install 'rdstudy[mlflow]'")


def write_mlflow(runs: Sequence[Run], folder: Path, target: Path, study: str) -> None:
    """Write mlflow.db into `folder`, which will be called `target`."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nobody was asked
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.create_experiment(study, artifact_location=(target / "artifacts").as_uri())
    for run in runs:
        started = round(min((point.seconds for point in run.points), default=0.0) * 1000)
        ended = round(max((point.seconds for point in run.points), default=0.0) * 1000)
        tags = {"rdstudy.cell_id": run.cell_id, "rdstudy.status": run.status}
        if run.message:
            tags["rdstudy.message"] = run.message
        made = client.create_run(experiment, start_time=started, tags=tags, run_name=run.label)
        params = [Param(name, str(value)) for name, value in run.settings.items() if value is not None]
        client.log_batch(made.info.run_id, params=params)
        for first in range(0, len(run.points), MAX_AT_ONCE):
            points = run.points[first : first + MAX_AT_ONCE]
            metrics = [Metric(p.name, p.value, round(p.seconds * 1000), p.step) for p in points]
            client.log_batch(made.info.run_id, metrics=metrics)
        status = {FAILED: "FAILED", STOPPED: "KILLED"}.get(run.status, "FINISHED")
        client.set_terminated(made.info.run_id, status, end_time=ended)

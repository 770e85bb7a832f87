"""`export`: a study's cells as CSV, TensorBoard events or an MLflow store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rdstudy.cli.completion import export_targets
from rdstudy.cli.json_output import as_json, print_document
from rdstudy.cli.options import ResultsPlace
from rdstudy.cli.terminal import console_for


def export(
    results: ResultsPlace,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder for the files.", show_default=False)],
    target: Annotated[
        str,
        typer.Option("--format", help="tensorboard, mlflow or csv.", show_default=False, autocompletion=export_targets),
    ],
    json_wanted: Annotated[bool, as_json("study, results, format, folder, cells")] = False,
) -> None:
    """Write learning curves, final values and settings as CSV, for TensorBoard or for MLflow; one run per cell."""
    from rdstudy.execution.status import study_status
    from rdstudy.report import export as exporting
    from rdstudy.storage.study_record import recorded_study

    study = recorded_study(results)
    n = exporting.export(study_status(study, results).cells, results, study=study.name, to=target, folder=folder)
    if json_wanted:
        print_document({"study": study.name, "results": results, "format": target, "folder": folder, "cells": n})
        return
    console = console_for()
    console.print(f"{folder}: {n} cells of {study.name}, as {target}", soft_wrap=True)
    look = {
        "tensorboard": f"pip install tensorboard && tensorboard --logdir {folder}",
        "mlflow": f"mlflow ui --backend-store-uri sqlite:///{folder / 'mlflow.db'}",
        "csv": f"head {folder / 'cells.csv'}",
    }
    console.print(f"next: {look[target]}", soft_wrap=True)

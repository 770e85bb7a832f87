"""A study's cells for other tools: learning curves, final values and settings, in the form that each tool reads.

    table -> runs, one per cell -> CSV, TensorBoard's event files or an MLflow store

The table stays the truth; what is written here can be made again.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rdstudy.data.files import TEMPORARY_PREFIX
from rdstudy.errors import UserError
from rdstudy.report.export.runs import Run, runs_of
from rdstudy.storage.files import translate_errors
from rdstudy.storage.paths import StoragePath
from rdstudy.study import Cell

TARGETS = ("tensorboard", "mlflow", "csv")


def export(planned: Mapping[str, Cell], results: StoragePath, *, study: str, to: str, folder: Path) -> int:
    """Write every cell that is in the table into a new folder, which appears whole or not at all.

    Args:
        planned: the study's cells by id.
        results: its results.
        study: its name.
        to: one of `TARGETS`.
        folder: must not be there yet, or be empty.

    Returns:
        The number of cells.

    Raises:
        UserError: there is nothing to write, the folder is in use, or what writes for that tool is not installed.
    """
    if to not in TARGETS:
        raise UserError(f"--format {to}: expected {', '.join(TARGETS)}")
    write = _writer(to)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there already and is not an empty folder; remove it, or give another")
    runs = runs_of(planned, results)
    if not runs:
        raise UserError(f"{results}: no cell is in the table yet; there is nothing to export")
    aside = folder.absolute().parent / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    with translate_errors(folder, "writing"):
        try:
            aside.mkdir(parents=True)
            write(runs, aside, folder.absolute(), study)
            if folder.exists():
                folder.rmdir()
            aside.rename(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return len(runs)


def _writer(to: str) -> Callable[[Sequence[Run], Path, Path, str], None]:
    if to == "csv":
        from rdstudy.report.export.csv import write_csv

        return write_csv
    if to == "tensorboard":
        from rdstudy.report.export.tensorboard import write_tensorboard

        return write_tensorboard
    from rdstudy.report.export.mlflow import check_installed, write_mlflow

    check_installed()
    return write_mlflow

"""Shell completion: quick, and without error messages."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from rdstudy.errors import UserError

MAX_OFFERED = 200


def results_folders(incomplete: str) -> list[str]:
    """Results folders, and folders that may contain one."""
    offered = []
    usual = Path(os.environ.get("RDSTUDY_RESULTS") or "results")
    for folder in (Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent, usual):
        try:
            inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        except OSError:
            continue
        offered += [str(path) + ("" if (path / "study.json").exists() else "/") for path in inside]
    wanted = incomplete.removeprefix("./")
    return list(dict.fromkeys(name for name in offered if name.startswith(wanted)))[:MAX_OFFERED]


def study_names(incomplete: str) -> list[tuple[str, str]]:
    """The example studies, each with its first sentence."""
    from rdstudy.study.examples import packaged_studies, summary

    return [(name, summary(path)) for name, path in packaged_studies().items() if name.startswith(incomplete)]


def dataset_names(incomplete: str) -> list[str]:
    """The data sets."""
    from rdstudy.data.split_spec import SPLITS

    return [name for name in SPLITS if name.startswith(incomplete)]


def export_targets(incomplete: str) -> list[str]:
    """The formats of `export`."""
    return [name for name in ("tensorboard", "mlflow", "csv") if name.startswith(incomplete)]


def cell_ids(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Ids of the cells in the results folder given before, each with its settings."""
    from rdstudy.storage.parts import read_parts
    from rdstudy.storage.study_record import recorded_study

    results = ctx.params.get("results")
    if results is None:
        return []
    try:
        study = recorded_study(results)
        if study.search is None:
            known = {cell_id: str(cell) for cell_id, cell in study.cells.items()}
        else:
            ids = read_parts(results / "measurements", ["cell_id"])["cell_id"].unique().to_pylist()
            known = dict.fromkeys(ids, "")
    except (UserError, OSError):
        return []
    return [(i, text) for i, text in known.items() if i.startswith(incomplete)][:MAX_OFFERED]

"""`studies`, `data`, `schema` and `columns`: what there is to begin with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from rdstudy.cli.options import Settings, StudyFile
from rdstudy.cli.telling import console_for


def data(study_file: StudyFile, settings: Settings = None) -> None:
    """Make or find a study's data set, and say what is in it."""
    from rdstudy.data.splits import split_dataset
    from rdstudy.preparation import check_sizes, load_data
    from rdstudy.study import load_study

    study = load_study(study_file, overrides=settings or ())
    dataset = load_data(study)
    check_sizes(study, dataset)
    console = console_for()
    height, width, channels = dataset.shape
    console.print(f"{dataset.name}: {dataset.n_examples:,} images of {height}x{width}x{channels}")
    for name in study.grid.split:
        split = split_dataset(dataset, name, seed=study.dataset.seed, test_size=study.dataset.test_size)
        console.print(f"split {name}: up to {len(split.train):,} for training, {len(split.test):,} for test")
    console.print(f"fingerprint {dataset.fingerprint}", soft_wrap=True)


def studies_list() -> None:
    """List the packaged studies."""
    from rdstudy.library import packaged_studies, summary

    table = Table(box=None, show_header=False, pad_edge=False)
    for name, path in packaged_studies().items():
        table.add_row(name, summary(path))
    console_for().print(table)


def studies_copy(
    name: Annotated[str, typer.Argument(help="One of those that `rdstudy studies list` names.", show_default=False)],
    to: Annotated[Path, typer.Option(help="Folder to copy it into.")] = Path("studies"),
) -> None:
    """Copy a packaged study out, to change it."""
    from rdstudy.library import copy_study

    print(copy_study(name, to))


def schema() -> None:
    """Print the JSON Schema of study files, for editors."""
    from rdstudy.study import study_schema

    print(json.dumps(study_schema(), indent=2))


def columns() -> None:
    """Print what the table's columns mean, as Markdown."""
    from rdstudy.measurement import columns_markdown

    print(columns_markdown(), end="")

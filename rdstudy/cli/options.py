"""Arguments and options that several commands take."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdstudy.cli.completion import results_folders

if TYPE_CHECKING:
    from rdstudy.storage.location import StoragePath
    from rdstudy.study import Study


def place(text: str) -> StoragePath:
    from rdstudy.storage.location import location

    return location(text)


def usual_place(study: Study) -> StoragePath:
    """Where a study's results go if nothing else is said: below RDSTUDY_RESULTS, or the folder `results`."""
    return place(os.environ.get("RDSTUDY_RESULTS") or "results") / study.name


StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study file (YAML).", show_default=False)]
ResultsPlace = Annotated[
    Any,
    typer.Argument(
        metavar="RESULTS",
        help="A results folder, or s3://BUCKET/NAME.",
        show_default=False,
        parser=place,
        autocompletion=results_folders,
    ),
]
ResultsOption = Annotated[
    Any,
    typer.Option(
        "--results",
        metavar="DIR",
        help="Where results go, instead of NAME in the folder results, or in what RDSTUDY_RESULTS says; a folder, "
        "s3://BUCKET/NAME or gs://BUCKET/NAME.",
        parser=place,
        autocompletion=results_folders,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace a setting, e.g. --set 'grid.beta=[1,0.1]'. Repeatable."),
]
Address = Annotated[
    str | None,
    typer.Option(help="A Ray cluster: auto or HOST:PORT. Else RAY_ADDRESS, else Ray on this machine."),
]
MaxHours = Annotated[float | None, typer.Option(help="Stop after so many hours; the same command goes on.")]
MaxCost = Annotated[float | None, typer.Option(help="Stop when the machines have cost so much; needs --price.")]
Price = Annotated[float | None, typer.Option(help="What one machine costs an hour, in the currency of --max-cost.")]
Inline = Annotated[bool, typer.Option("--inline", help="Work in this process, one pack after the other, without Ray.")]


def _allow_plugins(allowed: bool) -> bool:
    from rdstudy.study.registry import allow_plugins

    allow_plugins(allowed)
    return allowed


AllowPlugins = Annotated[
    bool,
    typer.Option(
        "--allow-plugins",
        help="Import the classes that the study names as my_package.module:Class: this runs their code.",
        callback=_allow_plugins,
        is_eager=True,
    ),
]
Examples = Annotated[
    str | None, typer.Option(metavar="M|all", help="Population of q(z): all examples, or M, with ceiling log M.")
]
ImportanceExamples = Annotated[
    str | None, typer.Option(metavar="M|all", help="Examples per population that are importance-sampled.")
]

"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdstudy.cli.completion import results_folders
from rdstudy.errors import UserError

if TYPE_CHECKING:
    from rdstudy.storage.paths import StoragePath


def place(text: str) -> StoragePath:
    from rdstudy.storage.paths import storage_path

    try:
        return storage_path(text)
    except UserError as error:
        raise typer.BadParameter(str(error)) from None


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
        help="Where results go: a folder, s3://BUCKET/NAME or gs://BUCKET/NAME. Default: NAME in RDSTUDY_RESULTS, or "
        "in the folder results.",
        parser=place,
        autocompletion=results_folders,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace a setting, e.g. --set 'grid.beta=[1,0.1]'. Repeatable."),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="Only cells with this setting, e.g. --where depth=3 --where 'beta<=0.1'. Repeating a key with = "
        "allows either value.",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(help="A Ray cluster: auto or HOST:PORT. Default: RAY_ADDRESS, or Ray on this machine."),
]
MaxHours = Annotated[float | None, typer.Option(help="Stop after this many hours; the same command resumes.")]
MaxCost = Annotated[float | None, typer.Option(help="Stop when the machines have cost this much; needs --price.")]
Price = Annotated[float | None, typer.Option(help="Price of one machine per hour, in the currency of --max-cost.")]
UseRay = Annotated[
    bool, typer.Option("--ray/--no-ray", help="Train on Ray; or in this process, one pack after the other.")
]
ChooseRay = Annotated[
    bool | None,
    typer.Option(
        "--ray/--no-ray",
        help="Train on Ray; or in this process, one pack after the other. Default: on Ray where that saves more time "
        "than Ray takes to start, and on a cluster.",
        show_default=False,
    ),
]


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

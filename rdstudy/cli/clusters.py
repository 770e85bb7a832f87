"""`submit` and `doctor`: run a study on a cluster, and check a machine or cluster file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from rdstudy.cli.json_output import as_json, print_document
from rdstudy.cli.options import MaxCost, MaxHours, Price, ResultsOption, Settings, StudyFile, place
from rdstudy.cli.terminal import console_for
from rdstudy.errors import Findings, UserError


def submit(
    cluster_file: Annotated[Path, typer.Argument(metavar="CLUSTER.yaml", help="The file that `ray up` was given.")],
    study_file: StudyFile,
    settings: Settings = None,
    max_hours: MaxHours = None,
    max_cost: MaxCost = None,
    price: Price = None,
) -> None:
    """Submit a study to a cluster as a Ray job; this machine may then be switched off."""
    from rdstudy.execution.budget import Budget
    from rdstudy.execution.ray_tune import submit as submission
    from rdstudy.study import load_study

    study = load_study(study_file, overrides=settings or ())
    Budget(max_hours, max_cost, price)  # so that invalid limits are refused here
    limits = {"--max-hours": max_hours, "--max-cost": max_cost, "--price": price}
    options = [word for setting in settings or () for word in ("--set", setting)]
    options += [word for name, value in limits.items() if value is not None for word in (name, str(value))]
    said = submission.submit(cluster_file, study_file, study, options)
    console = console_for()
    console.print(Text(said.strip()), soft_wrap=True)
    console.print(
        f"{study.name}: submitted to {cluster_file}. To see its progress, give `rdstudy status` the results location "
        "that RDSTUDY_RESULTS sets there",
        soft_wrap=True,
    )


def doctor(
    cluster_file: Annotated[
        Path | None, typer.Argument(metavar="[CLUSTER.yaml]", help="A cluster file for `ray up`.", show_default=False)
    ] = None,
    results: ResultsOption = None,
    device: Annotated[str, typer.Option(help="Device to train on here: auto, cpu, cuda or mps.")] = "auto",
    json_wanted: Annotated[bool, as_json("target, results, faults (messages; empty if there are none)")] = False,
) -> None:
    """Check whether a study can run here, or on a cluster: list each fault and its fix. Starts nothing."""
    from rdstudy.execution.ray_tune.doctor import diagnose

    if device not in ("auto", "cpu", "cuda", "mps"):
        raise UserError(f"--device: expected auto, cpu, cuda or mps; found {device!r}")
    where = results or place(os.environ.get("RDSTUDY_RESULTS") or "results")
    found = diagnose(cluster_file, where, device)
    what = str(cluster_file or "this machine")
    if json_wanted:
        print_document({"target": what, "results": where, "faults": found})
    if found:
        raise Findings("\n  ".join([f"{what}: {len(found)} to fix:", *found]))
    if not json_wanted:
        console_for().print(f"{what}: no faults found; results can be written to {where}", soft_wrap=True)

"""`submit` and `doctor`: a study on other machines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from rdstudy.cli.json_output import as_json, print_document
from rdstudy.cli.options import MaxCost, MaxHours, Price, ResultsOption, Settings, StudyFile, place
from rdstudy.cli.terminal import console_for
from rdstudy.errors import UserError


def submit(
    cluster_file: Annotated[Path, typer.Argument(metavar="CLUSTER.yaml", help="The file the cluster was made from.")],
    study_file: StudyFile,
    settings: Settings = None,
    max_hours: MaxHours = None,
    max_cost: MaxCost = None,
    price: Price = None,
) -> None:
    """Hand a study over to a cluster, where it runs as a job of Ray's; this machine may then be switched off."""
    from rdstudy.execution.budget import Budget
    from rdstudy.execution.ray_tune import submit as submission
    from rdstudy.study import load_study

    study = load_study(study_file, overrides=settings or ())
    Budget(max_hours, max_cost, price)  # refused here, not there
    limits = {"--max-hours": max_hours, "--max-cost": max_cost, "--price": price}
    options = [word for setting in settings or () for word in ("--set", setting)]
    options += [word for name, value in limits.items() if value is not None for word in (name, str(value))]
    said = submission.submit(cluster_file, study_file, study, options)
    console = console_for()
    console.print(Text(said.strip()), soft_wrap=True)
    console.print(
        f"{study.name}: handed over to {cluster_file}; `rdstudy status` with the results location that its "
        "RDSTUDY_RESULTS names says how far it is",
        soft_wrap=True,
    )


def doctor(
    cluster_file: Annotated[
        Path | None, typer.Argument(metavar="[CLUSTER.yaml]", help="A cluster file for `ray up`.", show_default=False)
    ] = None,
    results: ResultsOption = None,
    device: Annotated[str, typer.Option(help="What packs are to train on here: auto, cpu, cuda or mps.")] = "auto",
    json_wanted: Annotated[bool, as_json("target, results, faults (in words; none is good)")] = False,
) -> None:
    """Say what would keep a study from running, here or on a cluster: each fault and its mend. Starts nothing."""
    from rdstudy.execution.ray_tune.doctor import diagnose

    if device not in ("auto", "cpu", "cuda", "mps"):
        raise UserError(f"--device: expected auto, cpu, cuda or mps; found {device!r}")
    where = results or place(os.environ.get("RDSTUDY_RESULTS") or "results")
    found = diagnose(cluster_file, where, device)
    what = str(cluster_file or "this machine")
    if json_wanted:
        print_document({"target": what, "results": where, "faults": found})
    if found:
        raise UserError("\n  ".join([f"{what}: {len(found)} to mend:", *found]))
    if not json_wanted:
        console_for().print(f"{what}: nothing to mend; results can be written to {where}", soft_wrap=True)

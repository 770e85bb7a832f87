"""`run`: train and measure a study's missing cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from rdstudy.cli.exit_codes import FAILED
from rdstudy.cli.json_output import STATUS_FIELDS, as_json, print_document, search_document, status_document
from rdstudy.cli.messages import print_failures, print_next, print_search, print_status, print_stopped
from rdstudy.cli.options import (
    Address,
    AllowPlugins,
    ChooseRay,
    MaxCost,
    MaxHours,
    Price,
    ResultsOption,
    Settings,
    StudyFile,
)
from rdstudy.cli.terminal import console_for

if TYPE_CHECKING:
    from rdstudy.execution.run import RunResult


def run(
    study_file: StudyFile,
    results: ResultsOption = None,
    settings: Settings = None,
    allow_plugins: AllowPlugins = False,
    address: Address = None,
    ray: ChooseRay = None,
    max_hours: MaxHours = None,
    max_cost: MaxCost = None,
    price: Price = None,
    json_wanted: Annotated[bool, as_json(f"{STATUS_FIELDS}, diverged (messages by cell_id), stopped, search")] = False,
) -> None:
    """Train and measure every cell that is not finished. After an interruption the same command resumes."""
    from rdstudy.cli.listeners import TerminalListener
    from rdstudy.execution.budget import Budget
    from rdstudy.execution.run import run_study
    from rdstudy.storage.files import StorageError
    from rdstudy.storage.paths import default_results
    from rdstudy.study import load_study, located

    study = load_study(study_file, overrides=settings or ())
    budget = Budget.of(study, max_hours, max_cost, price)
    folder = results or default_results(study.name)
    console = console_for(stderr=json_wanted)
    display = TerminalListener(study, folder, console, address=address)
    try:
        with located(study_file, settings or ()):
            result = run_study(study, folder, ray=ray, address=address, budget=budget, listener=display)
    except StorageError as error:
        if not display.started:
            raise
        print_stopped(error)
        raise typer.Exit(FAILED) from error
    if json_wanted:
        print_document(_document(result))
    else:
        _print_result(console, result, began=display.started)
    if not result.complete:
        raise typer.Exit(FAILED)


def _document(result: RunResult) -> dict[str, object]:
    status = result.status
    return status_document(result.study, result.results, status) | {
        "diverged": status.diverged,
        "stopped": result.limit,
        "search": search_document(status),
    }


def _print_result(console: Console, result: RunResult, *, began: bool) -> None:
    study, folder, status = result.study, result.results, result.status
    if not began:
        stopped = f" or stopped early ({len(status.stopped)})" if status.stopped else ""
        console.print(f"{study.name}: all {len(status.cells)} cells are finished{stopped}; nothing to train")
        print_search(console, status)
        print_next(console, folder)
        return
    if result.limit:
        console.print(f"stopped: {result.limit}. To resume, run the same command again.")
    print_status(console, study, folder, status)
    print_search(console, status)
    print_failures(console, status)
    for cell_id, message in status.diverged.items():
        console.print(f"diverged: {cell_id} ({status.cells[cell_id]}): {message}", soft_wrap=True)
    if status.finished:
        print_next(console, folder)

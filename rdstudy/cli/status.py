"""`status`: how many cells of a study are finished, and which run is active."""

from __future__ import annotations

from typing import Annotated

import typer

from rdstudy.cli.exit_codes import FAILED
from rdstudy.cli.json_output import STATUS_FIELDS, as_json, print_document, search_document, status_document
from rdstudy.cli.messages import print_active_run, print_failures, print_search, print_status
from rdstudy.cli.options import ResultsPlace
from rdstudy.cli.terminal import Rows, console_for


def status(
    results: ResultsPlace,
    json_wanted: Annotated[
        bool,
        as_json(
            f"{STATUS_FIELDS}, unfinished_packs (of, models, step, steps), search, active_run (host, pid, user, since)"
        ),
    ] = False,
) -> None:
    """Show which cells are finished, failed or missing, from the results folder alone; also during a run."""
    from rdstudy.execution.status import study_status
    from rdstudy.storage import holder
    from rdstudy.storage.checkpoints import Checkpoints
    from rdstudy.storage.study_record import recorded_study

    study = recorded_study(results)
    active_run = holder(results)
    now = study_status(study, results)
    ended = now.finished | now.stopped.keys()
    resumable = [(members, step) for members, step in Checkpoints(results).progress() if set(members) - ended]
    unfinished = [(now.cells[members[0]], len(members), step) for members, step in resumable if members[0] in now.cells]
    if json_wanted:
        packs = [{"of": str(cell), "models": n, "step": step, "steps": cell.steps} for cell, n, step in unfinished]
        more = {"unfinished_packs": packs, "search": search_document(now), "active_run": active_run}
        print_document(status_document(study, results, now) | more)
    else:
        console = console_for()
        print_status(console, study, results, now)
        print_active_run(console, active_run, now)
        if unfinished:
            table = Rows("unfinished pack of", "models", "step", "of", left=("unfinished pack of",))
            for cell, n, step in unfinished:
                table.add(str(cell), str(n), f"{step:,}", f"{cell.steps:,}")
            console.print(table)
        print_search(console, now)
        print_failures(console, now)
    if now.failed:
        raise typer.Exit(FAILED)

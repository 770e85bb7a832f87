"""`status` and `report`: how far a study is, and what it shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rdstudy.cli.exit_codes import FAILED
from rdstudy.cli.json_output import STANDING, as_json, print_document, search_document, standing_document
from rdstudy.cli.messages import print_at_work, print_failures, print_search, print_standing
from rdstudy.cli.options import ResultsPlace
from rdstudy.cli.terminal import Rows, console_for


def status(
    results: ResultsPlace,
    json_wanted: Annotated[
        bool,
        as_json(f"{STANDING}, unfinished_packs (of, models, step, steps), search, at_work (host, pid, user, since)"),
    ] = False,
) -> None:
    """Show how far a study is, from its results folder alone; works while it runs, and from another machine."""
    from rdstudy.execution.status import recorded_study, standing
    from rdstudy.storage import holder
    from rdstudy.storage.checkpoints import Checkpoints

    study = recorded_study(results)
    at_work = holder(results)
    now = standing(study, results)
    ended = now.finished | now.stopped.keys()
    begun = [(members, step) for members, step in Checkpoints(results).progress() if set(members) - ended]
    unfinished = [(now.cells[members[0]], len(members), step) for members, step in begun if members[0] in now.cells]
    if json_wanted:
        packs = [{"of": str(cell), "models": n, "step": step, "steps": cell.steps} for cell, n, step in unfinished]
        more = {"unfinished_packs": packs, "search": search_document(now), "at_work": at_work}
        print_document(standing_document(study, results, now) | more)
    else:
        console = console_for()
        print_standing(console, study, results, now)
        print_at_work(console, at_work, now)
        if unfinished:
            table = Rows("unfinished pack of", "models", "step", "of", left=("unfinished pack of",))
            for cell, n, step in unfinished:
                table.add(str(cell), str(n), f"{step:,}", f"{cell.steps:,}")
            console.print(table)
        print_search(console, now)
        print_failures(console, now)
    if now.failed:
        raise typer.Exit(FAILED)


def report(
    results: ResultsPlace,
    formats: Annotated[str, typer.Option("--format", help="html, md, or html,md.")] = "html",
    compare: Annotated[
        Path | None, typer.Option(help="A CSV of published curves, to be drawn behind ours.", show_default=False)
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    json_wanted: Annotated[
        bool, as_json("study, results, page, files, curves (of the test set, means over seeds)")
    ] = False,
) -> None:
    """Say what a study shows: a page, its figures and the analyses behind them. Works while the study runs."""
    import dataclasses
    import webbrowser

    import pandas as pd

    from rdstudy.cli.live import curves_table
    from rdstudy.execution.status import load_study_record, recorded_study, standing
    from rdstudy.report import write_report
    from rdstudy.storage import load_measurements

    record = load_study_record(results)
    now = standing(recorded_study(results), results)
    cells, search = now.cells, None
    if now.search is not None:
        from rdstudy.execution.search import load_outcomes, summarise

        search = summarise(now.search, load_outcomes(results))
    planned = pd.DataFrame([{"cell_id": cell_id, **dataclasses.asdict(cell)} for cell_id, cell in cells.items()])
    chosen = [name.strip() for name in formats.split(",")]
    paths = write_report(
        results, load_measurements(results), record, formats=chosen, compare=compare, planned=planned, search=search
    )
    folder = paths[0].parent
    curves = pd.read_parquet(folder / "analyses" / "frontier.parquet")
    curves = curves[curves["population"] == "test"]
    if json_wanted:
        print_document(
            {"study": record["name"], "results": results, "page": paths[0], "files": paths, "curves": curves}
        )
    else:
        console = console_for()
        console.print("on the test set, nats per example, mean over seeds:")
        console.print(curves_table(curves))
        console.print(f"{paths[0]}: the page", soft_wrap=True)
        n_figures = sum(path.suffix == ".png" for path in paths)
        console.print(f"{folder / 'figures'}: {n_figures} figures, as PNG, SVG and PDF", soft_wrap=True)
        console.print(f"next: rdstudy report {results} --open", soft_wrap=True)
        console.print(f"      rdstudy measure {results} --importance-samples 1000", soft_wrap=True)
    if open_page:
        webbrowser.open(paths[0].resolve().as_uri())

"""`report`: say what a study shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rdstudy.cli.json_output import as_json, print_document
from rdstudy.cli.options import ResultsPlace
from rdstudy.cli.terminal import console_for


def report(
    results: ResultsPlace,
    other: Annotated[
        Path | None,
        typer.Argument(metavar="OTHER", help="A second results folder to compare with.", show_default=False),
    ] = None,
    formats: Annotated[str, typer.Option("--format", help="html, md, or html,md.")] = "html",
    compare: Annotated[
        Path | None,
        typer.Option(
            "--published", "--compare", help="A CSV of published curves, to be compared with ours.", show_default=False
        ),
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
    from rdstudy.execution.status import study_status
    from rdstudy.report import write_report
    from rdstudy.storage import load_measurements
    from rdstudy.storage.study_record import load_study_record, recorded_study

    record = load_study_record(results)
    if other is not None:
        from rdstudy.report.comparison import compare_folders

        written = compare_folders(results, other)
        if json_wanted:
            print_document({"study": record["name"], "results": results, "page": written[0], "files": written})
        else:
            console_for().print(f"{written[0]}: the comparison", soft_wrap=True)
        if open_page:
            webbrowser.open(written[0].resolve().as_uri())
        return
    now = study_status(recorded_study(results), results)
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

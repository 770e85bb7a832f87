"""`report`: write a study's report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rdstudy.cli.json_output import as_json, print_document
from rdstudy.cli.messages import quoted
from rdstudy.cli.options import ResultsPlace
from rdstudy.cli.terminal import console_for


def report(
    results: ResultsPlace,
    other: Annotated[
        Path | None,
        typer.Argument(metavar="OTHER", help="A second results folder to compare with.", show_default=False),
    ] = None,
    formats: Annotated[str, typer.Option("--format", help="html, md, or html,md.")] = "html",
    published: Annotated[
        Path | None, typer.Option(help="A CSV of published curves, drawn behind the study's.", show_default=False)
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    json_wanted: Annotated[
        bool, as_json("study, results, page, files, curves (of the test set, means over seeds)")
    ] = False,
) -> None:
    """Write a page with figures and the analyses behind them. Works while the study runs."""
    import webbrowser

    import pandas as pd

    from rdstudy.cli.api import write_report
    from rdstudy.cli.live import curves_table
    from rdstudy.storage.study_record import recorded_study

    name = recorded_study(results).name
    if other is not None:
        from rdstudy.report.comparison import compare_folders

        written = compare_folders(results, other)
        if json_wanted:
            print_document({"study": name, "results": results, "page": written[0], "files": written})
        else:
            console_for().print(f"{written[0]}: the comparison", soft_wrap=True)
        if open_page:
            webbrowser.open(written[0].resolve().as_uri())
        return
    paths = write_report(results, formats=formats.split(","), published=published)
    folder = paths[0].parent
    curves = pd.read_parquet(folder / "analyses" / "frontier.parquet")
    curves = curves[curves["population"] == "test"]
    if json_wanted:
        print_document({"study": name, "results": results, "page": paths[0], "files": paths, "curves": curves})
    else:
        console = console_for()
        console.print("on the test set, nats per example, mean over seeds:")
        console.print(curves_table(curves))
        console.print(f"{paths[0]}: the page", soft_wrap=True)
        n_figures = sum(path.suffix == ".png" for path in paths)
        console.print(f"{folder / 'figures'}: {n_figures} figures, as PNG, SVG and PDF", soft_wrap=True)
        console.print(f"next: rdstudy report {quoted(results)} --open", soft_wrap=True)
        console.print(f"      rdstudy remeasure {quoted(results)} --nll-examples 256", soft_wrap=True)
    if open_page:
        webbrowser.open(paths[0].resolve().as_uri())

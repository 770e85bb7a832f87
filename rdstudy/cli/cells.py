"""`ls` and `show`: list a study's cells, and show one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from rdstudy.cli.completion import cell_ids
from rdstudy.cli.json_output import as_json, print_document
from rdstudy.cli.messages import quoted
from rdstudy.cli.options import ResultsPlace, Where
from rdstudy.cli.terminal import Rows, console_for, sparkline, speaks_unicode
from rdstudy.errors import UserError
from rdstudy.study.measures import MeasuredColumn, measured_columns

if TYPE_CHECKING:
    import pandas as pd

    from rdstudy.report.cells import CellRecord

MAX_CELLS = 40
"""Cells that a list shows by default."""


def ls(
    results: ResultsPlace,
    where: Where = None,
    statuses: Annotated[
        list[str] | None,
        typer.Option(
            "--status", help="Only cells with this status: ok, diverged, failed, stopped or missing. Repeatable."
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Sort by a column, e.g. test_distortion_nats; -KEY: largest first."),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Number of cells to show.")] = MAX_CELLS,
    everything: Annotated[bool, typer.Option("--all", help="Show all cells.")] = False,
    json_wanted: Annotated[
        bool,
        as_json(
            "study, results, cells (all that match: cell_id, status, message, its settings, "
            "train_distortion_nats, test_distortion_nats, train_rate_nats, test_rate_nats)"
        ),
    ] = False,
) -> None:
    """List a study's cells: status, the settings in which they differ, final distortion and rate."""
    from rdstudy.execution.status import study_status
    from rdstudy.report.cells import FINAL, list_cells, ordered, select, varying_axes
    from rdstudy.storage.study_record import recorded_study

    study = recorded_study(results)
    cells = list_cells(study_status(study, results).cells, results)
    chosen = select(cells, where or (), statuses or ())
    if sort:
        chosen = ordered(chosen, sort)
    if json_wanted:
        print_document({"study": study.name, "results": results, "cells": chosen})
        return
    console = console_for()
    axes = varying_axes(cells)
    names = dict(zip(FINAL, ("D train", "D test", "R train", "R test"), strict=True))
    words = ("cell", "status", *(axis.replace("_", " ") for axis in axes if cells[axis].dtype.kind not in "if"))
    table = Rows("cell", "status", *(axis.replace("_", " ") for axis in axes), *names.values(), left=words)
    shown = chosen if everything else chosen.head(limit)
    for row in shown.to_dict("records"):
        table.add(
            row["cell_id"], row["status"], *(_setting(row[axis]) for axis in axes), *(_nats(row[n]) for n in FINAL)
        )
    counts = ", ".join(f"{n} {status}" for status, n in chosen["status"].value_counts().items())
    console.print(f"{study.name}: {len(chosen)} of {len(cells)} cells{': ' + counts if counts else ''}", soft_wrap=True)
    if len(shown):
        console.print(table)
    if len(shown) < len(chosen):
        console.print(f"and {len(chosen) - len(shown)} more: --all", soft_wrap=True)
    if len(shown):
        console.print("distortion D and rate R in nats per example, at the last step", soft_wrap=True)
        console.print(f"next: rdstudy show {quoted(results)} {shown['cell_id'].iloc[0]}", soft_wrap=True)


def show(
    results: ResultsPlace,
    cell: Annotated[
        str,
        typer.Argument(
            metavar="CELL", help="A cell_id, or its first characters.", show_default=False, autocompletion=cell_ids
        ),
    ],
    png: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write its reconstructions and samples to a PNG file.", show_default=False),
    ] = None,
    json_wanted: Annotated[
        bool,
        as_json(
            "study, results, cell_id, status, message, settings, curves (step, population, distortion_nats, "
            "distortion_se, rate_nats, rate_se), final (population, evaluation_id, all measured values), provenance, "
            "sheet, weights, png"
        ),
    ] = False,
) -> None:
    """Show one cell: settings, learning curves, final values with standard errors, provenance and images."""
    from rdstudy.execution.status import study_status
    from rdstudy.report.cells import cell_record, final_values
    from rdstudy.storage.study_record import recorded_study

    study = recorded_study(results)
    record = cell_record(study_status(study, results).cells, results, cell)
    if png is not None:
        _draw(record, png)
    if json_wanted:
        final = [
            {"population": row["population"], "evaluation_id": row["evaluation_id"], **final_values(row)}
            for _, row in record.final.iterrows()
        ]
        known = {name: getattr(record, name) for name in ("cell_id", "status", "message", "settings", "curves")}
        more = {"provenance": record.provenance, "sheet": record.sheet, "weights": record.weights, "png": png}
        print_document({"study": study.name, "results": results, **known, "final": final, **more})
        return
    console = console_for()
    console.print(f"cell {record.cell_id} of {study.name}: {record.status}", soft_wrap=True)
    if record.message:
        console.print(record.message, soft_wrap=True)
    console.print(
        ", ".join(f"{k.replace('_', ' ')} {_setting(v)}" for k, v in record.settings.items() if v is not None)
    )
    _print_curves(console, record.curves)
    _print_final(console, record.final)
    _print_provenance(console, record)
    if png is not None:
        console.print(f"{png}: reconstructions and samples", soft_wrap=True)
    elif record.sheet is not None:
        console.print(f"next: rdstudy show {quoted(results)} {record.cell_id} --png cell.png", soft_wrap=True)


def _print_curves(console: Console, curves: pd.DataFrame) -> None:
    from rdstudy.storage.schema import POPULATIONS

    if curves.empty:
        return
    unicode = speaks_unicode(console)
    table = Rows("learning curve", "", "first", "last", left=("learning curve", ""))
    for value, name in (("distortion_nats", "distortion"), ("rate_nats", "rate")):
        for population in POPULATIONS:
            points = curves[curves["population"] == population].sort_values("step")
            values = [float(v) for v in points[value].astype("float64")]
            if not values:
                continue
            width = max(8, min(60, console.width - 40))
            line = sparkline(values, width=width, unicode=unicode)
            table.add(f"{name}, {population}", line, _nats(values[0]), _nats(values[-1]))
    console.print(table)
    steps = sorted(curves["step"].unique())
    console.print(f"at {len(steps)} steps from {steps[0]:,} to {steps[-1]:,}; nats per example", soft_wrap=True)


def _print_final(console: Console, final: pd.DataFrame) -> None:
    from rdstudy.storage.schema import POPULATIONS

    if not final["distortion_nats"].notna().any() and not final["mi_nats"].notna().any():
        return
    unicode = speaks_unicode(console)
    many = final["evaluation_id"].nunique() > 1
    for evaluation_id, rows in final.groupby("evaluation_id", sort=True):
        title = f"final, evaluation {evaluation_id}" if many else "final"
        by_population = {row["population"]: row for _, row in rows.iterrows()}
        there = [name for name in POPULATIONS if name in by_population]
        table = Rows(title, *there, left=(title,))
        for column in measured_columns():
            values = [_value(by_population[population], column, unicode) for population in there]
            if column.label and any(value != "-" for value in values):
                table.add(column.label, *values)
        console.print(table)


def _print_provenance(console: Console, record: CellRecord) -> None:
    made = {name: value for name, value in record.provenance.items() if value is not None and value == value}
    if not made:
        return
    words = [f"pack {made.get('pack_id', '-')}"]
    if "pack_size" in made:
        words.append(f"{made['pack_size']:.0f} models at once")
    words += [str(made[name]) for name in ("device", "host") if name in made]
    if "seconds" in made:
        from rdstudy.cli.live import duration

        words.append(duration(float(made["seconds"])))
    if "finished_at" in made:
        words.append(f"{made['finished_at']:%Y-%m-%d %H:%M} UTC")
    console.print("trained in " + ", ".join(words), soft_wrap=True)
    for what, path in (("images", record.sheet), ("weights", record.weights)):
        if path is not None:
            console.print(f"{what}: {path}", soft_wrap=True)


def _draw(record: CellRecord, png: Path) -> None:
    if png.suffix.lower() != ".png":
        raise UserError(f"--png {png}: expected a file name that ends in .png")
    if record.sheet is None:
        raise UserError(
            f"--png: cell {record.cell_id} has no stored images: it is {record.status}, or the study says "
            "evaluation.num_images: 0"
        )
    from rdstudy.report.figures import cell_grid, png_bytes
    from rdstudy.report.image_grids import read_images
    from rdstudy.storage.files import atomic_write

    sheet = read_images(record.sheet)
    if not sheet:
        raise UserError(f"{record.sheet}: is damaged, so there are no images to draw")
    drawn = png_bytes(cell_grid(sheet, title=f"beta {record.settings['beta']:g}, cell {record.cell_id}"))
    atomic_write(png, lambda file: file.write(drawn))


def _setting(value: object) -> str:
    if value is None or value != value:
        return "-"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def _nats(value: float) -> str:
    """Nats, or a dash if not measured."""
    return "-" if not math.isfinite(value) else f"{value:.1f}"


def _value(row: pd.Series, column: MeasuredColumn, unicode: bool) -> str:
    """A measured value with its standard error; of a list, a bar for each entry and the range."""
    value = row[column.name]
    if value is None or (isinstance(value, float) and value != value):
        return "-"
    if column.type == list[float]:
        entries = [float(each) for each in value]
        bars = sparkline([0.0, *entries], unicode=unicode)[1:]  # from 0
        return f"{bars} {min(entries):.2f} to {max(entries):.2f}"
    if column.type is str:
        return str(value)
    if column.type is int:
        return f"{value:.0f}"
    error = row.get(column.name.replace("_nats", "_se") if column.name.endswith("_nats") else "")
    if error is None or error != error:
        return f"{value:.2f}"
    digits = 2 if error == 0 else min(6, max(1, 1 - math.floor(math.log10(error))))  # two of the error's digits
    return f"{value:.{digits}f}{' ± ' if unicode else ' +/- '}{error:.{digits}f}"

"""The report of a study: one page with its answer, its figures and its tables.

    rdstudy report results/full

Works on a study that is not finished. Needs neither Ray nor the machine that trained; torch only for the figure of the
latents, where weights are stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from rdstudy.errors import UserError
from rdstudy.report.analyses import Analyses
from rdstudy.report.comparison import Compared, compare_folders, write_comparison
from rdstudy.report.content import content_of
from rdstudy.report.drawings import figure_specs, remove_figures, render
from rdstudy.report.html import page
from rdstudy.report.markdown import document
from rdstudy.storage.files import atomic_write
from rdstudy.storage.paths import StoragePath

if TYPE_CHECKING:
    from rdstudy.analysis.search_tables import SearchTables

FORMATS = ("html", "md")


def write_report(
    results: StoragePath,
    table: pd.DataFrame,
    study: Mapping[str, object],
    *,
    out: Path | None = None,
    formats: Sequence[str] = ("html",),
    compare: Path | None = None,
    planned: pd.DataFrame | None = None,
    search: SearchTables | None = None,
) -> list[Path]:
    """Write the page (`index.html`, `index.md`), and beside it the figures and the analyses of a study.

    Args:
        results: the study's results; the stored images of its cells are shown where there are some.
        table: what `rdstudy.load_measurements(results)` returns; the study may still be running.
        study: `study.json` as a dictionary; whatever it lacks is left out.
        out: where to write; by default `results / "report"`, or `results/NAME/report` here if the results are in a
            bucket. Files of an earlier report are replaced.
        formats: `html`, `md`, or both.
        compare: a CSV of the paper's curves, read off its figure, to be drawn behind ours.
        search: the tables of the study's search, if it has one.
        planned: the study's planned cells, one row each with `cell_id` and any of the table's columns; those
            that are not finished are listed as missing.

    Returns:
        The files that were written, the pages first.

    Raises:
        UserError: an unknown format, no finished cell in the table, or curves to compare with that cannot be
        read.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise UserError(f"unknown report format {', '.join(unknown) or '(none)'}; known are {', '.join(FORMATS)}")
    if not (table["is_final"].astype(bool) & (table["status"] == "ok")).any():
        raise UserError(
            f"{results}: no cell has finished yet, so there is nothing to report. "
            "`rdstudy status` says how far the study is."
        )
    name = results.resolve().name if isinstance(results, Path) else results.name
    if out is None:
        out = results / "report" if isinstance(results, Path) else Path("results") / name / "report"
    (out / "figures").mkdir(parents=True, exist_ok=True)
    remove_figures(out / "figures")

    analyses = Analyses.of(table, planned=planned, compare=compare, search=search)
    rendered = [render(spec, out / "figures") for spec in figure_specs(analyses, results)]
    content = content_of(analyses, study, name=name, rendered=rendered)
    pages = []
    if "html" in formats:
        pages.append(_write(out / "index.html", page(content)))
    if "md" in formats:
        pages.append(_write(out / "index.md", document(content)))
    return [*pages, *(path for one in rendered for path in one.files), *analyses.write(out / "analyses")]


def _write(path: Path, text: str) -> Path:
    atomic_write(path, lambda file: file.write(text.encode("utf-8")))
    return path


__all__ = ["FORMATS", "Analyses", "Compared", "compare_folders", "write_comparison", "write_report"]
